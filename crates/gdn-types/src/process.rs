//! Processes and streams in a container.

use std::fmt;

use crate::{BindMount, CpuLimits, Environment, Error, ImageRef, MemoryLimits, ProcessId, Result, Rlimits};

/// A process to be run in a container. Garden: `ProcessSpec`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessSpec {
    /// The name; generated (UUID v4) when absent.
    pub id: Option<ProcessId>,
    /// The program: a path, or a name to look for in the process's own `PATH`.
    pub path: String,
    /// Arguments after the program's name.
    pub args: Vec<String>,
    /// Environment, laid over the container's.
    pub env: Environment,
    /// Working directory, created when missing; empty = the user's home.
    pub dir: String,
    /// `""` (root), name, uid, uid:gid, name:group or uid:group, resolved in the container.
    pub user: String,
    /// Per-process limits.
    pub rlimits: Rlimits,
    /// A terminal of this size as stdin, stdout and stderr; absent = pipes.
    pub tty: Option<WindowSize>,
    /// What happens to output that nobody reads.
    pub output: OutputPolicy,
    /// So many of the last bytes of each output are kept for readers to come, also of output that somebody read and after the
    /// process's end; at most [`MAX_KEPT_OUTPUT`](Self::MAX_KEPT_OUTPUT).
    pub keep_output: u64,
    /// An image of its own (a sidecar); absent = the container's root file system.
    pub image: Option<ImageRef>,
    /// Bind mounts of a sidecar.
    pub bind_mounts: Vec<BindMount>,
    /// Limits of a sidecar; absent = the container's, present (even when empty) = its own.
    pub limits: Option<(CpuLimits, MemoryLimits)>,
}

impl ProcessSpec {
    /// Most bytes of one output that are kept: they lie in memory that no limit of the container counts.
    pub const MAX_KEPT_OUTPUT: u64 = 4 * 1024 * 1024;
}

/// Where an attachment begins, by the numbers of bytes: 0 is the first that the process wrote to that output.
///
/// What is not there any more is passed over; the attachment tells with which byte it does begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachFrom {
    /// The byte of standard output to begin with; absent = the next one, or the first that waits for a reader, with a policy
    /// that lets output wait.
    pub stdout: Option<u64>,
    /// The same of standard error.
    pub stderr: Option<u64>,
}

/// The size of a terminal. A zero member means 24 rows or 80 columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSize {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

impl WindowSize {
    /// The size with the defaults filled in: 80 columns, 24 rows.
    #[must_use]
    pub fn or_default(self) -> Self {
        let or = |value, default| if value == 0 { default } else { value };
        WindowSize { columns: or(self.columns, 80), rows: or(self.rows, 24) }
    }
}

/// What happens to a process's output while no client reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputPolicy {
    /// It is read and thrown away, as the reference engine does, except for what [`ProcessSpec::keep_output`] keeps.
    #[default]
    Discard,
    /// It stays in the pipe, and the process waits when that is full. Of what a reader got, the last
    /// [`MAX_KEPT_OUTPUT`](ProcessSpec::MAX_KEPT_OUTPUT) bytes are kept, unless [`ProcessSpec::keep_output`] says how many: the
    /// reader that comes back, with the byte it wants to go on with, finds neither gap nor duplicate.
    Block,
    /// As [`OutputPolicy::Discard`] while the engine runs. While it does not, an output that was being read waits, with what
    /// its reader had not taken yet, and so does the process once its pipe is full, until somebody attaches again. For clients
    /// who cannot say with which byte they want to go on.
    Hold,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(u8),
    /// A signal of this number ended it.
    Signal(u8),
}

impl ExitStatus {
    /// The number clients see: the code, or 128 + the signal's number.
    pub fn code(self) -> i32 {
        match self {
            ExitStatus::Code(code) => i32::from(code),
            ExitStatus::Signal(signal) => 128 + i32::from(signal),
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Code(code) => write!(f, "exited with status {code}"),
            ExitStatus::Signal(signal) => write!(f, "ended by signal {signal}"),
        }
    }
}

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessState {
    /// Running.
    Running,
    /// Ended, with its status.
    Exited(ExitStatus),
    /// Belonged to an earlier life of the host; how it ended cannot be known.
    Lost,
}

/// A signal number, 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signal(u8);

impl Signal {
    /// Ask a process to end.
    pub const TERM: Signal = Signal(15);
    /// End a process.
    pub const KILL: Signal = Signal(9);

    /// Checks the number.
    ///
    /// # Errors
    /// `InvalidArgument` unless 1 <= number <= 64.
    pub fn new(number: i32) -> Result<Self> {
        match u8::try_from(number) {
            Ok(number @ 1..=64) => Ok(Signal(number)),
            _ => Err(Error::invalid(format!("signal {number} is not between 1 and 64"))),
        }
    }

    /// A number, or a name with or without `SIG` in any case: `9`, `KILL`, `sigkill`.
    ///
    /// # Errors
    /// `InvalidArgument` naming the text.
    pub fn parse(text: &str) -> Result<Self> {
        if let Ok(number) = text.parse() {
            return Signal::new(number);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        SIGNAL_NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| Signal(*number)).ok_or_else(
            || Error::invalid(format!("signal {text:?} is neither a number from 1 to 64 nor a known name")),
        )
    }

    /// The number.
    pub fn number(self) -> i32 {
        i32::from(self.0)
    }
}

/// Names of signal(7), with the numbers of x86 and ARM.
const SIGNAL_NAMES: [(&str, u8); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// Where a tar stream goes. Garden: `StreamInSpec`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamInSpec {
    /// Directory to extract into, created when missing; relative to the user's home.
    pub path: String,
    /// The user to extract as; empty = root.
    pub user: String,
}

/// Where a tar stream comes from. Garden: `StreamOutSpec`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamOutSpec {
    /// `dir` gives entries `dir/...`, `dir/` gives entries `./...`; relative to the user's home.
    pub path: String,
    /// The user to read as; empty = root.
    pub user: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_numbers_or_names() {
        assert_eq!(Signal::parse("9").unwrap(), Signal::KILL);
        assert_eq!(Signal::parse("sigterm").unwrap(), Signal::TERM);
        assert_eq!(Signal::parse("Usr1").unwrap().number(), 10);
        for bad in ["0", "65", "-1", "", "SIG", "NOPE", "9x"] {
            assert!(Signal::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn clients_see_128_plus_the_signal() {
        assert_eq!(ExitStatus::Signal(9).code(), 137);
        assert_eq!(ExitStatus::Signal(15).code(), 143);
        assert_eq!(ExitStatus::Code(255).code(), 255);
    }

    #[test]
    fn a_terminal_without_a_size_is_24_by_80() {
        assert_eq!(WindowSize::default().or_default(), WindowSize { columns: 80, rows: 24 });
    }
}
