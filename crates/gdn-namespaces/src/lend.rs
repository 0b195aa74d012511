//! Starting a process on borrowed memory, as vfork(2) does.
//!
//! A fork copies page tables, and afterwards both sides pay a page fault for each page that they touch; a program of a
//! megabyte pays some forty of them for one exec. A child that borrows the memory pays none.

#![allow(unsafe_code, reason = "clone3(2) with CLONE_VM needs a stack and an entry of its own")]

use std::arch::asm;
use std::convert::Infallible;
use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::process::CloneArgs;

/// Stack of the child: its deepest call holds two paths of 4 KiB.
const STACK: usize = 64 * 1024;

/// `CLONE_INTO_CGROUP`, which does not fit the C library's int constants.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// Lends the caller's memory to a new process, which runs `child` until it executes a program or exits. The caller is
/// suspended until then. Returns the process's number and a descriptor for it.
///
/// Descriptors, working directory, signal dispositions, credentials and namespaces are the child's own copies.
///
/// # Safety
/// The caller must be single-threaded. The child may be killed at any moment, and the memory it leaves is the caller's: it
/// must not allocate or free, must take no lock, and must leave every object that outlives it whole after each
/// instruction. In particular it may change nothing but its own stack.
///
/// # Errors
/// The kernel's: `EAGAIN`, `ENOMEM`, `EPERM`, `ENOSPC`.
pub unsafe fn lend<F: FnOnce() -> Infallible>(
    cgroup: Option<BorrowedFd<'_>>,
    child: F,
) -> io::Result<(u32, OwnedFd)> {
    let mut pidfd: i32 = -1;
    let mut stack = MaybeUninit::<Stack>::uninit();
    let mut child = MaybeUninit::new(child);
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;
    let mut args = CloneArgs {
        flags: u64::from(flags.cast_unsigned()),
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        stack: stack.as_mut_ptr() as u64,
        stack_size: STACK as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: `args` has the kernel's layout, and it, the stack and the closure outlive the child's use of them, because
    // CLONE_VFORK suspends this thread until then; `enter` takes the closure once, in the child only. What the child does
    // is the caller's promise.
    let result = unsafe { clone_into(&args, enter::<F>, child.as_mut_ptr().cast()) };
    if result < 0 {
        // SAFETY: there is no child that could have taken it.
        unsafe { child.assume_init_drop() };
        return Err(io::Error::from_raw_os_error(i32::try_from(-result).unwrap_or(libc::EIO)));
    }
    let pid = u32::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel stored a descriptor that nobody else owns.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

#[repr(C, align(16))]
struct Stack([u8; STACK]);

/// Where the child begins. A panic ends it: unwinding cannot leave an `extern "C"` function.
extern "C" fn enter<F: FnOnce() -> Infallible>(child: *mut c_void) -> ! {
    // SAFETY: `lend` passes its closure, initialised and not used otherwise.
    let child = unsafe { child.cast::<F>().read() };
    match child() {}
}

/// The system call. The child begins on its stack with `entry(argument)`; only the caller sees it return.
#[cfg(target_arch = "x86_64")]
unsafe fn clone_into(
    args: &CloneArgs,
    entry: extern "C" fn(*mut c_void) -> !,
    argument: *mut c_void,
) -> isize {
    let result: isize;
    // SAFETY: the kernel gives the child a copy of all registers but rax, rcx and r11, and the stack of `args`, whose end
    // is aligned as the ABI wants it before a call; rbp of 0 ends a backtrace. The parent goes on at label 2.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") std::ptr::from_ref(args),
            in("rsi") size_of::<CloneArgs>(),
            in("r12") argument,
            in("r13") entry,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// The system call. The child begins on its stack with `entry(argument)`; only the caller sees it return.
#[cfg(target_arch = "aarch64")]
unsafe fn clone_into(
    args: &CloneArgs,
    entry: extern "C" fn(*mut c_void) -> !,
    argument: *mut c_void,
) -> isize {
    let result: isize;
    // SAFETY: the kernel gives the child a copy of all registers but x0, and the aligned stack of `args`; x29 of 0 ends a
    // backtrace. The parent goes on at label 2.
    unsafe {
        asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk #1",
            "2:",
            inlateout("x0") std::ptr::from_ref(args) => result,
            in("x1") size_of::<CloneArgs>(),
            in("x8") libc::SYS_clone3,
            in("x20") argument,
            in("x21") entry,
        );
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn status_of(pid: u32) -> i32 {
        let mut status = 0;
        // SAFETY: the status outlives the call.
        let waited = unsafe { libc::waitpid(pid.cast_signed(), &raw mut status, 0) };
        assert_eq!(waited, pid.cast_signed());
        status
    }

    /// The memory is the same, and the caller goes on only when the child is gone.
    #[test]
    fn a_child_on_borrowed_memory_is_seen_by_its_lender() {
        static SEEN: AtomicU32 = AtomicU32::new(0);
        let local = 41;
        // SAFETY: the child stores a number and exits; no lock and no allocation is involved. Other test threads go on, but
        // the child touches nothing of theirs.
        let (pid, _pidfd) = unsafe {
            lend(None, || {
                SEEN.store(local + 1, Ordering::SeqCst);
                libc::_exit(7)
            })
        }
        .unwrap();
        assert_eq!(SEEN.load(Ordering::SeqCst), 42);
        assert_eq!(status_of(pid), 7 << 8);
    }

    #[test]
    fn a_program_is_executed() {
        let (program, argument) = (c"/bin/sh", [c"sh".as_ptr(), c"-c".as_ptr(), c"exit 3".as_ptr()]);
        let argv = [argument[0], argument[1], argument[2], std::ptr::null()];
        let env = [std::ptr::null()];
        // SAFETY: as above; the strings are constants.
        let (pid, _pidfd) = unsafe {
            lend(None, || {
                libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr());
                libc::_exit(1)
            })
        }
        .unwrap();
        assert_eq!(status_of(pid), 3 << 8);
    }

    #[test]
    fn without_a_child_the_kernel_says_why() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let cgroup = std::os::fd::AsFd::as_fd(&file);
        // SAFETY: there is no child: /dev/null is no cgroup.
        let error = unsafe { lend(Some(cgroup), || libc::_exit(0)) }.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }
}
