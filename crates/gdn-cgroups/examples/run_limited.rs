//! Runs a command with 64 MiB of memory and 20 tasks, and says what it used. Needs root.
//!
//! `cargo run -p gdn-cgroups --example run_limited -- COMMAND [ARGUMENT]...`

use std::io::Write;
use std::process::{Command, Stdio};

use gdn_cgroups::{Cgroups, DevicePolicy, Resources};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let command: Vec<_> = std::env::args_os().skip(1).collect();
    if command.is_empty() {
        return Err("usage: run_limited COMMAND [ARGUMENT]...".into());
    }
    let cgroups = Cgroups::open(&format!("run-limited-{}", std::process::id()))?;
    let limits = Resources {
        memory_bytes: Some(64 << 20),
        pids_max: Some(20),
        devices: DevicePolicy::Default,
        ..Resources::default()
    };
    let group = cgroups.create("command", &limits)?;

    // The shell waits for a line, so that it is in the group before it becomes the command.
    let mut child = Command::new("/bin/sh")
        .args(["-c", r#"read go; exec "$0" "$@""#])
        .args(command)
        .stdin(Stdio::piped())
        .spawn()?;
    group.attach(child.id())?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(b"go\n")?;
    }
    let status = child.wait()?;

    let stats = group.stats()?;
    println!(
        "{status}: {} us of processor time, {} killed for memory",
        stats.cpu_usage_ns / 1000,
        stats.oom_kills.unwrap_or(0)
    );
    // What the command left running goes with the group.
    group.kill()?;
    cgroups.remove("command")?;
    cgroups.remove_all()?;
    Ok(())
}
