//! Seccomp profiles compiled to a binary search tree.
//!
//! What it is: a [`Profile`] says for each system call what happens; [`Profile::compile`] makes a [`Program`] of it, the
//! kernel's own instructions. The kernel runs the program at every system call, so it is a tree over ranges of call
//! numbers: some ten instructions for the worst case, where a list needs hundreds.
//!
//! What it is not: it loads nothing into the kernel, and it knows no names of other architectures than the one it is built
//! for. Calls of other architectures (i386 and x32 on x86_64) do not exist for a filtered process: `ENOSYS`.
//!
//! # The default profile
//! What unprivileged containers get: every call that ordinary programs make, current to Linux 6.14, without those that
//! change the machine, reach kernel surface that containers need not (`bpf`, `io_uring`, `keyctl`, `userfaultfd`, the mount
//! calls, `AF_ALG` and `AF_VSOCK` sockets) or type into other terminals (`TIOCSTI`). `clone` cannot make namespaces, and
//! `clone3`, whose flags a filter cannot see, does not exist, so that C libraries fall back to `clone`.
//!
//! ```
//! let program = gdn_seccomp::Profile::default_profile().compile().unwrap();
//! assert!(program.len() < 1000);
//! ```

mod calls;
mod compile;
mod profile;

pub use compile::{Error, Instruction, Program};
pub use profile::{Action, Case, Condition, Profile, Rule};
