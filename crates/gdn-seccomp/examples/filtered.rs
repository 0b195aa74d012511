//! Runs a command under the default profile, or under one from a file.
//!
//! `cargo run -p gdn-seccomp --example filtered -- [--profile FILE] COMMAND [ARGUMENT]...`

#![allow(unsafe_code, reason = "installing a filter is a system call, made between fork and exec")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use gdn_seccomp::{Capabilities, Profile, Program, Target};

const USAGE: &str = "usage: filtered [--profile FILE] COMMAND [ARGUMENT]...";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let mut profile = Profile::default_profile();
    if arguments.next_if(|argument| argument == "--profile").is_some() {
        let text = std::fs::read(arguments.next().ok_or(USAGE)?)?;
        let loaded = Profile::from_json(&text, Target::here(Capabilities::NONE)?)?;
        eprintln!("calls that do not exist here: {:?}", loaded.skipped);
        profile = loaded.profile;
    }
    let mut command = Command::new(arguments.next().ok_or(USAGE)?);
    command.args(arguments);

    let program = profile.compile()?;
    eprintln!("{} instructions", program.len());
    // SAFETY: the closure makes two system calls; it allocates nothing.
    unsafe { command.pre_exec(move || install(&program)) };
    Err(command.exec().into())
}

/// Filters the calling thread and what it starts. Without the right to administer the system, the kernel wants the promise
/// that no set-user-id program will gain rights under the filter.
fn install(program: &Program) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.instructions().as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: prctl with these arguments touches no memory; seccomp only reads the program, which outlives the call and has
    // the layout of the kernel's instructions.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
