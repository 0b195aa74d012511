//! Figures of a control group.

use crate::Result;
use crate::group::Node;

/// Figures of a control group, as the kernel gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processor time, nanoseconds.
    pub cpu_usage_ns: u64,
    /// In user mode, nanoseconds.
    pub cpu_user_ns: u64,
    /// In the kernel, nanoseconds.
    pub cpu_system_ns: u64,
    /// The lines of `memory.stat`.
    pub memory: Vec<(String, u64)>,
    /// Bytes that count towards the memory limit.
    pub memory_toward_limit: u64,
    /// Tasks now.
    pub pids_current: u64,
    /// Tasks at most; 0 = no limit.
    pub pids_max: u64,
    /// Processes the kernel ended for want of memory.
    pub oom_kills: u64,
}

/// Version 1's clock: USER_HZ is 100 on every architecture.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

pub(crate) fn read_v1<'a>(node: impl Fn(&str) -> Option<&'a Node>) -> Result<Stats> {
    let mut stats = Stats::default();
    if let Some(cpu) = node("cpuacct") {
        stats.cpu_usage_ns = number(cpu, "cpuacct.usage")?;
        let split = lines(&cpu.read("cpuacct.stat")?.unwrap_or_default());
        stats.cpu_user_ns = get(&split, "user") * NANOSECONDS_PER_TICK;
        stats.cpu_system_ns = get(&split, "system") * NANOSECONDS_PER_TICK;
    }
    if let Some(memory) = node("memory") {
        stats.memory = lines(&memory.read("memory.stat")?.unwrap_or_default());
        let get = |name| get(&stats.memory, name);
        stats.memory_toward_limit = (get("total_rss") + get("total_cache") + get("total_swap"))
            .saturating_sub(get("total_inactive_file"));
        stats.oom_kills =
            self::get(&lines(&memory.read("memory.oom_control")?.unwrap_or_default()), "oom_kill");
    }
    if let Some(pids) = node("pids") {
        stats.pids_current = number(pids, "pids.current")?;
        stats.pids_max = number(pids, "pids.max")?;
    }
    Ok(stats)
}

pub(crate) fn read_v2(node: &Node) -> Result<Stats> {
    let cpu = lines(&node.read("cpu.stat")?.unwrap_or_default());
    let memory = lines(&node.read("memory.stat")?.unwrap_or_default());
    let events = lines(&node.read("memory.events")?.unwrap_or_default());
    let toward = (get(&memory, "anon") + get(&memory, "file") + get(&memory, "swapcached"))
        .saturating_sub(get(&memory, "inactive_file"));
    Ok(Stats {
        cpu_usage_ns: get(&cpu, "usage_usec") * 1000,
        cpu_user_ns: get(&cpu, "user_usec") * 1000,
        cpu_system_ns: get(&cpu, "system_usec") * 1000,
        memory,
        memory_toward_limit: toward,
        pids_current: number(node, "pids.current")?,
        pids_max: number(node, "pids.max")?,
        oom_kills: get(&events, "oom_kill"),
    })
}

/// A file with one number; `max` and a missing file are 0.
fn number(node: &Node, file: &str) -> Result<u64> {
    Ok(node.read(file)?.and_then(|value| value.trim().parse().ok()).unwrap_or(0))
}

fn lines(text: &str) -> Vec<(String, u64)> {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

fn get(lines: &[(String, u64)], name: &str) -> u64 {
    lines.iter().find(|(known, _)| known == name).map_or(0, |(_, value)| *value)
}
