//! How long the kernel takes to load filters, by their shape: what to compare a change of the compiler with.
//!
//! `cargo run --release -p gdn-seccomp --example load_time`
//!
//! Each load happens in a process of its own, as it does in a container. The kernel checks and translates the program, makes
//! machine code of it, and then runs it once for each call number of each architecture to learn which calls it always allows.
//! So length and depth both count, and the first line is what even the shortest program costs.

#![allow(unsafe_code, reason = "fork and system calls")]

use std::io;
use std::time::Instant;

use gdn_seccomp::{Instruction, Profile};

/// Loads per shape; the median of so many is stable to a few percent.
const ROUNDS: usize = 500;
/// `BPF_RET | BPF_K` and `SECCOMP_RET_ALLOW`.
const ALLOW: Instruction = Instruction { code: 0x06, jump_true: 0, jump_false: 0, operand: 0x7fff_0000 };
/// `BPF_LD | BPF_W | BPF_ABS`; the call's number is at offset 0.
const LOAD_NUMBER: Instruction = Instruction { code: 0x20, jump_true: 0, jump_false: 0, operand: 0 };

fn main() -> io::Result<()> {
    let default = Profile::default_profile().compile().map_err(io::Error::other)?;
    let shapes = [
        ("one instruction".to_owned(), vec![ALLOW]),
        ("the default profile".to_owned(), default.instructions().to_vec()),
    ];
    let unreached = [100, 300, 700].map(|count| {
        let mut code = vec![ALLOW];
        code.extend(tests(count));
        code.push(ALLOW);
        (format!("{count} comparisons, never run"), code)
    });
    let list = [10, 30, 100, 300].map(|count| {
        let mut code = vec![LOAD_NUMBER];
        code.extend(tests(count));
        code.push(ALLOW);
        (format!("{count} comparisons in a row"), code)
    });
    println!("{:<28} {:>12} {:>10} {:>10}", "shape", "instructions", "median us", "least us");
    for (name, code) in shapes.into_iter().chain(unreached).chain(list) {
        let mut nanoseconds = (0..ROUNDS).map(|_| load(&code)).collect::<io::Result<Vec<u64>>>()?;
        nanoseconds.sort_unstable();
        let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1000.0;
        let (median, least) = (microseconds(nanoseconds[ROUNDS / 2]), microseconds(nanoseconds[0]));
        println!("{name:<28} {:>12} {median:>10.1} {least:>10.1}", code.len());
    }
    Ok(())
}

/// Comparisons (`BPF_JMP | BPF_JEQ | BPF_K`) that never hold: each costs a step and nothing else.
fn tests(count: u32) -> impl Iterator<Item = Instruction> {
    (0..count).map(|at| Instruction { code: 0x15, jump_true: 0, jump_false: 0, operand: 100_000 + at })
}

/// The nanoseconds one load takes in a new process.
fn load(code: &[Instruction]) -> io::Result<u64> {
    let program = libc::sock_fprog {
        len: u16::try_from(code.len()).map_err(io::Error::other)?,
        filter: code.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    let mut ends = [0; 2];
    // SAFETY: pipe fills the array. The child of this single-threaded process allocates nothing, makes system calls only, and
    // leaves by _exit. seccomp reads the program, which has the layout of the kernel's instructions and outlives the call.
    // The parent's read fills eight bytes that are its own, and it owns both ends.
    unsafe {
        if libc::pipe(ends.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let child = libc::fork();
        if child == 0 {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            let start = Instant::now();
            let result =
                libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program);
            let taken = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            if result == 0 {
                libc::write(ends[1], (&raw const taken).cast(), size_of::<u64>());
            }
            libc::_exit(0);
        }
        let failed = (child < 0).then(io::Error::last_os_error);
        libc::close(ends[1]);
        let mut taken = 0_u64;
        let read = libc::read(ends[0], (&raw mut taken).cast(), size_of::<u64>());
        libc::close(ends[0]);
        if let Some(error) = failed {
            return Err(error);
        }
        libc::waitpid(child, std::ptr::null_mut(), 0);
        if usize::try_from(read) == Ok(size_of::<u64>()) {
            Ok(taken)
        } else {
            Err(io::Error::other("the filter was refused"))
        }
    }
}
