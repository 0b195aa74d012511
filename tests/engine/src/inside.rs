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

/// Whether the process lives.
pub fn lives(pid: u32) -> bool {
    fs::metadata(format!("/proc/{pid}")).is_ok()
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
