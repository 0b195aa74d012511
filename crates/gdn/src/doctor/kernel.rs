//! The kernel's version and system calls.

use std::fs;

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, ResolveFlags, SealFlags};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, MoveMountFlags, OpenTreeFlags};
use rustix::process::{PidfdFlags, getpid};

use super::Finding;

/// The oldest kernel on which everything the engine needs can be there: cgroup.kill came with 5.14, mounting overlay over
/// layers with mapped ids with 5.19.
const OLDEST: (u32, u32) = (5, 19);

/// System calls that cannot be tried without doing something, and the version that brought them (with what we need of them).
const LISTED: [(&str, (u32, u32), &str); 3] = [
    ("clone3", (5, 7), "containers are made with all their namespaces in one call"),
    ("close_range", (5, 11), "no descriptor leaks into a container"),
    ("mount_setattr", (5, 12), "images are shared between containers by mapping their ids"),
];

/// Looks at all of it.
pub(super) fn check() -> Vec<Finding> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let version = version(&release);
    let mut findings = vec![match version {
        Some(version) if version >= OLDEST => Finding::ok("kernel", &*release),
        _ => Finding::missing(
            "kernel",
            &*release,
            "it is older than Linux 5.19, or of a version that cannot be read",
            "upgrade the kernel",
        ),
    }];
    findings.extend([
        tried("openat2", openat2(), "paths in a container cannot be opened without following its links"),
        tried("open_tree", open_tree(), "images cannot be mounted out of sight of the host"),
        tried("move_mount", move_mount(), "root file systems cannot be handed to containers"),
        tried("fsopen", fsopen(), "overlays of many layers cannot be mounted"),
        tried("pidfd_open", pidfd_open(), "a signal could hit another process of the same number"),
        tried(
            "memfd_create",
            sealed_memory(),
            "the engine's own program could be changed from inside a container",
        ),
    ]);
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    findings.extend(LISTED.map(|(name, since, meaning)| {
        let there = if has_symbol(&symbols, name) { Ok(()) } else { Err(Errno::NOSYS) };
        // The kernel may keep its symbols to itself: then its version has to do.
        tried(name, there.or_else(|errno| if version >= Some(since) { Ok(()) } else { Err(errno) }), meaning)
    }));
    findings.push(seccomp());
    findings
}

fn tried(name: &str, outcome: Result<(), Errno>, meaning: &str) -> Finding {
    match outcome {
        Ok(()) => Finding::ok(name, "works"),
        Err(errno) => {
            let advice = if errno == Errno::NOSYS {
                "upgrade the kernel"
            } else {
                "run this as root and outside a container"
            };
            Finding::missing(name, errno.to_string(), meaning, advice)
        }
    }
}

/// Major and minor number of a release such as `6.1.0-13-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn has_symbol(symbols: &str, call: &str) -> bool {
    let (plain, suffix) = (format!("sys_{call}"), format!("_sys_{call}"));
    symbols
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2))
        .any(|name| name == plain || name.ends_with(&suffix))
}

fn openat2() -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::openat2(CWD, "/", flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS).map(drop)
}

fn open_tree() -> Result<(), Errno> {
    rustix::mount::open_tree(CWD, "/", OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
        .map(drop)
}

/// Moving nothing to nowhere is refused for that reason by a kernel that knows the call.
fn move_mount() -> Result<(), Errno> {
    match rustix::mount::move_mount(CWD, "", CWD, "", MoveMountFlags::empty()) {
        Err(errno @ (Errno::NOSYS | Errno::PERM)) => Err(errno),
        _ => Ok(()),
    }
}

fn fsopen() -> Result<(), Errno> {
    rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map(drop)
}

fn pidfd_open() -> Result<(), Errno> {
    rustix::process::pidfd_open(getpid(), PidfdFlags::empty()).map(drop)
}

fn sealed_memory() -> Result<(), Errno> {
    let memory = rustix::fs::memfd_create("gdn-doctor", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::fcntl_add_seals(
        &memory,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )
}

fn seccomp() -> Finding {
    match fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail") {
        Ok(actions) if actions.split_whitespace().any(|action| action == "errno") => {
            Finding::ok("seccomp", "works")
        }
        _ => Finding::missing(
            "seccomp",
            "no filters",
            "containers would reach every system call of the kernel",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_distributions_have_a_version() {
        assert_eq!(version("6.1.0-13-amd64"), Some((6, 1)));
        assert_eq!(version("5.19"), Some((5, 19)));
        assert_eq!(version("6.18.44-fc"), Some((6, 18)));
        assert_eq!(version("unknown"), None);
    }

    #[test]
    fn symbols_are_whole_names() {
        let symbols = "0000 T __x64_sys_clone3\n0000 t sys_clone\n";
        assert!(has_symbol(symbols, "clone3") && has_symbol(symbols, "clone"));
        assert!(!has_symbol(symbols, "clone4"));
    }
}
