//! What a group costs on this host: medians of making one with limits, opening it for another process, reading its figures
//! and removing it. Needs root.
//!
//! `cargo run --release -p gdn-cgroups --example cost`

use std::time::{Duration, Instant};

use gdn_cgroups::{Cgroups, DevicePolicy, Resources};

/// Enough for a steady median; the whole run takes below a second.
const ROUNDS: usize = 500;

fn main() -> gdn_cgroups::Result<()> {
    let cgroups = Cgroups::open(&format!("cost-{}", std::process::id()))?;
    let limits = Resources {
        memory_bytes: Some(256 << 20),
        cpu_shares: Some(512),
        pids_max: Some(512),
        devices: DevicePolicy::Default,
        ..Resources::default()
    };
    let mut times: [Vec<Duration>; 4] = Default::default();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let group = cgroups.create("group", &limits)?;
        let made = Instant::now();
        let descriptors = group.attach_fds()?;
        let opened = Instant::now();
        group.stats()?;
        let read = Instant::now();
        drop(descriptors);
        cgroups.remove("group")?;
        let steps = [made - start, opened - made, read - opened, read.elapsed()];
        times.iter_mut().zip(steps).for_each(|(times, step)| times.push(step));
    }
    cgroups.remove_all()?;
    for (what, times) in
        ["create with limits", "open for joining", "read figures", "remove"].iter().zip(&mut times)
    {
        times.sort_unstable();
        println!("{what}: median {:?}, 95% within {:?}", times[ROUNDS / 2], times[ROUNDS * 95 / 100]);
    }
    Ok(())
}
