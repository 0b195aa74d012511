//! Keyrings.

use std::ptr;

use crate::system::{checked, text};

/// `KEYCTL_GET_KEYRING_ID`, `KEYCTL_SEARCH` and `KEY_SPEC_SESSION_KEYRING` of `linux/keyctl.h`.
const GET_KEYRING_ID: i32 = 0;
const SEARCH: i32 = 10;
const SESSION: i32 = -3;

/// `keys session`: prints the serial number of the session keyring.
pub(crate) fn session() -> Result<u8, String> {
    // SAFETY: numbers only.
    let keyring = unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, SESSION, 0) };
    println!("{}", checked("keyctl", keyring)?);
    Ok(0)
}

/// `keys add NAME`: puts a key into the session keyring, and prints its number.
pub(crate) fn add(name: &str) -> Result<u8, String> {
    let name = text(name)?;
    // SAFETY: texts that end with a zero byte, and a payload with its length.
    let key = unsafe {
        libc::syscall(libc::SYS_add_key, c"user".as_ptr(), name.as_ptr(), c"x".as_ptr(), 1_usize, SESSION)
    };
    println!("{}", checked("add_key", key)?);
    Ok(0)
}

/// `keys with NAME COMMAND...`: joins a new session keyring with a key in it, and becomes the command.
pub(crate) fn with(name: &str, command: &[&str]) -> Result<u8, String> {
    /// `KEYCTL_JOIN_SESSION_KEYRING`.
    const JOIN: i32 = 1;
    // SAFETY: a null name means a new anonymous keyring.
    let joined = unsafe { libc::syscall(libc::SYS_keyctl, JOIN, ptr::null::<libc::c_char>()) };
    checked("join a session keyring", joined)?;
    let name = text(name)?;
    // SAFETY: as in `add`.
    let key = unsafe {
        libc::syscall(libc::SYS_add_key, c"user".as_ptr(), name.as_ptr(), c"x".as_ptr(), 1_usize, SESSION)
    };
    checked("add_key", key)?;
    crate::system::become_command(command)
}

/// `keys search NAME`: prints the number of a key that is found from the session keyring.
pub(crate) fn search(name: &str) -> Result<u8, String> {
    let name = text(name)?;
    // SAFETY: texts that end with a zero byte.
    let found =
        unsafe { libc::syscall(libc::SYS_keyctl, SEARCH, SESSION, c"user".as_ptr(), name.as_ptr(), 0) };
    println!("{}", checked("search", found)?);
    Ok(0)
}
