//! The rows of docs/conformance that can be shown over gRPC.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed step is a failed test")]

mod bind_mounts;
mod block_io;
mod devices;
mod exit_statuses;
mod files;
mod lifecycle;
mod limits;
mod maskedpaths;
mod metrics;
mod mount_targets;
mod network;
mod peas;
mod process;
mod processes;
mod rlimits;
mod runtime_plugin;
mod security;
mod streams;
mod terminals;
mod throttling;
mod user;
