//! Why a profile cannot be read, or cannot become a program.

/// A profile that does not fit the kernel's machine, names what does not exist, or is not written as it has to be.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The kernel takes at most 4096 instructions.
    #[error("the program would have more than {instructions} instructions, the kernel takes 4096")]
    TooLong {
        /// How many at least.
        instructions: usize,
    },
    /// A rule for a call that no architecture has.
    #[error("no architecture has a system call {name:?}")]
    NoSuchCall {
        /// Its name.
        name: String,
    },
    /// A condition on an argument that no call has.
    #[error("a condition of {name} is about argument {argument}, calls have arguments 0 to 5")]
    NoSuchArgument {
        /// The call.
        name: String,
        /// Which.
        argument: u8,
    },
    /// This is built for an architecture of which no table of calls is here.
    #[error("no table of system calls for this architecture")]
    NoArchitecture,
    /// The text of a profile is not JSON, or has another shape than a profile.
    #[error("read a seccomp profile, line {line} column {column}: {reason}")]
    Json {
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
        /// What is wrong.
        reason: String,
    },
    /// A profile of unreasonable size.
    #[error("the seccomp profile has {count} {what}, at most {most} are taken")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many at most.
        most: usize,
    },
    /// A word that has no meaning where it stands.
    #[error("the seccomp profile has an unknown value for {key}: {value:?}")]
    UnknownValue {
        /// The key of the value, or of the list it is in.
        key: &'static str,
        /// The value, cut off after 64 characters.
        value: String,
    },
    /// A profile that wants somebody to be asked at a call: there is nobody to ask.
    #[error("the seccomp profile wants user notification ({wish}), which is not supported")]
    Notification {
        /// What it has that says so.
        wish: &'static str,
    },
    /// An error number for an action that has none, or one that the action cannot give.
    #[error("the seccomp profile wants error number {errno} from {action}")]
    ErrorNumber {
        /// The action.
        action: String,
        /// The number.
        errno: u32,
    },
    /// A rule that the form of the OCI specification has no words for.
    #[error("the rule for {name} cannot be said as a list of conditions")]
    NotExpressible {
        /// The call.
        name: String,
    },
}
