//! Processor time of everything but this program: server, launcher, keepers, processes, and what the kernel does behind them.
//!
//! Keepers and containers come and go within a cycle, so no sum over process ids finds them all. What the whole host spent
//! does, and on a host that does nothing else it is the engine's.

use std::fs;

use anyhow::{Context, Result};

/// The host's processor time in nanoseconds, where version 1 of control groups counts it exactly.
const EXACT: &str = "/sys/fs/cgroup/cpuacct/cpuacct.usage";

/// Length of a tick of `/proc/stat` and `/proc/PID/stat`, in microseconds (USER_HZ is 100 on every architecture we know).
const TICK: f64 = 10_000.0;

/// A moment to count from.
pub(crate) struct Spent {
    host: f64,
    own: f64,
}

impl Spent {
    /// Now.
    pub(crate) fn now() -> Result<Self> {
        Ok(Spent { host: host()?, own: own()? })
    }

    /// Microseconds spent by others since then.
    pub(crate) fn by_others(&self) -> Result<f64> {
        let now = Spent::now()?;
        Ok((now.host - self.host - (now.own - self.own)).max(0.0))
    }
}

fn host() -> Result<f64> {
    if let Ok(text) = fs::read_to_string(EXACT) {
        return Ok(text.trim_end().parse::<f64>()? / 1000.0);
    }
    let text = fs::read_to_string("/proc/stat")?;
    let fields: Vec<f64> = text
        .lines()
        .next()
        .context("/proc/stat is empty")?
        .split_whitespace()
        .skip(1)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    // user, nice, system, idle, iowait, irq, softirq: the fourth and fifth are none.
    Ok([0, 1, 2, 5, 6].iter().filter_map(|&at| fields.get(at)).sum::<f64>() * TICK)
}

fn own() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    // The name of the program may hold blanks; behind it user and system time are the 12th and 13th.
    let behind = text.rsplit_once(')').context("/proc/self/stat has no name")?.1;
    let ticks: Vec<f64> =
        behind.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() * TICK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn what_a_child_spends_is_counted_and_what_we_spend_is_not() {
        let before = own().unwrap();
        let mut sum = 0u64;
        while own().unwrap() < before + 3.0 * TICK {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let start = Spent::now().unwrap();
        let count = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        assert!(Command::new("sh").args(["-c", count]).status().unwrap().success());
        assert!(start.by_others().unwrap() > TICK);
    }
}
