//! The Garden API over HTTP, as its existing clients use it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed step is a failed test")]

mod calls;
mod departures;
mod endurance;
mod environment;
mod files;
mod gats;
mod hostile;
mod network;
mod processes;
mod restarts;
mod server;
mod streams;
