//! On the real kernel, as root: each test has a network namespace of its own. `nft` and `ip` make and show what others do.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod batches;
mod ground;
mod packets;
mod rules;
mod sets;
mod watching;
