//! This command's own terminal: raw mode, and its size.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use gdn_types::WindowSize;
use rustix::termios::{self, OptionalActions, Termios};

/// Raw mode, for as long as this lives: whatever way the command ends, short of a kill, the terminal is as before.
pub(crate) struct RawMode {
    terminal: File,
    before: Termios,
}

impl RawMode {
    /// Puts the terminal on standard input into raw mode; `None` when standard input is none.
    pub(crate) fn begin() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !termios::isatty(&stdin) {
            return Ok(None);
        }
        let terminal = File::from(stdin.as_fd().try_clone_to_owned()?);
        let before = termios::tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(Some(RawMode { terminal, before }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that hung up cannot be restored and need not be.
        let _ = termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// The size of the terminal this command is on; the default size when it is on none.
pub(crate) fn size() -> WindowSize {
    let sizes = [
        termios::tcgetwinsize(io::stdout()),
        termios::tcgetwinsize(io::stdin()),
        termios::tcgetwinsize(io::stderr()),
    ];
    let size =
        sizes.into_iter().flatten().map(|size| WindowSize { columns: size.ws_col, rows: size.ws_row }).next();
    size.unwrap_or_default().or_default()
}
