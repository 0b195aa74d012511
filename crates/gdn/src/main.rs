//! The container engine: server and client in one command.
fn main() {}
