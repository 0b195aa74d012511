//! System calls by their numbers, by each of the kernel's doors.

use std::arch::asm;
use std::fmt;
use std::io::Write;

/// Where a call enters the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// As 64-bit programs do; x32 programs do too, with a bit in the number.
    Native,
    /// As 32-bit programs do (`int 0x80`).
    I386,
}

/// What a call answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Returned(i64),
    Signal(i32),
    /// The process ended without one.
    Exited,
    /// None came in time.
    Blocked,
}

/// For how long an answer is waited for, in milliseconds: a call that takes longer waits for something.
const PATIENCE_MS: i32 = 250;
/// The bit of x32 calls (`__X32_SYSCALL_BIT`).
const X32: u64 = 0x4000_0000;
/// No pointer, descriptor, process, signal or flag.
const HARMLESS: [u64; 6] = [0xffff_ffff_ffff_ff00; 6];

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Returned(errno @ -4095..=-1) => write!(f, "errno {}", -errno),
            Answer::Returned(_) => write!(f, "ok"),
            Answer::Signal(signal) => write!(f, "signal {signal}"),
            Answer::Exited => write!(f, "exited"),
            Answer::Blocked => write!(f, "blocked"),
        }
    }
}

/// `sweep DOOR FIRST LAST`: makes each call with harmless arguments in a process of its own, and prints a line for each:
/// its number and what it answered.
pub(crate) fn sweep(door: &str, first: &str, last: &str) -> Result<u8, String> {
    let (door, bit) = door_of(door)?;
    let mut lines = String::new();
    for number in value(first)?..=value(last)? {
        lines.push_str(&format!("{number} {}\n", in_child(door, number | bit, HARMLESS)?));
    }
    std::io::stdout().write_all(lines.as_bytes()).map_err(|error| format!("print: {error}"))?;
    Ok(0)
}

/// `call DOOR NUMBER ARGUMENTS...`: makes one call in a process of its own and prints what it answered.
pub(crate) fn call(door: &str, number: &str, arguments: &[&str]) -> Result<u8, String> {
    let (door, bit) = door_of(door)?;
    let mut values = [0; 6];
    for (place, argument) in values.iter_mut().zip(arguments) {
        *place = value(argument)?;
    }
    match in_child(door, value(number)? | bit, values)? {
        Answer::Returned(returned @ 0..) => println!("ok {returned}"),
        answer => println!("{answer}"),
    }
    Ok(0)
}

fn door_of(name: &str) -> Result<(Door, u64), String> {
    match name {
        "x86_64" => Ok((Door::Native, 0)),
        "x32" => Ok((Door::Native, X32)),
        "i386" => Ok((Door::I386, 0)),
        _ => Err(format!("there is no door {name:?}")),
    }
}

pub(crate) fn value(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|error| format!("{text:?}: {error}"))
}

fn in_child(door: Door, number: u64, arguments: [u64; 6]) -> Result<Answer, String> {
    use crate::system::checked;
    let mut ends = [0; 2];
    // SAFETY: ends has room for two descriptors.
    checked("pipe", unsafe { libc::pipe(ends.as_mut_ptr()) })?;
    // SAFETY: this program has one thread, so the child may do anything.
    let child = checked("fork", unsafe { libc::fork() })? as libc::pid_t;
    if child == 0 {
        attempt(ends[1], door, number, arguments);
    }
    // SAFETY: the descriptor is this process's own and not used again.
    unsafe { libc::close(ends[1]) };
    let mut poll = libc::pollfd { fd: ends[0], events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry.
    let ready = checked("poll", unsafe { libc::poll(&raw mut poll, 1, PATIENCE_MS) })?;
    let mut answer = 0_i64;
    // SAFETY: the kernel writes at most the eight bytes of the answer.
    let got = if ready > 0 { unsafe { libc::read(ends[0], (&raw mut answer).cast(), 8) } } else { 0 };
    // SAFETY: as above; and the child is not waited for yet, so its number is its own.
    unsafe {
        libc::close(ends[0]);
        if ready == 0 {
            libc::kill(child, libc::SIGKILL);
        }
    }
    let mut status = 0;
    // SAFETY: a place for one int.
    checked("waitpid", unsafe { libc::waitpid(child, &raw mut status, 0) })?;
    Ok(match (got, ready) {
        (8, _) => Answer::Returned(answer),
        (_, 0) => Answer::Blocked,
        _ if libc::WIFSIGNALED(status) => Answer::Signal(libc::WTERMSIG(status)),
        _ => Answer::Exited,
    })
}

/// Makes the call and sends its answer. A call that makes another process gives this code to both: only the one that was
/// meant answers.
fn attempt(pipe: i32, door: Door, number: u64, arguments: [u64; 6]) -> ! {
    // SAFETY: no arguments.
    let own = unsafe { libc::getpid() };
    // SAFETY: whatever the call does, it does to this process, which ends here and holds nothing.
    let answer = unsafe { raw(door, number, arguments) };
    // SAFETY: raw calls without memory but the eight bytes of the answer; nothing returns, so the stack that a vfork shares
    // is not unwound.
    unsafe {
        if raw(Door::Native, libc::SYS_getpid as u64, [0; 6]) == i64::from(own) {
            raw(Door::Native, libc::SYS_write as u64, [pipe as u64, (&raw const answer) as u64, 8, 0, 0, 0]);
        }
        loop {
            raw(Door::Native, libc::SYS_exit_group as u64, [0; 6]);
        }
    }
}

/// One call, written into the caller so that a vfork finds its way back.
///
/// # Safety
/// As the call.
#[inline(always)]
unsafe fn raw(door: Door, number: u64, arguments: [u64; 6]) -> i64 {
    let [a, b, c, d, e, f] = arguments;
    let mut answer: i64;
    match door {
        // SAFETY: the caller's promise; the kernel keeps all registers but these.
        Door::Native => unsafe {
            asm!("syscall", inlateout("rax") number => answer, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
                in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _);
        },
        // SAFETY: as above. The first argument's register belongs to the compiler, so it is lent for the call; the sixth
        // argument is left as it is.
        Door::I386 => unsafe {
            asm!("xchg rbx, {first}", "int 0x80", "xchg rbx, {first}", first = inout(reg) a => _,
                inlateout("rax") number => answer, in("rcx") b, in("rdx") c, in("rsi") d, in("rdi") e,
                lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _);
            answer = i64::from(answer as i32);
        },
    }
    answer
}
