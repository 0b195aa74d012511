//! Seccomp profiles compiled to a binary search tree.
//!
//! What it is: a [`Profile`] says, by name, what happens at each system call and with which arguments;
//! [`Profile::compile`] makes a [`Program`] of it, the kernel's own instructions. The kernel runs the program at every system
//! call, so it is a tree over ranges of call numbers: a dozen instructions, where a list needs hundreds.
//!
//! What it is not: it loads nothing into the kernel (that is one call in the process to be filtered, see the example
//! `filtered`), keeps no cache (a program is plain bytes: compile once), and reads no file formats.
//!
//! Start with [`Profile::default_profile`], the profile for programs in containers, or [`Profile::empty`].
//!
//! # Invariants
//! * A program does exactly what [`Profile::action`] says; tests compare them at every call and around every edge of every
//!   comparison.
//! * Calls are known by compile-time tables of x86_64 (with x32), i386 and aarch64. What no table has gets
//!   [`Profile::unknown`], by default `ENOSYS`, so that libraries fall back to what they know; what exists and has no rule gets
//!   [`Profile::unlisted`], by default `EPERM`.
//! * A program for x86_64 decides about x86_64, x32 and i386 calls by the same names.
//!
//! # Limitations
//! * A filter sees registers, not memory: what is behind a pointer (`clone3`, `socketcall`) cannot be looked at.
//! * 32-bit ARM programs on aarch64 have no table: all their calls get [`Profile::unknown`].
//! * No user notification and no tracing actions.
//!
//! # Example
//! ```
//! use gdn_seccomp::{Action, Condition, Profile, Rule};
//!
//! # fn main() -> Result<(), gdn_seccomp::Error> {
//! let mut profile = Profile::default_profile();
//! profile.set("ptrace", Action::REFUSE);
//! // No netlink sockets (address family 16) either.
//! profile.set("socket", Rule::any([16, 38, 40].map(|family| Condition::int(0, family)), Action::REFUSE, Action::Allow));
//! let program = profile.compile()?;
//! assert!(program.len() <= 1000);
//! assert_eq!(program.as_bytes().len(), 8 * program.len());
//! # Ok(())
//! # }
//! ```

mod architecture;
mod compile;
mod default;
mod error;
mod profile;
mod program;
mod tables;

pub use architecture::Architecture;
pub use error::Error;
pub use profile::{Action, Case, Condition, Profile, Rule, Test};
pub use program::{Instruction, Program};
