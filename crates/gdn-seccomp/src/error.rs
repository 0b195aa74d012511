//! Why a profile cannot become a program.

/// A profile that does not fit the kernel's machine, or names what does not exist.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The kernel takes at most 4096 instructions.
    #[error("the program would have {instructions} instructions, the kernel takes 4096")]
    TooLong {
        /// How many.
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
    /// A case with more conditions than a jump can skip.
    #[error("a case of {name} has {conditions} conditions, 48 fit")]
    TooManyConditions {
        /// The call.
        name: String,
        /// How many.
        conditions: usize,
    },
    /// This is built for an architecture of which no table of calls is here.
    #[error("no table of system calls for this architecture")]
    NoArchitecture,
}
