//! Seccomp profiles compiled to a binary search tree.
//!
//! What it is: a [`Profile`] says, by name, what happens at each system call and with which arguments;
//! [`Profile::compile`] makes a [`Program`] of it, the kernel's own instructions. The kernel runs the program at every system
//! call, so it is a tree over ranges of call numbers: a dozen instructions, where a list needs hundreds.
//!
//! What it is not: it loads nothing into the kernel (that is one call in the process to be filtered, see the example
//! `filtered`), and keeps no cache (a program is plain bytes: compile once).
//!
//! Start with [`Profile::default_profile`], the profile for programs in containers, [`Profile::from_json`], which reads those
//! of OCI configurations and of Docker, or [`Profile::empty`].
//!
//! # Invariants
//! * A program does exactly what [`Profile::action`] says; tests compare them at every call and around every edge of every
//!   comparison, for the default profile and for arbitrary ones.
//! * Calls are known by compile-time tables of x86_64 (with x32), i386 and aarch64. What no table has gets
//!   [`Profile::unknown`], by default `ENOSYS`, so that libraries fall back to what they know; what exists and has no rule gets
//!   [`Profile::unlisted`], by default `EPERM`.
//! * A program for x86_64 decides about x86_64, x32 and i386 calls by the same names, or sends all calls of x32 or i386 to
//!   [`Profile::foreign`].
//! * Loading is cheap: native calls that are always allowed are found in few steps, since the kernel tries all of them out to
//!   remember them. It does not try i386 calls: that saves their steps, and costs each of them 30 to 60 ns.
//!
//! # Limitations
//! * A filter sees registers, not memory: what is behind a pointer (`clone3`, `socketcall`) cannot be looked at.
//! * 32-bit ARM programs on aarch64 have no table: all their calls get [`Profile::foreign`].
//! * No user notification. `Action::Trace` is given to whoever traces the process; nobody here does.
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
//! assert!(program.len() <= 250);
//! assert_eq!(program.as_bytes().len(), 8 * program.len());
//! # Ok(())
//! # }
//! ```

mod architecture;
mod capabilities;
mod compile;
mod default;
mod error;
mod json;
mod profile;
mod program;
mod tables;

pub use architecture::Architecture;
pub use capabilities::Capabilities;
pub use error::Error;
pub use json::{Loaded, Target};
pub use profile::{Action, Case, Condition, Profile, Rule, Test};
pub use program::{Instruction, Program};

/// The example in the README is compiled and run too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
