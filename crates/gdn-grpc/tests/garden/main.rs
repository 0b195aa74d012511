//! The gate in front of the real orchestrator, over real sockets; the components are the in-memory world's, its processes
//! programs of the host.

#![allow(clippy::unwrap_used, reason = "a failed step of a test ends it")]

mod calls;
mod doors;
mod host;
mod mtls;
mod processes;
mod tars;
mod world;
