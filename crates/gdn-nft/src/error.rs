//! What can go wrong.

use rustix::io::Errno;

/// A failed operation on nftables or on connection tracking.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A name that the kernel or `nft` could not take. Nothing was sent.
    #[error("invalid {what} {name:?}")]
    Name {
        /// What was to be named.
        what: &'static str,
        /// The name as given.
        name: String,
    },
    /// An element's key or data does not have the fields of its set. Nothing was sent.
    #[error("element {element} does not fit set {set}: {fault}")]
    Element {
        /// The set's name.
        set: String,
        /// The element, in words.
        element: String,
        /// What does not fit.
        fault: &'static str,
    },
    /// A set that cannot be. Nothing was sent.
    #[error("set {set}: {fault}")]
    Set {
        /// The set's name.
        set: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A rule or set (then nothing was sent) or a listing that has more than is allowed.
    #[error("{what} is longer than {limit}")]
    TooLong {
        /// What is too long, with its unit.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// This kernel lacks what the operation needs: nftables, the table's family, or a flag.
    #[error("{operation}: this kernel does not support it: {errno}")]
    Unsupported {
        /// What was being done.
        operation: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The kernel refused an operation; of a batch, nothing was done.
    #[error("{operation}: {errno}{}", explained(message.as_ref()))]
    Refused {
        /// What was being done.
        operation: String,
        /// Why it was refused.
        errno: Errno,
        /// The kernel's own words, where it gave any.
        message: Option<String>,
    },
    /// A system call on the socket failed.
    #[error("{op} netlink socket: {errno}")]
    System {
        /// What was being done.
        op: &'static str,
        /// Why it failed.
        errno: Errno,
    },
    /// The kernel did not answer in time.
    #[error("{operation}: no answer from the kernel within {seconds} s")]
    Timeout {
        /// What was being done.
        operation: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The kernel answered with something else than what it documents.
    #[error("{operation}: unexpected answer of the kernel: {fault}")]
    Malformed {
        /// What was being done.
        operation: String,
        /// What is wrong with the answer.
        fault: &'static str,
    },
    /// A listing was changed by others again and again while it was read.
    #[error("{operation}: the ruleset kept changing while it was read")]
    Changing {
        /// What was being done.
        operation: String,
    },
    /// More messages came than the socket's buffer holds: some are lost, and the state has to be read anew.
    #[error("events were lost")]
    EventsLost,
}

impl Error {
    /// The error number, where the kernel gave one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::Unsupported { errno, .. } | Error::Refused { errno, .. } | Error::System { errno, .. } => {
                Some(*errno)
            }
            Error::EventsLost => Some(Errno::NOBUFS),
            _ => None,
        }
    }

    /// Whether something that was to be changed or read is not there (`ENOENT`).
    pub fn is_not_found(&self) -> bool {
        self.errno() == Some(Errno::NOENT)
    }

    /// Whether what was to be done may have been done all the same: the answer was lost, or not understood.
    pub fn leaves_in_doubt(&self) -> bool {
        matches!(self, Error::Timeout { .. } | Error::EventsLost | Error::Malformed { .. })
    }

    /// What the kernel's answer to an operation means.
    pub(crate) fn answer(operation: &str, errno: Errno, message: Option<String>) -> Error {
        let operation = operation.to_owned();
        match errno {
            Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT => {
                Error::Unsupported { operation, errno }
            }
            _ => Error::Refused { operation, errno, message },
        }
    }
}

fn explained(message: Option<&String>) -> String {
    message.map(|text| format!(" ({text})")).unwrap_or_default()
}

/// The result of an operation on nftables.
pub type Result<T> = std::result::Result<T, Error>;
