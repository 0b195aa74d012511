//! The system calls, one thin function each.

use std::ffi::CStr;
use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null;

/// Stack of a child that shares this program's memory until it executes, in bytes. Its deepest frame is a system call's.
const STACK: usize = 64 * 1024;

fn check(result: libc::c_long) -> Result<libc::c_long> {
    if result == -1 { Err(Error::last_os_error()) } else { Ok(result) }
}

fn done(result: libc::c_int) -> Result<()> {
    check(result.into()).map(drop)
}

fn owned(result: libc::c_long) -> Result<OwnedFd> {
    // SAFETY: the kernel has just returned this descriptor, and nothing else owns it.
    check(result).map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor as libc::c_int) })
}

pub(crate) fn unshare(flags: libc::c_int) -> Result<()> {
    // SAFETY: takes no pointer.
    done(unsafe { libc::unshare(flags) })
}

pub(crate) fn mount(
    source: Option<&CStr>,
    target: &CStr,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
) -> Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(null(), CStr::as_ptr);
    // SAFETY: every pointer is null or a C string that outlives the call.
    done(unsafe { libc::mount(pointer(source), target.as_ptr(), pointer(kind), flags, null()) })
}

pub(crate) fn fsopen(kind: &CStr) -> Result<OwnedFd> {
    // SAFETY: the pointer is a C string that outlives the call.
    owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), 1) })
}

pub(crate) fn fsconfig(context: &OwnedFd, key: &CStr, value: &CStr) -> Result<()> {
    const FSCONFIG_SET_STRING: libc::c_int = 1;
    // SAFETY: both pointers are C strings that outlive the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            FSCONFIG_SET_STRING,
            key.as_ptr(),
            value.as_ptr(),
            0,
        )
    })
    .map(drop)
}

pub(crate) fn fsmount(context: &OwnedFd) -> Result<OwnedFd> {
    const FSCONFIG_CMD_CREATE: libc::c_int = 6;
    const FSMOUNT_CLOEXEC: libc::c_int = 1;
    let no_text = null::<libc::c_char>();
    // SAFETY: this command takes null for key and value.
    check(unsafe {
        libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_CMD_CREATE, no_text, no_text, 0)
    })?;
    // SAFETY: takes no pointer.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, 0) })
}

pub(crate) fn clone_mount(path: &CStr) -> Result<OwnedFd> {
    const OPEN_TREE_CLONE: libc::c_int = 1;
    // SAFETY: the pointer is a C string that outlives the call.
    owned(unsafe {
        libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), OPEN_TREE_CLONE | libc::O_CLOEXEC)
    })
}

pub(crate) fn move_mount(from: &OwnedFd, to: &CStr) -> Result<()> {
    const MOVE_MOUNT_F_EMPTY_PATH: libc::c_int = 4;
    // SAFETY: both pointers are C strings that outlive the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            from.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            to.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        )
    })
    .map(drop)
}

pub(crate) fn mknod(path: &CStr, major: u32, minor: u32) -> Result<()> {
    // SAFETY: the pointer is a C string that outlives the call.
    done(unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(major, minor)) })
}

pub(crate) fn pipe() -> Result<(File, File)> {
    let mut ends = [0; 2];
    // SAFETY: the pointer is an array of two descriptors.
    done(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: the kernel has just returned both descriptors, and nothing else owns them.
    Ok(unsafe { (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1])) })
}

/// Forks into new namespaces. Returns 0 in the child, which has a copy of this program's memory.
pub(crate) fn fork_with(namespaces: libc::c_int) -> Result<libc::pid_t> {
    let flags = libc::c_long::from(namespaces) | libc::c_long::from(libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with no stack given this is fork(2), and this program has one thread.
    check(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) }).map(|pid| pid as libc::pid_t)
}

/// Starts a child that shares this program's memory; returns when it has executed another program or ended.
pub(crate) fn vfork_with(
    run: extern "C" fn(*mut libc::c_void) -> libc::c_int,
    argument: libc::c_int,
) -> Result<libc::pid_t> {
    let mut stack = vec![0u8; STACK];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack grows down from its end (the C library aligns it) and outlives the child's use of it, because
    // CLONE_VFORK suspends this thread until the child executes or exits.
    let pid = unsafe {
        libc::clone(run, stack.as_mut_ptr_range().end.cast(), flags, argument as usize as *mut libc::c_void)
    };
    check(pid.into()).map(|_| pid)
}

pub(crate) fn map_users(pid: libc::pid_t) -> Result<()> {
    for file in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{pid}/{file}"), "0 4294967294 1\n1 1 65535\n")?;
    }
    Ok(())
}

pub(crate) fn become_root() -> Result<()> {
    // SAFETY: these take no pointer.
    unsafe {
        check(libc::syscall(libc::SYS_setresgid, 0, 0, 0))?;
        check(libc::syscall(libc::SYS_setresuid, 0, 0, 0)).map(drop)
    }
}

pub(crate) fn pidfd(pid: libc::pid_t) -> Result<OwnedFd> {
    // SAFETY: takes no pointer.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

pub(crate) fn join(pidfd: libc::c_int, namespaces: libc::c_int) -> Result<()> {
    // SAFETY: takes no pointer.
    done(unsafe { libc::setns(pidfd, namespaces) })
}

pub(crate) fn chdir(path: &CStr) -> Result<()> {
    // SAFETY: the pointer is a C string that outlives the call.
    done(unsafe { libc::chdir(path.as_ptr()) })
}

/// Makes the working directory the root, and detaches the old root.
pub(crate) fn pivot_root_here() -> Result<()> {
    // SAFETY: both pointers are C strings that outlive the call.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) })?;
    // SAFETY: the pointer is a C string that outlives the call.
    done(unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) })?;
    chdir(c"/")
}

pub(crate) fn sethostname(name: &CStr) -> Result<()> {
    // SAFETY: the pointer is a C string of this length that outlives the call.
    done(unsafe { libc::sethostname(name.as_ptr(), name.count_bytes()) })
}

pub(crate) fn load_filter(filter: &[libc::sock_filter]) -> Result<()> {
    let program =
        libc::sock_fprog { len: filter.len() as libc::c_ushort, filter: filter.as_ptr().cast_mut() };
    // SAFETY: takes no pointer.
    done(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    // SAFETY: the program describes a slice that outlives the call; the kernel copies it and does not write to it.
    done(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) })
}

/// Executes `/bin/true`; returns only when that failed.
pub(crate) fn exec_true() -> Result<()> {
    let program = c"/bin/true";
    let (arguments, environment) = ([program.as_ptr(), null()], [c"PATH=/bin".as_ptr(), null()]);
    // SAFETY: both arrays end with null and outlive the call.
    done(unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) })
}

/// Waits for a child and returns its wait status.
pub(crate) fn wait(pid: libc::pid_t) -> Result<libc::c_int> {
    let mut status = 0;
    // SAFETY: the pointer is to an integer.
    check(unsafe { libc::waitpid(pid, &raw mut status, 0) }.into())?;
    Ok(status)
}

pub(crate) fn kill(pid: libc::pid_t) -> Result<()> {
    // SAFETY: takes no pointer.
    done(unsafe { libc::kill(pid, libc::SIGKILL) })
}

/// Has this process killed when its parent ends.
pub(crate) fn end_with_parent() -> Result<()> {
    // SAFETY: takes no pointer.
    done(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })
}

/// Sleeps until killed.
pub(crate) fn stay() -> ! {
    loop {
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    }
}

/// Ends this process without running anything that belongs to its parent's copy of the program.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: takes no pointer.
    unsafe { libc::_exit(code) }
}
