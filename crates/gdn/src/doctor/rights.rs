//! What this process may do: user, capabilities, limits, security modules.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::Finding;

/// Capabilities the engine cannot do without, by number.
const NEEDED: [(u32, &str); 11] = [
    (0, "CAP_CHOWN"),
    (1, "CAP_DAC_OVERRIDE"),
    (3, "CAP_FOWNER"),
    (5, "CAP_KILL"),
    (6, "CAP_SETGID"),
    (7, "CAP_SETUID"),
    (8, "CAP_SETPCAP"),
    (12, "CAP_NET_ADMIN"),
    (18, "CAP_SYS_CHROOT"),
    (21, "CAP_SYS_ADMIN"),
    (31, "CAP_SETFCAP"),
];

/// Capabilities without which something does not work, by number.
const USEFUL: [(u32, &str, &str); 4] = [
    (2, "CAP_DAC_READ_SEARCH", "containers cannot be given this capability"),
    (19, "CAP_SYS_PTRACE", "processes of containers cannot be looked at from the host"),
    (
        24,
        "CAP_SYS_RESOURCE",
        "limits of processes above the engine's own are lowered to those, and their OOM score stays above it",
    ),
    (27, "CAP_MKNOD", "containers cannot be given device nodes of their own"),
];

/// Descriptors that each container and each attached process cost, times what a busy host has.
const ENOUGH_FILES: u64 = 16 * 1024;

/// Looks at all of it.
pub(super) fn check() -> Vec<Finding> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut findings = vec![user()];
    findings.extend(capabilities(field(&status, "CapEff"), field(&status, "CapBnd")));
    findings.push(files());
    findings.push(security_modules(fs::read_to_string("/sys/kernel/security/lsm").ok()));
    findings
}

fn user() -> Finding {
    match rustix::process::geteuid().as_raw() {
        0 => Finding::ok("user", "root"),
        uid => {
            Finding::missing("user", format!("{uid}"), "only root can run the engine", "run this with sudo")
        }
    }
}

/// A hexadecimal field of `/proc/self/status`.
fn field(status: &str, name: &str) -> u64 {
    let text = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    text.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0)
}

fn capabilities(effective: u64, bounding: u64) -> Vec<Finding> {
    let lacking: Vec<_> =
        NEEDED.iter().filter(|(number, _)| effective >> number & 1 == 0).map(|(_, name)| *name).collect();
    let needed = if lacking.is_empty() {
        Finding::ok("capabilities", "all that are needed")
    } else {
        Finding::missing(
            "capabilities",
            format!("without {}", lacking.join(", ")),
            "the engine cannot make containers",
            "run this as root and outside a container, or let the service manager leave these capabilities",
        )
    };
    let useful =
        USEFUL.iter().filter(|(number, ..)| bounding >> number & 1 == 0).map(|(_, name, meaning)| {
            Finding::limited(
                name,
                "not in the bounding set",
                meaning,
                "let whoever starts the engine leave it this capability",
            )
        });
    [needed].into_iter().chain(useful).collect()
}

fn files() -> Finding {
    let limit = getrlimit(Resource::Nofile);
    match limit.maximum {
        Some(most) if most < ENOUGH_FILES => Finding::limited(
            "open files",
            format!("at most {most}"),
            "a few hundred containers use them up",
            "raise the hard limit: LimitNOFILE=1048576 in the unit, or ulimit -Hn",
        ),
        most => Finding::ok(
            "open files",
            most.map_or_else(|| "unlimited".to_owned(), |most| format!("at most {most}")),
        ),
    }
}

/// What confines programs by default is worth knowing: containers get no profile of SELinux, and one of AppArmor only if the
/// operator names it.
fn security_modules(list: Option<String>) -> Finding {
    let list = list.unwrap_or_default();
    let confining: Vec<_> =
        list.trim().split(',').filter(|name| ["apparmor", "selinux"].contains(name)).collect();
    if confining.is_empty() {
        Finding::ok(
            "security modules",
            if list.trim().is_empty() { "none".into() } else { list.trim().to_owned() },
        )
    } else {
        Finding::limited(
            "security modules",
            list.trim().to_owned(),
            &format!("{} is active and containers get no profile by themselves", confining.join(" and ")),
            "with AppArmor, name a profile that is loaded: gdn server --apparmor NAME; if a container is refused something without a reason, look into the host's audit log",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_that_are_not_there_are_named() {
        assert_eq!(field("CapEff:\t00000000000000ff\nCapBnd:\t1\n", "CapEff"), 0xff);
        let all = capabilities(u64::MAX, u64::MAX);
        assert_eq!(all.len(), 1);
        let none = capabilities(0, !(1 << 24));
        assert!(none[0].found.contains("CAP_SYS_ADMIN"), "{none:?}");
        assert_eq!(none[1].name, "CAP_SYS_RESOURCE");
        assert_eq!(none.len(), 2);
    }

    #[test]
    fn a_module_that_confines_is_worth_knowing() {
        assert_eq!(security_modules(None).found, "none");
        assert!(security_modules(Some("lockdown,apparmor\n".into())).meaning.contains("apparmor"));
    }
}
