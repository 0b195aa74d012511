//! What separates a container from its host.

mod apparmor;
mod capabilities;
mod hung_files;
mod keyrings;
mod probes;
mod starvation;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use engine_tests::session::{as_user, program, script};
use engine_tests::{Engine, binary, inside};
use gdn_types::{
    ContainerSpec, Environment, ErrorKind, Handle, ImageRef, ProcessId, ProcessSpec, Rlimits, SeccompProfile,
};

fn create(engine: &Engine, privileged: bool) -> Handle {
    engine.create_from(ContainerSpec { privileged, ..ContainerSpec::default() })
}

/// What a script of a user says in a container.
fn said(engine: &Engine, handle: &Handle, user: &str, text: &str) -> String {
    engine.run(handle, as_user(user, script(text))).expect(0).text()
}

/// Conformance: G178
#[test]
fn only_processes_of_the_container_are_seen() {
    let engine = Engine::start();
    let handle = create(&engine, false);
    let names = said(&engine, &handle, "", "for d in /proc/[0-9]*; do cat $d/comm; done");
    assert_eq!(names.lines().next(), Some("garden-init"));
    assert!(names.lines().skip(1).all(|name| ["sh", "cat"].contains(&name)), "{names}");
    engine.finish();
}

/// Conformance: G179
#[test]
fn a_process_inherits_the_three_standard_descriptors_and_no_other() {
    let engine = Engine::start();
    for privileged in [false, true] {
        let handle = create(&engine, privileged);
        // The fourth is the directory that ls reads.
        assert_eq!(engine.run(&handle, program(&["ls", "/proc/self/fd"])).expect(0).text(), "0\n1\n2\n3\n");
    }
    engine.finish();
}

/// Conformance: G180
#[test]
fn the_directory_for_temporary_files_is_sticky_and_open_to_all() {
    let engine = Engine::start();
    let handle = create(&engine, false);
    assert_eq!(said(&engine, &handle, "alice", "stat -c %a /tmp; touch /tmp/x && echo yes"), "1777\nyes\n");
    engine.finish();
}

/// Conformance: G36, G181
#[test]
fn shared_memory_is_a_tmpfs_for_everyone() {
    let engine = Engine::start();
    let handle = create(&engine, false);
    let mount = said(
        &engine,
        &handle,
        "alice",
        "touch /dev/shm/x && awk '$2 == \"/dev/shm\" { print $3, $4 }' /proc/mounts",
    );
    let (kind, options) = mount.trim().split_once(' ').unwrap();
    assert_eq!(kind, "tmpfs");
    for option in ["rw", "nosuid", "nodev", "noexec"] {
        assert!(options.split(',').any(|seen| seen == option), "{option} not in {options}");
    }
    engine.finish();
}

/// Conformance: G182, G184-186
#[test]
fn kernel_file_systems_are_read_only_except_procfs_of_a_privileged_container() {
    let engine = Engine::start();
    let mounts = "awk '{ print $2, $3, $4 }' /proc/mounts";
    for privileged in [false, true] {
        let handle = create(&engine, privileged);
        let mounts = said(&engine, &handle, "", mounts);
        let options = |path: &str| {
            let line = mounts.lines().rev().find(|line| line.split(' ').next() == Some(path));
            line.unwrap_or_else(|| panic!("{path} not in {mounts}")).split(' ').nth(2).unwrap().to_owned()
        };
        assert!(options("/sys").starts_with("ro,"), "{mounts}");
        assert_ne!(engine.run(&handle, script("touch /sys/kernel/x")).status.code(), 0);
        if privileged {
            assert!(options("/proc").starts_with("rw,"), "{mounts}");
            // Those of version 2 are shown read-only to everyone: some programs read their limits there.
            let cgroups = mounts.lines().filter(|line| line.contains(" cgroup")).count();
            assert_eq!(cgroups, usize::from(!inside::cgroups_are_v1()), "{mounts}");
            let same = "v=$(cat /proc/sys/kernel/threads-max) && echo $v > /proc/sys/kernel/threads-max";
            engine.run(&handle, script(same)).expect(0);
        }
    }
    engine.finish();
}

/// What row G183 asks for, as far as there are groups of the container.
#[test]
fn every_hierarchy_with_a_group_of_the_container_is_mounted_read_only() {
    let engine = Engine::start();
    let handle = create(&engine, false);
    let mounts = said(&engine, &handle, "", "awk '$3 ~ \"^cgroup\" { print $2, $4 }' /proc/mounts");
    assert!(mounts.lines().all(|line| line.split(' ').nth(1).unwrap().starts_with("ro,")), "{mounts}");
    let controllers = ["cpu", "cpuacct", "cpuset", "devices", "memory", "pids"];
    let expected: &[&str] = if inside::cgroups_are_v1() { &controllers } else { &[""] };
    let paths: Vec<_> = mounts.lines().filter_map(|line| line.split(' ').next()).collect();
    for controller in expected {
        let is_its = |path: &&&str| {
            let name = path.strip_prefix("/sys/fs/cgroup").unwrap().trim_start_matches('/');
            name.split(',').any(|part| part == *controller)
        };
        assert!(paths.iter().any(|path| is_its(&path)), "{controller}: {paths:?}");
    }
    engine.finish();
}

/// What is mounted are the host's own hierarchies, from the container's groups on; here the host shares its mounts, as systemd
/// does.
#[test]
fn a_container_and_its_sidecars_see_their_own_control_groups_and_no_others() {
    let mut engine = Engine::new();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount --make-rshared /sys/fs/cgroup && exec \"$@\"", "sh"]);
    command.arg(binary()).args(engine.server_arguments(&[]));
    engine.start_server_by(command);
    let (handle, _other) = (create(&engine, false), create(&engine, false));
    let look = "grep ' - cgroup' /proc/self/mountinfo; echo; stat -c '%F %u %g' /sys/fs/cgroup; \
                find /sys/fs/cgroup -mindepth 1 -type d; mkdir /sys/fs/cgroup/inside 2>&1; :";
    let sidecar = ProcessSpec { image: Some(ImageRef::uri(engine.image())), ..script(look) };
    let limited = ProcessSpec { limits: Some(<_>::default()), ..sidecar.clone() };
    for spec in [script(look), sidecar, limited] {
        let seen = engine.run(&handle, spec).expect(0).text();
        let (mounts, files) = seen.split_once("\n\n").unwrap();
        assert!(mounts.contains("/sys/fs/cgroup"), "{seen}");
        mounts.lines().for_each(is_of_its_hierarchy);
        assert!(!seen.contains(&engine.mark()), "the engine's own directory: {seen}");
        assert!(files.contains("Read-only file system"), "{seen}");
        if inside::cgroups_are_v1() {
            assert!(files.starts_with("directory 0 0\n"), "{seen}");
            let deeper = files.lines().filter(|line| line.starts_with('/') && line.matches('/').count() > 4);
            assert_eq!(deeper.count(), 0, "no group but their own: {seen}");
        }
    }
    engine.finish();
}

/// Looks at a line of `/proc/self/mountinfo` (proc(5)), as told in the reader's cgroup namespace.
fn is_of_its_hierarchy(line: &str) {
    let fields: Vec<_> = line.split(' ').collect();
    let (root, place, options) = (fields[3], fields[4], fields[5]);
    assert_eq!(root, "/", "{line}");
    assert_eq!(fields[6], "-", "nobody else learns of mounts on it: {line}");
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(options.split(',').any(|has| has == option), "{option}: {line}");
    }
    if fields[7] == "cgroup" {
        let name = place.rsplit('/').next().unwrap();
        let of = fields.last().unwrap().split(',').map(|option| option.trim_start_matches("name="));
        assert!(name.split(',').all(|part| of.clone().any(|option| option == part)), "{line}");
    }
}

/// Conformance: G187
#[test]
fn processes_are_in_control_groups_of_their_own() {
    let engine = Engine::start();
    let (one, other) = (create(&engine, false), create(&engine, false));
    let groups = |handle: &Handle| {
        let groups =
            fs::read_to_string(format!("/proc/{}/cgroup", engine.init_pid(handle.as_str()))).unwrap();
        let line = |line: &str| {
            let (controllers, path) = line.split_once(':').unwrap().1.split_once(':').unwrap();
            (controllers.to_owned(), path.to_owned())
        };
        groups.lines().map(line).collect::<Vec<_>>()
    };
    let (one, other) = (groups(&one), groups(&other));
    for controller in ["cpu", "cpuacct", "cpuset", "devices", "memory"] {
        let of = |groups: &[(String, String)]| {
            let found = groups.iter().find(|(names, _)| names.split(',').any(|name| name == controller));
            found.or(groups.iter().find(|(names, _)| names.is_empty())).unwrap().1.clone()
        };
        assert!(of(&one).contains(&engine.mark()), "{controller}: {one:?}");
        assert_ne!(of(&one), of(&other), "{controller}");
    }
    engine.finish();
}

/// Conformance: G188
#[test]
fn a_limit_of_processes_of_a_user_holds() {
    let engine = Engine::start();
    let handle = create(&engine, false);
    let rlimits = Rlimits { nproc: Some(7), ..Rlimits::default() };
    let forks = "ulimit -u; i=0; while [ $i -lt 20 ]; do sleep 1000 & i=$((i+1)); done; echo all";
    let ran = engine.run(&handle, ProcessSpec { rlimits, ..as_user("alice", script(forks)) });
    assert_eq!(ran.text(), "7\n");
    assert!(ran.errors().contains("can't fork"), "{}", ran.errors());
    engine.gdn(["stop", "--kill", handle.as_str()]).expect_status(0);
    engine.finish();
}

/// An image whose files belong to several users.
fn image_of_several_users(engine: &Engine) -> ImageRef {
    ImageRef::uri(engine.image_with("owned", |rootfs| {
        fs::write(rootfs.join("root/own"), "root's").unwrap();
        fs::write(rootfs.join("home/alice/own"), "alice's").unwrap();
        fs::write(rootfs.join("home/alice/.hidden"), "hidden").unwrap();
        for path in ["home/alice", "home/alice/own", "home/alice/.hidden"] {
            chown(rootfs.join(path), Some(1000), Some(1000)).unwrap();
        }
        fs::copy("/bin/busybox", rootfs.join("bin/setuid")).unwrap();
        fs::set_permissions(rootfs.join("bin/setuid"), fs::Permissions::from_mode(0o4755)).unwrap();
        let groups = "root:x:0:\nalice:x:1000:\nwheel:x:10:alice\n";
        fs::write(rootfs.join("etc/group"), groups).unwrap();
    }))
}

/// Conformance: G189-191, G212-217, G221
#[test]
fn files_of_an_image_belong_to_whom_it_says() {
    let engine = Engine::start();
    let image = image_of_several_users(&engine);
    for privileged in [false, true] {
        let spec = ContainerSpec { image: image.clone(), privileged, ..ContainerSpec::default() };
        let handle = engine.create_from(spec);
        let owners = "stat -c '%u:%g' /root/own /bin/sh /etc/passwd /dev/pts /dev/pts/ptmx /home/alice /home/alice/own";
        let root = "0:0\n";
        let alice = "1000:1000\n";
        // The group of the terminals' directory is the kernel's default for it.
        let seen = said(&engine, &handle, "", owners);
        let seen: Vec<_> = seen.lines().collect();
        assert_eq!(format!("{}\n{}\n{}\n", seen[0], seen[1], seen[2]), root.repeat(3));
        assert!(seen[3].starts_with("0:") && seen[4].starts_with("0:"), "{seen:?}");
        assert_eq!(format!("{}\n{}\n", seen[5], seen[6]), alice.repeat(2));
        assert_eq!(said(&engine, &handle, "", "stat -c %a /bin/setuid"), "4755\n");
        assert_eq!(
            said(&engine, &handle, "alice", "pwd; cat .hidden; echo more >> own; cat own"),
            "/home/alice\nhiddenalice'smore\n"
        );
        assert_eq!(said(&engine, &handle, "", "echo more >> /root/own; cat /root/own"), "root'smore\n");
        assert_ne!(engine.run(&handle, as_user("alice", script("echo x >> /etc/passwd"))).status.code(), 0);
        assert_eq!(said(&engine, &handle, "alice", "id -u; id -g; id -G"), "1000\n1000\n1000 10\n");
        let dir =
            ProcessSpec { dir: "/home/alice".into(), ..as_user("alice", script("pwd; touch x && echo yes")) };
        assert_eq!(engine.run(&handle, dir).expect(0).text(), "/home/alice\nyes\n");
    }
    engine.finish();
}

/// Conformance: G192-200
#[test]
fn home_path_and_user_follow_from_the_user_unless_given() {
    let engine = Engine::start();
    let handle = create(&engine, false);
    let tell = "echo $HOME $USER; echo $PATH; pwd";
    let for_all = "/usr/local/bin:/usr/bin:/bin";
    let for_root = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(said(&engine, &handle, "alice", tell), format!("/home/alice alice\n{for_all}\n/home/alice\n"));
    assert_eq!(said(&engine, &handle, "root", tell), format!("/root root\n{for_root}\n/root\n"));
    assert_eq!(said(&engine, &handle, "", tell), format!("/root root\n{for_root}\n/root\n"));
    for user in ["alice", "root"] {
        let env = Environment::parse(["HOME=/tmp", "USER=me", "MYPATH=/x"]).unwrap();
        let ran =
            engine.run(&handle, ProcessSpec { env, ..as_user(user, script("echo $HOME $USER; echo $PATH")) });
        let path = if user == "root" { for_root } else { for_all };
        assert_eq!(ran.expect(0).text(), format!("/tmp me\n{path}\n"));
    }
    engine.finish();
}

/// Conformance: G201-202
#[test]
fn a_filter_of_system_calls_refuses_new_namespaces() {
    let engine = Engine::start();
    let handle = create(&engine, false);
    for user in ["", "alice"] {
        assert_eq!(
            said(&engine, &handle, user, "sed -n 's/^Seccomp:[[:space:]]*//p' /proc/self/status"),
            "2\n"
        );
        // The only namespace that needs no capability.
        let refused = engine.run(&handle, as_user(user, program(&["unshare", "-U", "true"])));
        assert_ne!(refused.status.code(), 0);
        assert!(refused.errors().contains("Operation not permitted"), "{}", refused.errors());
    }
    engine.finish();
}

/// Conformance: G205-206, G220
#[test]
fn root_writes_at_home_and_not_to_the_kernel() {
    let engine = Engine::start();
    for privileged in [false, true] {
        let handle = create(&engine, privileged);
        engine.run(&handle, script("touch /root/x")).expect(0);
        if !privileged {
            // The letter that only prints help.
            assert_ne!(engine.run(&handle, script("echo h > /proc/sysrq-trigger")).status.code(), 0);
        }
    }
    engine.finish();
}

#[test]
fn client_and_operator_choose_the_system_calls() {
    const NO_CHMOD: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["chmod", "fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO", "errnoRet": 30}]}"#;
    let mut engine = Engine::new();
    let file = engine.scratch().join("profile.json");
    fs::write(&file, NO_CHMOD).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let probe = "touch /tmp/x; chmod 600 /tmp/x 2>&1; sed -n 's/^Seccomp:[[:space:]]*//p' /proc/self/status";
    engine.start_server(&[]);
    let with = |engine: &Engine, seccomp: SeccompProfile, privileged| {
        let handle = engine.create_from(ContainerSpec { seccomp, privileged, ..ContainerSpec::default() });
        let main = said(engine, &handle, "", probe);
        let sidecar = ProcessSpec { image: Some(ImageRef::uri(engine.image())), ..script(probe) };
        assert_eq!(engine.run(&handle, sidecar).expect(0).text(), main, "sidecars too");
        main
    };
    let refused = "chmod: /tmp/x: Read-only file system\n2\n";
    assert_eq!(with(&engine, SeccompProfile::Engine, false), "2\n");
    assert_eq!(with(&engine, SeccompProfile::Engine, true), "0\n");
    assert_eq!(with(&engine, SeccompProfile::Unconfined, false), "0\n");
    for privileged in [false, true] {
        assert_eq!(with(&engine, SeccompProfile::Custom(NO_CHMOD.into()), privileged), refused);
    }
    let broken =
        ContainerSpec { seccomp: SeccompProfile::Custom("{\"x\"".into()), ..ContainerSpec::default() };
    let error = engine.try_create(broken).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.report().contains("seccomp profile"), "{}", error.report());
    let handle = engine.create(&["--seccomp", &file]);
    assert!(engine.shell(&handle, probe).text().contains("Read-only"));
    engine.stop_server();

    engine.start_server(&["--seccomp", &file, "--disable-privileged-containers"]);
    assert_eq!(with(&engine, SeccompProfile::Engine, false), refused);
    let choice = ContainerSpec { seccomp: SeccompProfile::Unconfined, ..ContainerSpec::default() };
    assert_eq!(engine.try_create(choice).unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert!(
        engine.shell(&handle, probe).text().contains("Read-only"),
        "the container keeps what it was made with"
    );
    engine.finish();
}

/// What a profile asks for besides its rules: the kernel tells of one flag, that its refusals are logged.
#[test]
fn the_flags_of_a_profile_are_loaded_with_it() {
    let engine = Engine::start();
    // PTRACE_SEIZE, PTRACE_INTERRUPT and PTRACE_SECCOMP_GET_METADATA of the first filter; its end lets the process go on.
    let ptrace = if cfg!(target_arch = "aarch64") { 117 } else { 101 };
    let look = format!(
        "my $p = int shift; syscall({ptrace}, 0x4206, $p, 0, 0) == 0 or die $!; \
         syscall({ptrace}, 0x4207, $p, 0, 0) == 0 or die $!; waitpid($p, 0x40000000) == $p or die $!; \
         my $told = pack('QQ', 0, 0); syscall({ptrace}, 0x420d, $p, 16, $told) >= 0 or die $!; \
         print unpack('x8 Q', $told)"
    );
    for (flags, expected) in
        [("", "0"), (r#""flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],"#, "2")]
    {
        let profile = format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", {flags}
                "syscalls": [{{"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}}]}}"#
        );
        let seccomp = SeccompProfile::Custom(profile);
        let handle = engine.create_from(ContainerSpec { seccomp, ..ContainerSpec::default() });
        let init = engine.init_pid(handle.as_str()).to_string();
        let told = Command::new("perl").args(["-e", &look, &init]).output().unwrap();
        let errors = String::from_utf8_lossy(&told.stderr).into_owned();
        assert_eq!(String::from_utf8_lossy(&told.stdout), expected, "init: {errors}");
        let process = ProcessSpec { id: Some(ProcessId::parse("p").unwrap()), ..script("sleep 1000") };
        engine.with_client(async |client| client.run(&handle, process).await.map(drop)).unwrap();
        let pid = inside::processes_beside(engine.init_pid(handle.as_str()))[0].to_string();
        let told = Command::new("perl").args(["-e", &look, &pid]).output().unwrap();
        let errors = String::from_utf8_lossy(&told.stderr).into_owned();
        assert_eq!(String::from_utf8_lossy(&told.stdout), expected, "a process: {errors}");
        engine.gdn(["stop", "--kill", handle.as_str()]).expect_status(0);
    }
    engine.finish();
}

/// Conformance: Q427-429
#[test]
fn an_operator_can_forbid_to_gain_rights_in_unprivileged_containers() {
    let mut engine = Engine::new();
    engine.start_server(&["--no-new-privileges"]);
    for (privileged, expected) in [(false, "1\n"), (true, "0\n")] {
        let handle = create(&engine, privileged);
        let tell = "sed -n 's/^NoNewPrivs:[[:space:]]*//p' /proc/self/status";
        for user in ["", "alice"] {
            assert_eq!(said(&engine, &handle, user, tell), expected);
        }
        let sidecar = ProcessSpec { image: Some(ImageRef::uri(engine.image())), ..script(tell) };
        assert_eq!(engine.run(&handle, sidecar).expect(0).text(), expected);
    }
    engine.finish();
}

/// Conformance: Q430
#[test]
fn a_process_may_gain_rights_when_nobody_forbids_it() {
    let engine = Engine::start();
    for privileged in [false, true] {
        let handle = create(&engine, privileged);
        assert_eq!(
            said(&engine, &handle, "", "sed -n 's/^NoNewPrivs:[[:space:]]*//p' /proc/self/status"),
            "0\n"
        );
    }
    engine.finish();
}

/// Something mounted over a part of procfs makes the kernel refuse containers theirs: that is what `gdn doctor` then says.
#[test]
fn the_doctor_says_when_containers_get_no_procfs() {
    let cover = "mount --bind /dev/null /proc/timer_list && exec \"$0\" \"$@\"";
    let covered = |arguments: &[String]| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", cover]).arg(binary()).args(arguments);
        command
    };
    let doctor = ["--format", "json", "doctor"].map(str::to_owned);
    let procfs = |mut command: Command| {
        let told = command.output().unwrap().stdout;
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        let findings = told["findings"].as_array().unwrap().clone();
        findings.into_iter().find(|finding| finding["name"] == "procfs").expect("a line about procfs")
    };
    let mut plain = Command::new(binary());
    plain.args(&doctor);
    assert_eq!(procfs(plain)["status"], "ok");
    let finding = procfs(covered(&doctor));
    assert_eq!(
        (finding["status"].as_str(), finding["found"].as_str()),
        (Some("missing"), Some("/proc/timer_list is mounted over"))
    );
    // And it is so.
    let mut engine = Engine::new();
    let server = covered(&engine.server_arguments(&[]));
    engine.start_server_by(server);
    let error = engine.try_create(ContainerSpec::default()).unwrap_err();
    assert!(error.report().contains("mount proc"), "{}", error.report());
    create(&engine, true);
    engine.finish();
}
