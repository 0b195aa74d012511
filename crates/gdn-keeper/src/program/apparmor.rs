//! The AppArmor profile of the program that the calling process is going to become.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstatfs, openat2};
use rustix::io::Errno;

use super::failure::{During, Result, failure};
use crate::protocol::FailureKind;

/// Has the kernel confine the process by this profile from its next exec on; the empty name changes nothing.
///
/// To be called while the host's procfs is in sight, before any file of a container is: a profile "set" in a file of the
/// container's own making would be none (CVE-2019-16884, CVE-2025-52881).
pub(crate) fn at_exec(profile: &str) -> Result<()> {
    if profile.is_empty() {
        return Ok(());
    }
    let during = || "open /proc to set an AppArmor profile".to_owned();
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc =
        openat2(CWD, "/proc", directory | OFlags::NOFOLLOW, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
            .during(FailureKind::Internal, during)?;
    if fstatfs(&proc).during(FailureKind::Internal, during)?.f_type != PROC_SUPER_MAGIC {
        return Err(failure(FailureKind::Internal, format!("{}: it is no procfs", during())));
    }
    let own = openat2(&proc, "thread-self/attr", directory, Mode::empty(), ResolveFlags::NO_XDEV)
        .during(FailureKind::Internal, during)?;
    write_to(own.as_fd(), profile)
}

/// Writes the request into a process's `attr` directory: AppArmor's own file, or on kernels without that the one that all
/// security modules share.
fn write_to(attr: BorrowedFd<'_>, profile: &str) -> Result<()> {
    let during = || format!("confine by AppArmor profile {profile:?}");
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open =
        |path| openat2(attr, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_XDEV);
    let file = match open("apparmor/exec") {
        Err(Errno::NOENT) => open("exec"),
        other => other,
    };
    let file = file.during(FailureKind::Confinement, during)?;
    let request = format!("exec {profile}");
    // The kernel takes a request in a single write only.
    let written = rustix::io::write(file, request.as_bytes()).during(FailureKind::Confinement, during)?;
    if written != request.len() {
        return Err(failure(FailureKind::Confinement, format!("{}: cut to {written} bytes", during())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory as procfs shows it, with these files.
    fn attributes(files: &[&str]) -> (tempfile::TempDir, std::fs::File) {
        let place = tempfile::tempdir().unwrap();
        for file in files {
            let path = place.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let directory = std::fs::File::open(place.path()).unwrap();
        (place, directory)
    }

    #[test]
    fn the_request_goes_to_apparmors_own_file_where_there_is_one() {
        let (place, attr) = attributes(&["apparmor/exec", "exec"]);
        write_to(attr.as_fd(), "garden-default").unwrap();
        let said = |path: &str| std::fs::read_to_string(place.path().join(path)).unwrap();
        assert_eq!((said("apparmor/exec").as_str(), said("exec").as_str()), ("exec garden-default", ""));
        let (place, attr) = attributes(&["exec"]);
        write_to(attr.as_fd(), "a b").unwrap();
        assert_eq!(std::fs::read_to_string(place.path().join("exec")).unwrap(), "exec a b");
    }

    #[test]
    fn a_kernel_that_takes_no_profile_is_a_failure_that_names_it() {
        let (_place, attr) = attributes(&[]);
        let failure = write_to(attr.as_fd(), "mine").unwrap_err();
        assert_eq!((failure.kind(), failure.errno), (FailureKind::Confinement, libc::ENOENT));
        assert!(failure.what.contains("\"mine\""), "{failure:?}");
        // A link that leads elsewhere is not followed.
        let (place, attr) = attributes(&["elsewhere"]);
        std::os::unix::fs::symlink("elsewhere", place.path().join("exec")).unwrap();
        assert_eq!(write_to(attr.as_fd(), "mine").unwrap_err().errno, libc::ELOOP);
    }

    #[test]
    fn nothing_is_asked_for_no_profile_and_this_kernel_is_asked_for_one() {
        at_exec("").unwrap();
        // Whatever the security modules of this kernel: none knows this one, and no thread of a test becomes a program.
        let failure = at_exec("gdn-no-such-profile").unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Confinement, "{failure:?}");
        assert_ne!(failure.errno, 0, "{failure:?}");
    }
}
