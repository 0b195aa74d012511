//! Which system calls change something that outlives the process, or tell somebody else.

use std::path::PathBuf;

/// What decides whether a call counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counts {
    /// Always.
    Always,
    /// When it may make a file: `openat` and the like, by the flags in this argument.
    Creating(usize),
    /// When the descriptor in the first argument is a file or a socket; a pipe or an eventfd tells only ourselves.
    Writing,
}

use Counts::{Always, Creating, Writing};

/// The calls, by number. Those of x86-64 that have no `at` form's semantics elsewhere are in [`OLD`].
const CALLS: &[(libc::c_long, &str, Counts)] = &[
    (libc::SYS_mkdirat, "mkdirat", Always),
    (libc::SYS_unlinkat, "unlinkat", Always),
    (libc::SYS_renameat2, "renameat2", Always),
    (libc::SYS_linkat, "linkat", Always),
    (libc::SYS_symlinkat, "symlinkat", Always),
    (libc::SYS_mknodat, "mknodat", Always),
    (libc::SYS_fchownat, "fchownat", Always),
    (libc::SYS_fchown, "fchown", Always),
    (libc::SYS_fchmodat, "fchmodat", Always),
    (libc::SYS_fchmod, "fchmod", Always),
    (libc::SYS_utimensat, "utimensat", Always),
    (libc::SYS_setxattr, "setxattr", Always),
    (libc::SYS_lsetxattr, "lsetxattr", Always),
    (libc::SYS_fsetxattr, "fsetxattr", Always),
    (libc::SYS_openat, "openat", Creating(2)),
    (libc::SYS_fsync, "fsync", Always),
    (libc::SYS_fdatasync, "fdatasync", Always),
    (libc::SYS_sync_file_range, "sync_file_range", Always),
    (libc::SYS_ftruncate, "ftruncate", Always),
    (libc::SYS_fallocate, "fallocate", Always),
    (libc::SYS_write, "write", Writing),
    (libc::SYS_writev, "writev", Writing),
    (libc::SYS_pwrite64, "pwrite64", Writing),
    (libc::SYS_pwritev, "pwritev", Writing),
    (libc::SYS_sendto, "sendto", Writing),
    (libc::SYS_sendmsg, "sendmsg", Writing),
    (libc::SYS_sendfile, "sendfile", Writing),
    (libc::SYS_copy_file_range, "copy_file_range", Always),
    (libc::SYS_splice, "splice", Always),
    (libc::SYS_mount, "mount", Always),
    (libc::SYS_umount2, "umount2", Always),
    (libc::SYS_fsopen, "fsopen", Always),
    (libc::SYS_fsconfig, "fsconfig", Always),
    (libc::SYS_fsmount, "fsmount", Always),
    (libc::SYS_move_mount, "move_mount", Always),
    (libc::SYS_open_tree, "open_tree", Always),
    (libc::SYS_mount_setattr, "mount_setattr", Always),
    (libc::SYS_bind, "bind", Always),
    (libc::SYS_listen, "listen", Always),
    (libc::SYS_connect, "connect", Always),
    (libc::SYS_clone, "clone", Always),
    (libc::SYS_clone3, "clone3", Always),
    (libc::SYS_execve, "execve", Always),
    (libc::SYS_kill, "kill", Always),
    (libc::SYS_pidfd_send_signal, "pidfd_send_signal", Always),
    (libc::SYS_setns, "setns", Always),
    (libc::SYS_unshare, "unshare", Always),
    (libc::SYS_memfd_create, "memfd_create", Always),
    (libc::SYS_bpf, "bpf", Always),
];

/// Forms that only older architectures have; the C library still uses some of them there.
#[cfg(target_arch = "x86_64")]
const OLD: &[(libc::c_long, &str, Counts)] = &[
    (libc::SYS_mkdir, "mkdir", Always),
    (libc::SYS_rmdir, "rmdir", Always),
    (libc::SYS_unlink, "unlink", Always),
    (libc::SYS_rename, "rename", Always),
    (libc::SYS_renameat, "renameat", Always),
    (libc::SYS_link, "link", Always),
    (libc::SYS_symlink, "symlink", Always),
    (libc::SYS_chmod, "chmod", Always),
    (libc::SYS_chown, "chown", Always),
    (libc::SYS_lchown, "lchown", Always),
    (libc::SYS_open, "open", Creating(1)),
    (libc::SYS_fork, "fork", Always),
    (libc::SYS_vfork, "vfork", Always),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[(libc::c_long, &str, Counts)] = &[];

/// Name and target of a call that counts, for a person; `None` for one that does not.
pub(crate) fn counted(process: u32, number: u64, arguments: &[u64; 6]) -> Option<String> {
    let (_, name, counts) =
        CALLS.iter().chain(OLD).find(|(known, _, _)| u64::try_from(*known) == Ok(number))?;
    match counts {
        Always => Some((*name).to_owned()),
        Creating(flags) => {
            let creates = u64::from(libc::O_CREAT.unsigned_abs());
            (arguments[*flags] & creates != 0).then(|| format!("{name} O_CREAT"))
        }
        Writing => {
            let target = written(process, arguments[0])?;
            Some(format!("{name} {}", target.display()))
        }
    }
}

/// What a descriptor leads to, unless writing there concerns nobody but the process itself (or is its log).
fn written(process: u32, descriptor: u64) -> Option<PathBuf> {
    const LOG: std::ops::RangeInclusive<u64> = 1..=2;
    if LOG.contains(&descriptor) {
        return None;
    }
    let target = std::fs::read_link(format!("/proc/{process}/fd/{descriptor}")).ok()?;
    let text = target.to_string_lossy();
    (text.starts_with('/') || text.starts_with("socket:")).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_and_opening_for_reading_do_not_count_and_making_a_file_does() {
        let own = std::process::id();
        let number = |call: libc::c_long| u64::try_from(call).unwrap();
        assert_eq!(counted(own, number(libc::SYS_read), &[0; 6]), None);
        assert_eq!(counted(own, number(libc::SYS_openat), &[0; 6]), None);
        let creating = [0, 0, u64::from(libc::O_CREAT.unsigned_abs()), 0, 0, 0];
        assert_eq!(counted(own, number(libc::SYS_openat), &creating).unwrap(), "openat O_CREAT");
    }

    #[test]
    fn a_write_counts_when_it_goes_to_a_file_or_a_socket() {
        use std::os::fd::AsRawFd;
        let counts = |descriptor: i32| {
            let arguments = [u64::try_from(descriptor).unwrap(), 0, 0, 0, 0, 0];
            counted(std::process::id(), u64::try_from(libc::SYS_write).unwrap(), &arguments)
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(counts(file.as_raw_fd()).unwrap().contains(&*file.path().to_string_lossy()));
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(counts(socket.as_raw_fd()).unwrap().starts_with("write socket:"));
        let (_reader, pipe) = std::io::pipe().unwrap();
        assert_eq!(counts(pipe.as_raw_fd()), None);
    }
}
