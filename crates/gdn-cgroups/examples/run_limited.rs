//! Runs a command with 64 MiB of memory and 20 tasks, and says what it used. Needs root.
//!
//! `cargo run -p gdn-cgroups --example run_limited -- COMMAND [ARGUMENT]...`

use std::os::unix::process::CommandExt;
use std::process::Command;

use gdn_cgroups::{Cgroups, DevicePolicy, Resources};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let mut command = Command::new(arguments.next().ok_or("usage: run_limited COMMAND [ARGUMENT]...")?);
    command.args(arguments);

    let cgroups = Cgroups::open(&format!("run-limited-{}", std::process::id()))?;
    let limits = Resources {
        memory_bytes: Some(64 << 20),
        pids_max: Some(20),
        devices: DevicePolicy::Default,
        ..Resources::default()
    };
    let group = cgroups.create("command", &limits)?;

    // This process joins, becomes the command's parent, and so the command is born in the group.
    group.attach(std::process::id())?;
    let status = command.process_group(0).status();
    let stats = group.stats()?;
    println!(
        "{status:?}: {} us of processor time, {} killed for memory",
        stats.cpu_usage_ns / 1000,
        stats.oom_kills
    );
    // A group that holds this process cannot be removed: leave it for the keepers' group, which `remove_all` of a later run
    // of the same name would take away.
    cgroups.keepers()?.attach(std::process::id())?;
    cgroups.remove("command")?;
    Ok(())
}
