//! Limits of processes as the kernel tells them.

use std::fs;

/// Of each limit its name in the Garden API, the one that the kernel tells it by, and a value that no other has and no host
/// has by itself. A small program lives with all of them.
pub const ALL: [(&str, &str, u64); 15] = [
    ("as", "Max address space", (1 << 30) + 4096),
    ("core", "Max core file size", 8881),
    ("cpu", "Max cpu time", 1234),
    ("data", "Max data size", (300 << 20) + 4096),
    ("fsize", "Max file size", 77_777_777),
    ("locks", "Max file locks", 222),
    ("memlock", "Max locked memory", 55_555),
    ("msgqueue", "Max msgqueue size", 4444),
    ("nice", "Max nice priority", 7),
    ("nofile", "Max open files", 99),
    ("nproc", "Max processes", 4321),
    ("rss", "Max resident set", 111_111_111),
    ("rtprio", "Max realtime priority", 6),
    ("sigpending", "Max pending signals", 333),
    ("stack", "Max stack size", (7 << 20) + 4096),
];

/// What stands for no limit at all.
pub const UNLIMITED: u64 = u64::MAX;

/// Soft and hard limits, in the order of [`ALL`], as a file `limits` of procfs says.
///
/// # Panics
/// When one is not there.
pub fn parse(limits: &str) -> Vec<(u64, u64)> {
    let of = |(_, told, _): (&str, &str, u64)| {
        let rest = limits.lines().find_map(|line| line.strip_prefix(told));
        let mut words = rest.unwrap_or_else(|| panic!("no {told} in {limits}")).split_whitespace();
        let mut next = || match words.next().unwrap() {
            "unlimited" => UNLIMITED,
            number => number.parse::<u64>().unwrap(),
        };
        (next(), next())
    };
    ALL.map(of).to_vec()
}

/// Those of a process of the host.
pub fn of(pid: u32) -> Vec<(u64, u64)> {
    parse(&fs::read_to_string(format!("/proc/{pid}/limits")).unwrap())
}

/// Whether a process of the host may raise hard limits.
pub fn may_be_raised_by(pid: u32) -> bool {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(effective.trim(), 16).unwrap() >> CAP_SYS_RESOURCE & 1 == 1
}
