//! Making and joining namespaces.

#![allow(unsafe_code, reason = "clone3(2), setns(2) on a pidfd and pidfd calls")]

use std::io;
use std::ops::BitOr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Kinds of namespaces, to be or-ed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespaces(i32);

#[allow(missing_docs, reason = "the names of namespaces(7)")]
impl Namespaces {
    pub const NONE: Namespaces = Namespaces(0);
    pub const USER: Namespaces = Namespaces(libc::CLONE_NEWUSER);
    pub const PID: Namespaces = Namespaces(libc::CLONE_NEWPID);
    pub const MOUNT: Namespaces = Namespaces(libc::CLONE_NEWNS);
    pub const NETWORK: Namespaces = Namespaces(libc::CLONE_NEWNET);
    pub const IPC: Namespaces = Namespaces(libc::CLONE_NEWIPC);
    pub const UTS: Namespaces = Namespaces(libc::CLONE_NEWUTS);
    pub const CGROUP: Namespaces = Namespaces(libc::CLONE_NEWCGROUP);
}

impl BitOr for Namespaces {
    type Output = Namespaces;
    fn bitor(self, other: Namespaces) -> Namespaces {
        Namespaces(self.0 | other.0)
    }
}

/// Which side of a [`spawn`] this is.
#[derive(Debug)]
pub enum Spawned {
    /// The new process.
    Child,
    /// The caller.
    Parent {
        /// The new process's number in the caller's pid namespace.
        pid: u32,
        /// A descriptor for it.
        pidfd: OwnedFd,
    },
}

/// `struct clone_args` up to `cgroup` (CLONE_ARGS_SIZE_VER2).
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks into new namespaces and, if given, directly into a cgroup (a directory of a cgroup v2 tree).
///
/// # Safety
/// The caller must be single-threaded: in a process with other threads the child could inherit locked locks.
///
/// # Errors
/// The kernel's: `EPERM`, `ENOSPC` (`user.max_*_namespaces`), `EAGAIN`, `EINVAL`.
pub unsafe fn spawn(namespaces: Namespaces, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Spawned> {
    let mut pidfd: i32 = -1;
    let mut flags = u64::from(namespaces.0.cast_unsigned()) | u64::from(libc::CLONE_PIDFD.cast_unsigned());
    let mut args = CloneArgs {
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        // CLONE_INTO_CGROUP does not fit the C library's int constant.
        flags |= 0x2_0000_0000;
        args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    args.flags = flags;
    // SAFETY: the structure has the kernel's layout and its size is passed; without a stack the child goes on with a copy
    // of the caller's; the caller promised to be single-threaded; `pidfd` outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_clone3, std::ptr::from_ref(&args), size_of::<CloneArgs>()) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Spawned::Child),
        pid => Ok(Spawned::Parent {
            pid: u32::try_from(pid).map_err(io::Error::other)?,
            // SAFETY: the kernel stored a descriptor that nobody else owns.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
    }
}

/// As [`spawn`], so that this user of the caller's user namespace owns the new user namespace.
///
/// What processes of a user namespace use of things that are counted by user (inotify instances and watches, namespaces,
/// queued signals, POSIX timers and message queues: `namespaces(7)`, `user_namespaces(7)`) the kernel also counts towards the
/// namespace's owner. So namespaces of one owner take those from each other, and namespaces of different owners do not.
///
/// The caller is that user for the time of the call, and has a dumpable flag of `fs.suid_dumpable` afterwards, as has the new
/// process, which stays that user until it becomes another.
///
/// # Safety
/// As [`spawn`].
///
/// # Errors
/// As [`spawn`]; `EPERM` when the caller is not root.
pub unsafe fn spawn_owned(
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    owner: u32,
) -> io::Result<Spawned> {
    become_effectively(owner)?;
    // Gone with the change of user; the cgroup may be open to root alone.
    let spawned = crate::capabilities::raise_permitted()
        // SAFETY: the caller promised what `spawn` asks for.
        .and_then(|()| unsafe { spawn(namespaces, cgroup) });
    if matches!(spawned, Ok(Spawned::Child)) {
        return spawned;
    }
    let returned = become_effectively(0);
    if let (Ok(Spawned::Parent { pidfd, .. }), Err(_)) = (&spawned, &returned) {
        pidfd_signal(pidfd.as_fd(), libc::SIGKILL)?;
    }
    returned.and(spawned)
}

/// Changes the effective user, and nothing else, of the calling thread.
fn become_effectively(uid: u32) -> io::Result<()> {
    // SAFETY: takes numbers and touches no memory of ours; -1 leaves an id as it is. A raw system call: the C library's would
    // change other threads too.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, u32::MAX, uid, u32::MAX) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Joins namespaces: of a process when `target` is a pidfd, else the one namespace that `target` is.
///
/// # Errors
/// `EPERM` without the capabilities, `ESRCH` when the process is gone.
pub fn join(target: BorrowedFd<'_>, namespaces: Namespaces) -> io::Result<()> {
    // SAFETY: setns takes two numbers and touches no memory of ours.
    if unsafe { libc::setns(target.as_raw_fd(), namespaces.0) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A descriptor for a process.
///
/// # Errors
/// `ESRCH` when there is none of this number.
pub fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)
}

/// Sends a signal to the process that the descriptor means, never to another one of the same number.
///
/// # Errors
/// `ESRCH` when it has been reaped.
pub fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: without a siginfo the kernel reads no memory of ours.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
