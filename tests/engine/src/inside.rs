//! A container's processes and files as the host sees them.

use std::fs;
use std::path::PathBuf;

/// Pids of processes in the pid namespace of a container's first process, that one excepted. Zombies count.
pub fn processes_beside(init: u32) -> Vec<u32> {
    let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace(init);
    assert!(own.is_some(), "process {init} is gone");
    let pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != init && namespace(*pid) == own).collect()
}

/// A path of a container, for the host to look at.
pub fn path(init: u32, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{init}/root{path}"))
}

/// The parent of a process; of a container's first one, that is its keeper.
///
/// # Panics
/// When the process is gone.
pub fn parent(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    parent.trim().parse().unwrap()
}

/// Whether the process lives.
pub fn lives(pid: u32) -> bool {
    fs::metadata(format!("/proc/{pid}")).is_ok()
}

/// Whether the process waits in the kernel where no signal reaches it (state D).
pub fn is_uninterruptible(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, after)| after.starts_with('D'))
}

/// Pids of all processes in a cgroup that has this text in its path, the engine's own and those of containers.
pub fn processes_in_cgroups(text: &str) -> Vec<u32> {
    let pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| groups.contains(text))
    })
    .collect()
}

/// Whether a program of this name beside the container's first process has its terminal's foreground, so that the keys of
/// the terminal reach it.
pub fn has_foreground(init: u32, name: &str) -> bool {
    processes_beside(init).into_iter().any(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // proc_pid_stat(5): pid (comm) state ppid pgrp session tty_nr tpgid
        let Some((before, after)) = stat.rsplit_once(") ") else { return false };
        let fields: Vec<_> = after.split(' ').collect();
        before.ends_with(&format!("({name}")) && fields.get(2).is_some() && fields.get(2) == fields.get(5)
    })
}

/// What a file of the container's control group says: `v1` is a controller and its file, `v2` the file of the unified tree.
///
/// # Panics
/// When the container is in no such group.
pub fn cgroup_file(init: u32, v1: (&str, &str), v2: &str) -> String {
    let groups = fs::read_to_string(format!("/proc/{init}/cgroup")).unwrap();
    let group = |wanted: &str| {
        groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|controller| controller == wanted).then(|| path.to_owned())
        })
    };
    let path = match group(v1.0) {
        Some(path) => format!("/sys/fs/cgroup/{}{path}/{}", v1.0, v1.1),
        None => format!("/sys/fs/cgroup{}/{v2}", group("").expect("every process is in the unified tree")),
    };
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {path}: {error}"))
}

/// Whether the kernel has its controllers in trees of their own (version 1).
pub fn cgroups_are_v1() -> bool {
    PathBuf::from("/sys/fs/cgroup/memory").exists()
}

/// A shell's busy loop on one processor, the same for all who ask. Between processors the kernel evens loops out only after a
/// while, and may leave a light one a whole processor to itself meanwhile.
pub fn busy_loop() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let first = allowed.trim().split([',', '-']).next().unwrap();
    format!("exec taskset -c {first} sh -c 'while :; do :; done'")
}
