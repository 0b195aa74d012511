//! Calls of the kernel that no library wraps safely.

#![allow(unsafe_code, reason = "prctl, seccomp, ioctl and id calls")]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::plan::Strings;

fn done(result: impl Into<i64>) -> io::Result<()> {
    if result.into() == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Names the calling process, as `/proc/PID/comm` shows it (at most 15 bytes).
pub(crate) fn set_name(name: &CStr) {
    // SAFETY: the kernel reads at most 16 bytes of a C string that outlives the call. It cannot fail.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Hides the process's memory and descriptors from everybody but the host's root.
pub(crate) fn set_not_dumpable() -> io::Result<()> {
    // SAFETY: takes a number and touches no memory of ours.
    done(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })
}

/// Has the kernel kill this process when its parent dies.
pub(crate) fn die_with_parent() -> io::Result<()> {
    // SAFETY: takes numbers and touches no memory of ours.
    done(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) })
}

/// Becomes the parent of whatever our descendants leave behind.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    // SAFETY: takes a number and touches no memory of ours.
    done(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) })
}

/// Has the kernel reap our children unasked.
pub(crate) fn ignore_children() {
    // SAFETY: SIG_IGN is a valid disposition and no handler of ours exists.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Takes back [`ignore_children`], and blocks SIGCHLD so that a descriptor can tell of it.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset before it is used; the descriptor is owned by nobody else.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        done(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()))?;
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC);
        done(fd)?;
        Ok(std::os::fd::FromRawFd::from_raw_fd(fd))
    }
}

/// Gives the launcher, and so everything it forks, the signals a fresh process has: whoever started the engine may have
/// ignored some (`nohup`).
pub(crate) fn default_signals() {
    // The kernel's `struct sigaction` (handler, flags, restorer, mask) in its default state. The C library's own call leaves
    // signals 32 and 33 alone, which its `posix_spawn` has ignored.
    let default = [0_u64; 4];
    for signal in 1..=64 {
        // SAFETY: the kernel reads one action and a mask of eight bytes; it refuses KILL and STOP, which is as it should be.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<u64>(), 8_usize);
        }
    }
}

/// Gives the launcher, and so everything it forks, the priorities and the personality of a fresh process: a service's
/// `Nice=` or `OOMScoreAdjust=` is meant for the engine, and addresses that are not random for nobody. Resource limits stay:
/// they are how an operator sets those of all processes.
///
/// All are tried; the error is that of the last that failed.
pub(crate) fn forget_starter() -> io::Result<()> {
    let mut outcome = std::fs::write("/proc/self/oom_score_adj", "0");
    let ordinary = libc::sched_param { sched_priority: 0 };
    // SAFETY: numbers, and a parameter that lives through its call; they change this process only.
    let answers = unsafe {
        [
            libc::personality(0),
            libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const ordinary),
            libc::setpriority(libc::PRIO_PROCESS, 0, 0),
        ]
    };
    if answers.contains(&-1) {
        outcome = Err(io::Error::last_os_error());
    }
    outcome
}

/// Takes back, in a child, what the keeper changed of its signals.
pub(crate) fn reset_signals() {
    // SAFETY: SIG_DFL is a valid disposition; the set is initialised before it is used.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Joins a new session keyring of its own, so that nothing inherits the host's.
pub(crate) fn new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring; no memory of ours is touched.
    let result =
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<u8>()) };
    match done(result) {
        // A kernel without keyrings has none to leak.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        other => other,
    }
}

/// A seccomp program in the kernel's form.
pub(crate) struct Filter {
    instructions: Vec<libc::sock_filter>,
    /// How it is loaded: flags of `seccomp(2)`.
    flags: u32,
}

impl Filter {
    /// Takes the kernel's 8-byte instructions; `None` for no instructions at all.
    pub(crate) fn new(program: &[u8], flags: u32) -> io::Result<Option<Self>> {
        const INSTRUCTION: usize = 8;
        let count = program.len() / INSTRUCTION;
        if !program.len().is_multiple_of(INSTRUCTION) || u16::try_from(count).is_err() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let instruction = |bytes: &[u8]| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        };
        let instructions: Vec<_> = program.chunks_exact(INSTRUCTION).map(instruction).collect();
        Ok((!instructions.is_empty()).then_some(Filter { instructions, flags }))
    }

    /// Subjects the calling thread to it, for good.
    pub(crate) fn install(&self) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: u16::try_from(self.instructions.len()).expect("its length was checked when it was made"),
            filter: self.instructions.as_ptr().cast_mut(),
        };
        // SAFETY: the program and its instructions outlive the call and the kernel only reads them.
        done(unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, self.flags, &raw const program)
        })
    }
}

/// Whether the working directory has a path below the calling process's root.
pub(crate) fn is_inside_root() -> io::Result<bool> {
    let mut path = [0_u8; libc::PATH_MAX as usize];
    // SAFETY: the kernel writes at most the length that is passed into a buffer that outlives the call. The C library's
    // function would walk up the tree where the kernel says that there is no path.
    done(unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) })?;
    Ok(path[0] == b'/')
}

/// Becomes a user: supplementary groups, group, user. Needs the capabilities, and loses them for other users than root.
pub(crate) fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: the list of groups is live and its length is passed; the other calls take numbers. Raw system calls: the C
    // library's would synchronise threads that we do not have.
    unsafe {
        done(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
        done(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        done(libc::syscall(libc::SYS_setresuid, uid, uid, uid))
    }
}

/// Makes a terminal the controlling terminal of a session leader.
pub(crate) fn take_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes a number and touches no memory of ours.
    done(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) })
}

/// Opens the other side of a terminal, without a path.
pub(crate) fn open_terminal_peer(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads an int that outlives the call; TIOCGPTPEER takes flags and returns a descriptor that nobody
    // else owns.
    unsafe {
        done(libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked))?;
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        let fd = libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags);
        done(fd)?;
        Ok(std::os::fd::FromRawFd::from_raw_fd(fd))
    }
}

/// Brings the loopback interface of the calling process's network namespace up.
pub(crate) fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: the request is zeroed, carries a terminated name, and outlives both calls; only the flags member of the union
    // is used.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l'.cast_signed();
        request.ifr_name[1] = b'o'.cast_signed();
        done(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request))?;
        request.ifr_ifru.ifru_flags |= i16::try_from(libc::IFF_UP).expect("IFF_UP is 1");
        done(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request))
    }
}

/// Leaves the cgroup namespace for a new one, rooted where the process is now.
pub(crate) fn new_cgroup_namespace() -> io::Result<()> {
    // SAFETY: takes a number and touches no memory of ours.
    done(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) })
}

/// Leaves the mount namespace for a copy of it.
pub(crate) fn new_mount_namespace() -> io::Result<()> {
    // SAFETY: takes a number and touches no memory of ours.
    done(unsafe { libc::unshare(libc::CLONE_NEWNS) })
}

/// Signals every process of the caller's children's pid namespace that the caller can see, except itself and pid 1.
pub(crate) fn kill_everyone(signal: i32) -> io::Result<()> {
    // SAFETY: takes numbers and touches no memory of ours.
    done(unsafe { libc::kill(-1, signal) })
}

/// Sets one resource limit, soft and hard; without CAP_SYS_RESOURCE at most to the hard limit that is there.
pub(crate) fn set_limit(resource: u32, value: u64) -> io::Result<()> {
    let set = |value: u64| {
        let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
        // SAFETY: the structure outlives the call and the kernel only reads it.
        done(unsafe { libc::setrlimit(resource, &raw const limit) })
    };
    match set(value) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            let mut held = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: the structure outlives the call.
            done(unsafe { libc::getrlimit(resource, &raw mut held) })?;
            set(value.min(held.rlim_max))
        }
        other => other,
    }
}

/// The limit of open files that the keeper was started with.
static FILE_LIMIT: std::sync::OnceLock<Rlimit> = std::sync::OnceLock::new();

/// Allows the keeper as many open files as it may have: each process takes some six of them.
pub(crate) fn raise_file_limit() -> io::Result<()> {
    let limit = *FILE_LIMIT.get_or_init(|| getrlimit(Resource::Nofile));
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

/// Takes back, in a child, [`raise_file_limit`]: programs that use `select` cannot do with more.
pub(crate) fn restore_file_limit() -> io::Result<()> {
    match FILE_LIMIT.get() {
        Some(limit) => Ok(setrlimit(Resource::Nofile, *limit)?),
        None => Ok(()),
    }
}

/// Makes room, in a child, for a limit of open files to be set later; what the kernel refuses is cut off then.
pub(crate) fn allow_files(files: u64) {
    let held = getrlimit(Resource::Nofile);
    if held.maximum.is_some_and(|maximum| maximum < files) {
        let _cut_later = setrlimit(Resource::Nofile, Rlimit { maximum: Some(files), ..held });
    }
}

/// Replaces the process by a program; returns only on failure, with its number.
pub(crate) fn execute(path: &CStr, args: &Strings, env: &Strings) -> i32 {
    // SAFETY: path, arguments and environment are terminated strings in null-terminated arrays that outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.pointers().as_ptr(), env.pointers().as_ptr()) };
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// Replaces the process by the program that a descriptor is; returns only on failure.
pub(crate) fn execute_descriptor(program: BorrowedFd<'_>, args: &[CString]) -> io::Error {
    let (args, env) = (pointers(args), pointers(&[]));
    // SAFETY: as in `execute`, with an empty path.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    io::Error::last_os_error()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Ends the process without running anything of the program it was forked from.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: ends the process; nothing is left to be unsound.
    unsafe { libc::_exit(status) }
}

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: the callers are forked children or a program that has just begun; they own what they close and use none of it.
    done(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) })
}

/// Closes every descriptor from `first` on, except one.
pub(crate) fn close_from_but(first: u32, kept: BorrowedFd<'_>) -> io::Result<()> {
    let kept = kept.as_raw_fd().cast_unsigned();
    if kept > first {
        // SAFETY: the callers are forked children that use none of the closed descriptors afterwards and never return.
        done(unsafe { libc::syscall(libc::SYS_close_range, first, kept - 1, 0) })?;
    }
    close_from((kept + 1).max(first))
}

/// Has every descriptor from `first` on closed at exec.
pub(crate) fn close_from_at_exec(first: u32) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: changes flags of descriptors only.
    done(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) })
}

/// Puts a descriptor at a fixed number, open across exec, and gives up the original.
pub(crate) fn place(fd: OwnedFd, number: i32) -> io::Result<()> {
    // SAFETY: the callers are forked children in which nothing owns `number` any more. dup2 of a descriptor onto itself
    // would leave its close-on-exec flag; then the flag is taken off.
    unsafe {
        if fd.as_raw_fd() == number {
            done(libc::fcntl(number, libc::F_SETFD, 0))?;
            std::mem::forget(fd);
            return Ok(());
        }
        done(libc::dup2(fd.as_raw_fd(), number))
    }
}

/// A descriptor that was placed at a fixed number.
pub(crate) fn placed(number: i32) -> OwnedFd {
    // SAFETY: only called for a number just filled by `place`, once.
    unsafe { std::os::fd::FromRawFd::from_raw_fd(number) }
}

/// An executable file in memory that nobody can change any more.
pub(crate) fn sealed_program(name: &str, content: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know EXEC; there every memfd is executable.
    let memfd = memfd_create(name, flags | MemfdFlags::EXEC).or_else(|_| memfd_create(name, flags))?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::write(memfd.as_fd(), rest)?;
        rest = &rest[written..];
    }
    fcntl_add_seals(&memfd, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(memfd)
}

/// Does nothing until it is killed.
pub(crate) fn sleep_for_ever() -> ! {
    loop {
        // SAFETY: takes nothing and touches no memory of ours.
        unsafe { libc::pause() };
    }
}

/// Turns writes to a pipe without readers into errors.
pub(crate) fn ignore_broken_pipes() -> io::Result<()> {
    // SAFETY: SIG_IGN is a valid disposition.
    if unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) } == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
