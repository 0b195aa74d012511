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
