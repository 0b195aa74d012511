//! The few ptrace(2) requests that the stepper needs, as safe functions.
#![allow(unsafe_code, reason = "ptrace and waitpid are only reachable as foreign functions")]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// A system call about to be made.
pub(crate) struct Entry {
    /// Its number.
    pub(crate) number: u64,
    /// Its arguments.
    pub(crate) arguments: [u64; 6],
}

/// What became of a traced thread.
pub(crate) enum Stop {
    /// It has ended.
    Ended,
    /// It is before or after a system call.
    Call,
    /// It has made a thread or a process that is traced too.
    Cloned,
    /// It was interrupted by the tracer, or begins its life.
    Interrupted,
    /// It takes part in a stop of the whole process by a signal.
    Grouped,
    /// This signal is about to reach it.
    Signal(i32),
}

/// Begins to trace a thread, and those that it makes; the process is killed when the tracer ends.
pub(crate) fn seize(thread: u32) -> io::Result<()> {
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_EXITKILL;
    request(libc::PTRACE_SEIZE, thread, options as usize)
}

/// Stops a seized thread soon.
pub(crate) fn interrupt(thread: u32) -> io::Result<()> {
    request(libc::PTRACE_INTERRUPT, thread, 0)
}

/// Lets a stopped thread go on to its next system call, after delivering a signal (0 = none).
pub(crate) fn go_on(thread: u32, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_SYSCALL, thread, signal as usize)
}

/// Leaves a thread in the stop of its process, but hears of its end.
pub(crate) fn listen(thread: u32) -> io::Result<()> {
    request(libc::PTRACE_LISTEN, thread, 0)
}

/// Lets a stopped thread go for good.
pub(crate) fn detach(thread: u32) -> io::Result<()> {
    request(libc::PTRACE_DETACH, thread, 0)
}

fn request(request: libc::c_uint, thread: u32, data: usize) -> io::Result<()> {
    // SAFETY: none of the requests made above reads or writes memory of this process: address is null and data a number.
    let outcome =
        unsafe { libc::ptrace(request, thread as libc::pid_t, ptr::null_mut::<libc::c_void>(), data) };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The call that a thread in a [`Stop::Call`] is about to make; `None` when it comes back from one.
pub(crate) fn entry(thread: u32) -> io::Result<Option<Entry>> {
    let mut info = MaybeUninit::<libc::ptrace_syscall_info>::zeroed();
    let size = size_of::<libc::ptrace_syscall_info>();
    // SAFETY: the kernel writes at most `size` bytes to `info`, which is that large and lives through the call.
    let written = unsafe {
        libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, thread as libc::pid_t, size, info.as_mut_ptr())
    };
    if written == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: every field is a number, for which the zeroes written above are valid too.
    let info = unsafe { info.assume_init() };
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return Ok(None);
    }
    // SAFETY: `op` says that the union holds an entry; its fields are numbers.
    let entry = unsafe { info.u.entry };
    Ok(Some(Entry { number: entry.nr, arguments: entry.args }))
}

/// Waits for news of a thread that the calling thread traces; other children are left alone.
pub(crate) fn wait() -> io::Result<(u32, Stop)> {
    const OWN_ONLY: libc::c_int = libc::__WALL | libc::__WNOTHREAD;
    loop {
        let mut status = 0;
        // SAFETY: `status` lives through the call.
        let thread = unsafe { libc::waitpid(-1, &raw mut status, OWN_ONLY) };
        if let Ok(thread) = u32::try_from(thread) {
            return Ok((thread, stop(status)));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn stop(status: libc::c_int) -> Stop {
    const CALL: i32 = libc::SIGTRAP | 0x80;
    if !libc::WIFSTOPPED(status) {
        return Stop::Ended;
    }
    match (libc::WSTOPSIG(status), status >> 16) {
        (CALL, _) => Stop::Call,
        (_, libc::PTRACE_EVENT_CLONE) => Stop::Cloned,
        (libc::SIGTRAP, libc::PTRACE_EVENT_STOP) => Stop::Interrupted,
        (_, libc::PTRACE_EVENT_STOP) => Stop::Grouped,
        (signal, _) => Stop::Signal(signal),
    }
}

/// Ends a process at once.
pub(crate) fn kill(process: u32) -> io::Result<()> {
    signal(process, libc::SIGKILL)
}

/// Asks a process to end.
pub(crate) fn terminate(process: u32) -> io::Result<()> {
    signal(process, libc::SIGTERM)
}

fn signal(process: u32, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: no memory is involved; the callers name their own children, not yet reaped, so the pid is not another's.
    let outcome = unsafe { libc::kill(process as libc::pid_t, signal) };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes this process the parent of its descendants' orphans, so that it can find and reap them.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    // SAFETY: this request takes one number and no memory.
    let outcome = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Reaps this child if it has ended. Says whether it lives.
pub(crate) fn lives(child: u32) -> bool {
    // SAFETY: a null status pointer is allowed.
    unsafe { libc::waitpid(child as libc::pid_t, ptr::null_mut(), libc::WNOHANG) == 0 }
}
