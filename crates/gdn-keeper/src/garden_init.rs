//! Pid 1 of every container: reaps what is orphaned, and nothing else.
//!
//! Without the standard library, so that it occupies a few pages. Compiled by the build script on its own, twice: with
//! `of_runtime` it is what an external runtime starts, whose parent ends at once. It then learns of the keeper's end by that of
//! its standard input.
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(125)
}

#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor %ebp, %ebp", "and $-16, %rsp", "call start", options(att_syntax));
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, #0", "bl start");

#[cfg(target_arch = "x86_64")]
mod number {
    #[cfg(of_runtime)]
    pub const READ: usize = 0;
    #[cfg(not(of_runtime))]
    pub const POLL: usize = 7;
    pub const RT_SIGACTION: usize = 13;
    #[cfg(not(of_runtime))]
    pub const RT_SIGSUSPEND: usize = 130;
    pub const EXIT_GROUP: usize = 231;
    pub const PRCTL: usize = 157;
    pub const CLOSE_RANGE: usize = 436;
}
#[cfg(target_arch = "aarch64")]
mod number {
    #[cfg(of_runtime)]
    pub const READ: usize = 63;
    #[cfg(not(of_runtime))]
    pub const POLL: usize = 73; // ppoll, with a null timeout replaced by a zero one
    pub const RT_SIGACTION: usize = 134;
    #[cfg(not(of_runtime))]
    pub const RT_SIGSUSPEND: usize = 133;
    pub const EXIT_GROUP: usize = 94;
    pub const PRCTL: usize = 167;
    pub const CLOSE_RANGE: usize = 436;
}

#[cfg(target_arch = "x86_64")]
fn call(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result: isize;
    // SAFETY: every caller passes numbers or pointers to live data of the kernel's layout; the kernel keeps the registers
    // that are not named.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}
#[cfg(target_arch = "aarch64")]
fn call(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result: isize;
    // SAFETY: as on x86_64.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a as isize => result, in("x1") b, in("x2") c, in("x3") d,
             options(nostack));
    }
    result
}

fn exit(status: usize) -> ! {
    call(number::EXIT_GROUP, status, 0, 0, 0);
    loop {}
}

#[cfg(not(of_runtime))]
const PR_SET_PDEATHSIG: usize = 1;
const PR_SET_NAME: usize = 15;
#[cfg(not(of_runtime))]
const SIGKILL: usize = 9;
const SIGCHLD: usize = 17;
const SIG_IGN: usize = 1;
const SA_NOCLDWAIT: usize = 2;
#[cfg(not(of_runtime))]
const POLLHUP: u16 = 0x10;

/// Descriptor on which the keeper is; it hangs up when the keeper is gone.
#[cfg(not(of_runtime))]
const KEEPER: i32 = 3;

#[no_mangle]
extern "C" fn start() -> ! {
    call(number::PRCTL, PR_SET_NAME, c"garden-init".as_ptr() as usize, 0, 0);
    ignore_children();
    hold()
}

/// Ignored children are reaped by the kernel, without ever waking us.
fn ignore_children() {
    let ignore: [usize; 4] = [SIG_IGN, SA_NOCLDWAIT, 0, 0];
    call(number::RT_SIGACTION, SIGCHLD, ignore.as_ptr() as usize, 0, 8);
}

#[cfg(not(of_runtime))]
fn hold() -> ! {
    // If the keeper dies, so do we; if it died before this line, its descriptor has hung up.
    call(number::PRCTL, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
    if keeper_is_gone() {
        exit(0);
    }
    call(number::CLOSE_RANGE, 0, u32::MAX as usize, 0, 0);
    let every_signal: u64 = u64::MAX;
    loop {
        call(number::RT_SIGSUSPEND, &raw const every_signal as usize, 8, 0, 0);
    }
}

/// Standard input is a pipe whose other end only the keeper has, and into which nobody writes.
#[cfg(of_runtime)]
fn hold() -> ! {
    const EINTR: isize = -4;
    call(number::CLOSE_RANGE, 1, u32::MAX as usize, 0, 0);
    let mut byte = 0_u8;
    while call(number::READ, 0, &raw mut byte as usize, 1, 0) == EINTR {}
    exit(0)
}

#[cfg(not(of_runtime))]
fn keeper_is_gone() -> bool {
    #[repr(C)]
    struct PollFd {
        fd: i32,
        events: u16,
        revents: u16,
    }
    let mut keeper = PollFd { fd: KEEPER, events: 0, revents: 0 };
    #[cfg(target_arch = "x86_64")]
    call(number::POLL, &raw mut keeper as usize, 1, 0, 0);
    #[cfg(target_arch = "aarch64")]
    {
        let now: [u64; 2] = [0, 0];
        call(number::POLL, &raw mut keeper as usize, 1, now.as_ptr() as usize, 0);
    }
    // SAFETY: a plain read of a live field that the kernel may have written behind the compiler's back.
    unsafe { core::ptr::read_volatile(&raw const keeper.revents) & POLLHUP != 0 }
}
