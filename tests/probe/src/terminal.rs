//! Input for somebody else's terminal.

use crate::system::checked;

/// The byte that is pushed, where 32-bit calls reach it as well: this program is linked to low addresses.
static BYTE: u8 = b'#';

/// `push REQUEST`: asks the terminal of standard input to take a byte as if it was typed (TIOCSTI is 0x5412), and prints what
/// the kernel answered; 32 bits of dirt above the request are kept.
pub(crate) fn push(door: &str, request: &str) -> Result<u8, String> {
    let ioctl = if door == "i386" { "54" } else { "16" };
    crate::calls::call(door, ioctl, &["0", request, &format!("{:#x}", &raw const BYTE as usize)])
}

/// `grab-and-push`: makes the terminal of standard input this process's own, in a new session, and then as `push`. Whoever may
/// not take a terminal away from its session is told so by the errno of that.
pub(crate) fn grab_and_push(door: &str, request: &str) -> Result<u8, String> {
    match grab()? {
        0 => push(door, request),
        errno => {
            println!("errno {errno}");
            Ok(0)
        }
    }
}

fn grab() -> Result<i32, String> {
    // SAFETY: this program has one thread; the parent only waits.
    unsafe {
        let child = checked("fork", libc::fork())?;
        if child != 0 {
            let mut status = 0;
            checked("waitpid", libc::waitpid(child as i32, &raw mut status, 0))?;
            libc::_exit(libc::WEXITSTATUS(status));
        }
        checked("setsid", libc::setsid())?;
        match libc::ioctl(0, libc::TIOCSCTTY, 1) {
            0 => Ok(0),
            _ => Ok(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)),
        }
    }
}
