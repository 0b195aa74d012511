//! System calls and their errors as text.

use std::ffi::CString;
use std::io;

/// The outcome of a call that answers a negative number when it fails.
pub(crate) fn checked(what: &str, answer: impl Into<i64>) -> Result<i64, String> {
    let answer = answer.into();
    if answer < 0 { Err(format!("{what}: {}", io::Error::last_os_error())) } else { Ok(answer) }
}

/// Text for the kernel.
pub(crate) fn text(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| format!("{text:?} has a zero byte"))
}

/// Becomes another program, which is looked for in `PATH`.
pub(crate) fn become_command(command: &[&str]) -> Result<u8, String> {
    use std::os::unix::process::CommandExt;
    let (program, arguments) = command.split_first().ok_or("a command has a name")?;
    Err(format!("{program}: {}", std::process::Command::new(program).args(arguments).exec()))
}

/// `slurp FILE`: reads all of it into memory, as a careless look-up of users does, and prints the most memory this took.
pub(crate) fn slurp(file: &str) -> Result<u8, String> {
    let bytes = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    let status = std::fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("{} of {}", most.unwrap_or("?").trim(), bytes.len());
    Ok(0)
}

/// `cat FILE`: for a copy of this program that is marked to become another user, which busybox's own would not stay.
pub(crate) fn cat(file: &str) -> Result<u8, String> {
    print!("{}", std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?);
    Ok(0)
}
