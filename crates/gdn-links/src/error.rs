//! What can go wrong.

use rustix::io::Errno;

/// A failed operation on links, addresses, routes or neighbours.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused a change or a question.
    #[error("{operation}: {errno}{}", reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default())]
    Refused {
        /// What was asked for, with its values.
        operation: String,
        /// Why the kernel refused it.
        errno: Errno,
        /// The kernel's own words (extended acknowledgement), where it has any.
        reason: Option<String>,
    },
    /// A system call on the socket or on a namespace failed.
    #[error("{op}: {errno}")]
    Call {
        /// What was being done.
        op: &'static str,
        /// Why it failed.
        errno: Errno,
    },
    /// The kernel did not answer, or its answer was lost.
    #[error("{operation}: no answer from the kernel")]
    NoAnswer {
        /// What was asked for.
        operation: String,
    },
    /// The kernel's answer cannot be read.
    #[error("{operation}: unreadable answer: {reason}")]
    Unreadable {
        /// What was asked for.
        operation: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A listing changed each time while it was read.
    #[error("{operation}: the list changed during each of {tries} readings")]
    Unsteady {
        /// What was asked for.
        operation: String,
        /// How often it was read.
        tries: u32,
    },
    /// More entries than the caller allowed.
    #[error("{operation}: more than {limit}")]
    TooMany {
        /// What was asked for.
        operation: String,
        /// The number that was allowed.
        limit: usize,
    },
    /// The name cannot be a link's.
    #[error("invalid link name {name:?}")]
    InvalidName {
        /// The name as given.
        name: String,
    },
    /// The text is no hardware address.
    #[error("invalid hardware address {text:?}")]
    InvalidMac {
        /// The text as given.
        text: String,
    },
    /// The prefix is longer than its address.
    #[error("invalid prefix {address}/{length}")]
    InvalidPrefix {
        /// The address as given.
        address: std::net::IpAddr,
        /// The length as given, in bits.
        length: u8,
    },
}

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

/// Says which call failed.
pub(crate) fn call(op: &'static str) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::Call { op, errno }
}

/// The same for calls that report through the standard library.
pub(crate) fn io_call(op: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |error| Error::Call { op, errno: Errno::from_io_error(&error).unwrap_or(Errno::IO) }
}
