//! The program: launcher, keeper, init's set-up, and the built-in `hello`, by the name it is started under.

mod apparmor;
mod container;
mod exec;
mod failure;
mod hello;
mod keeper;
mod launcher;
mod plan;
mod process;
mod pump;
mod runtime;
mod setup;
mod sidecar;
mod system;
mod terminal;
mod transfer;

/// The name under which the engine starts the program; its standard input is then the launcher's socket.
pub const LAUNCHER: &str = "gdn-launcher";

/// Runs the program and returns its exit status.
pub fn main() -> i32 {
    let name = std::env::args().next().unwrap_or_default();
    if name == LAUNCHER {
        return launcher::run();
    }
    hello::report()
}
