//! What the built engine must show, from the outside.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed step is a failed test")]

mod bad_input;
mod copies;
mod events;
mod host_ids;
mod images;
mod kills;
mod lifecycle;
mod limits;
mod neighbours;
mod output_policy;
mod privileges;
mod processes;
mod readers;
mod reboot;
mod rounds;
mod streams;
mod stuck;
