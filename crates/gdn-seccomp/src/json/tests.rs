//! Profiles as they are written, and what they mean.

use super::*;
use crate::Action;

const DOCKER: Target =
    Target { architecture: Architecture::X86_64, capabilities: Capabilities::NONE, kernel: (6, 1) };

fn read(text: &str) -> Result<Loaded, Error> {
    Profile::from_json(text.as_bytes(), DOCKER)
}

/// A profile that refuses by default, with these rules.
fn with_rules(rules: &str) -> Result<Loaded, Error> {
    read(&format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{rules}]}}"#))
}

fn at(loaded: &Loaded, name: &str, arguments: [u64; 6]) -> Action {
    let number = Architecture::X86_64.number(name).unwrap();
    loaded.profile.action(Architecture::X86_64, number, &arguments)
}

#[test]
fn the_object_of_an_oci_configuration_is_read() {
    let text = r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_MIPS"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"],
        "syscalls": [
            {"names": ["read", "write", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"names": ["ptrace"], "action": "SCMP_ACT_TRACE", "errnoRet": 4096},
            {"names": ["lseek"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 1, "value": 240, "valueTwo": 16, "op": "SCMP_CMP_MASKED_EQ"}]}
        ]}"#;
    let loaded = read(text).unwrap();
    assert_eq!(loaded.skipped, ["no_such_call"]);
    assert_eq!(loaded.flags, 2);
    assert!(loaded.profile.i386 && !loaded.profile.x32);
    assert_eq!(at(&loaded, "read", [0; 6]), Action::Allow);
    assert_eq!(at(&loaded, "mkdir", [0; 6]), Action::Errno(28));
    assert_eq!(at(&loaded, "ptrace", [0; 6]), Action::Trace(4096));
    assert_eq!(at(&loaded, "lseek", [0, 0x1f, 0, 0, 0, 0]), Action::Allow);
    assert_eq!(at(&loaded, "lseek", [0, 0x2f, 0, 0, 0, 0]), Action::Errno(38));
    assert_eq!(at(&loaded, "open", [0; 6]), Action::Errno(38), "the default");
    let of_x32 = loaded.profile.action(Architecture::X86_64, 0x4000_0000, &[0; 6]);
    assert_eq!(of_x32, Action::KillThread, "an architecture that is not listed");
}

#[test]
fn rules_are_for_capabilities_architectures_and_kernels() {
    let rules = r#"
        {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}},
        {"names": ["acct"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}},
        {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
        {"names": ["statx"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "6.2"}},
        {"names": ["mseal"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["x86", "amd64"]}},
        {"names": ["write"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["amd64"], "caps": null}}"#;
    let text = format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{rules}]}}"#);
    let allowed = |capabilities: &[&str]| {
        let capabilities = Capabilities::named(capabilities.iter().copied()).unwrap();
        let loaded = Profile::from_json(text.as_bytes(), Target { capabilities, ..DOCKER }).unwrap();
        let names = ["acct", "bpf", "mseal", "ptrace", "read", "statx", "write"];
        names.into_iter().filter(|name| at(&loaded, name, [0; 6]) == Action::Allow).collect::<Vec<_>>()
    };
    assert_eq!(allowed(&[]), ["acct", "ptrace", "read"]);
    assert_eq!(allowed(&["CAP_BPF"]), ["ptrace", "read"], "one of two does not include, and does exclude");
    assert_eq!(allowed(&["CAP_BPF", "CAP_SYS_ADMIN"]), ["bpf", "ptrace", "read"]);
}

#[test]
fn the_map_of_architectures_gives_those_of_the_kernels_own() {
    let map = |own: &str, others: &str| {
        let text = format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": null,
                "archMap": [{{"architecture": "{own}", "subArchitectures": [{others}]}}]}}"#
        );
        let profile = read(&text).unwrap().profile;
        (profile.i386, profile.x32)
    };
    assert_eq!(map("SCMP_ARCH_X86_64", r#""SCMP_ARCH_X86", "SCMP_ARCH_X32""#), (true, true));
    assert_eq!(map("SCMP_ARCH_S390X", r#""SCMP_ARCH_S390""#), (false, false));
}

#[test]
fn several_rules_for_one_call_are_tried_in_order() {
    let rules = r#"
        {"name": "socket", "action": "SCMP_ACT_ERRNO", "errnoRet": 22, "args": [
            {"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": 9, "op": "SCMP_CMP_EQ"}]},
        {"name": "socket", "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_LT"}]},
        {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [
            {"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
        {"names": ["ioctl"], "action": "SCMP_ACT_LOG", "args": [{"index": 1, "value": 1, "op": "SCMP_CMP_GE"}]},
        {"names": ["ioctl"], "action": "SCMP_ACT_ALLOW"}"#;
    let loaded = with_rules(rules).unwrap();
    assert_eq!(at(&loaded, "socket", [16, 0, 9, 0, 0, 0]), Action::Errno(22));
    assert_eq!(at(&loaded, "socket", [16, 0, 8, 0, 0, 0]), Action::Allow);
    assert_eq!(at(&loaded, "socket", [40, 0, 0, 0, 0, 0]), Action::REFUSE);
    for (persona, action) in [(0, Action::Allow), (8, Action::Allow), (4, Action::REFUSE)] {
        assert_eq!(at(&loaded, "personality", [persona, 0, 0, 0, 0, 0]), action, "{persona}");
    }
    assert_eq!(
        at(&loaded, "ioctl", [0, 1, 0, 0, 0, 0]),
        Action::Allow,
        "a rule without conditions goes first"
    );
}

#[test]
fn numbers_of_newer_kernels_do_not_exist_unless_calls_are_let_through() {
    for (default, action) in [
        ("SCMP_ACT_KILL_PROCESS", Action::ABSENT),
        ("SCMP_ACT_ERRNO", Action::ABSENT),
        ("SCMP_ACT_ALLOW", Action::Allow),
        ("SCMP_ACT_LOG", Action::Log),
    ] {
        let loaded = read(&format!(r#"{{"defaultAction": "{default}"}}"#)).unwrap();
        assert_eq!(loaded.profile.action(Architecture::X86_64, 9_999, &[0; 6]), action, "{default}");
    }
}

#[test]
fn every_wrong_value_is_named() {
    let rule = |rest: &str| with_rules(&format!(r#"{{"names": ["read"], {rest}}}"#)).unwrap_err();
    let unknown = |key, value: &str| Error::UnknownValue { key, value: value.to_owned() };
    assert_eq!(rule(r#""action": "ALLOW""#), unknown("action", "ALLOW"));
    assert_eq!(rule(r#""action": "SCMP_ACT_NOTIFY""#), Error::Notification { wish: "SCMP_ACT_NOTIFY" });
    let with_argument =
        |argument: &str| rule(&format!(r#""action": "SCMP_ACT_ALLOW", "args": [{argument}]"#));
    assert_eq!(with_argument(r#"{"index": 0, "value": 1, "op": "=="}"#), unknown("op", "=="));
    let seventh = with_argument(r#"{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}"#);
    assert_eq!(seventh, Error::NoSuchArgument { name: "read".to_owned(), argument: 6 });
    let number = |action: &str, errno: u32| {
        let error = rule(&format!(r#""action": "{action}", "errnoRet": {errno}"#));
        assert_eq!(error, Error::ErrorNumber { action: action.to_owned(), errno });
    };
    number("SCMP_ACT_ERRNO", 4096);
    number("SCMP_ACT_TRACE", 65_536);
    number("SCMP_ACT_ALLOW", 1);
    let filter = |filter: &str| rule(&format!(r#""action": "SCMP_ACT_ALLOW", "includes": {{{filter}}}"#));
    assert_eq!(filter(r#""caps": ["CAP_FLY"]"#), unknown("caps", "CAP_FLY"));
    assert_eq!(filter(r#""minKernel": "new""#), unknown("minKernel", "new"));
    let key = |more: &str| read(&format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", {more}}}"#)).unwrap_err();
    assert_eq!(key(r#""architectures": ["x86"]"#), unknown("architectures", "x86"));
    assert_eq!(key(r#""flags": ["FAST"]"#), unknown("flags", "FAST"));
    assert_eq!(key(r#""listenerPath": "/run/x""#), Error::Notification { wish: "listenerPath" });
    assert!(matches!(key(r#""unheardOf": 1"#), Error::Json { reason, .. } if reason.contains("unheardOf")));
    assert!(matches!(read("[").unwrap_err(), Error::Json { line: 1, .. }));
}

#[test]
fn sizes_are_bounded() {
    let too_many = |text: &str| match read(text).unwrap_err() {
        Error::TooMany { what, .. } => what,
        other => panic!("{other}"),
    };
    assert_eq!(too_many(&" ".repeat(MAX_BYTES + 1)), "bytes");
    let rule = r#"{"names": [], "action": "SCMP_ACT_ALLOW"}"#;
    let text = |rules: &[&str]| {
        format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{}]}}"#, rules.join(","))
    };
    assert_eq!(too_many(&text(&vec![rule; 4097])), "rules");
    let names =
        format!(r#"{{"names": [{}], "action": "SCMP_ACT_ALLOW"}}"#, vec![r#""read""#; 4097].join(","));
    assert_eq!(too_many(&text(&[&names])), "names of one rule");
    let one = r#"{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}"#;
    let conditions = format!(
        r#"{{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{}]}}"#,
        vec![one; 65].join(",")
    );
    assert_eq!(too_many(&text(&[&conditions])), "conditions of one rule");
}

#[test]
fn this_machine_has_a_version_and_an_architecture() {
    let target = Target::here(Capabilities::NONE).unwrap();
    assert_eq!(Some(target.architecture), Architecture::native());
    assert!(target.kernel >= (4, 14), "{:?}: older kernels cannot run these tests", target.kernel);
}
