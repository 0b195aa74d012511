//! What an operator has around the server: its start line, its file of options, its port for figures, its log.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed step is a failed test")]

mod defects;
mod figures;
mod hosts;
mod start_lines;
