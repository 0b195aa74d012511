//! The built-in `hello`: tells what a container sees of itself.

use std::fs;

/// Prints the report. Returns the exit status.
pub(crate) fn report() -> i32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let prefix = format!("{name}:");
        let value = status.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or("unknown");
        value.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    println!("Hello from inside a container.");
    println!();
    row("host name", &rustix::system::uname().nodename().to_string_lossy());
    row("process", &format!("pid {} of {}", std::process::id(), processes()));
    row("pid 1", &read("/proc/1/comm"));
    row("user ids", &field("Uid"));
    row("group ids", &field("Gid"));
    row("user id map", &map_of("/proc/self/uid_map"));
    row("capabilities", &format!("effective {}, bounding {}", field("CapEff"), field("CapBnd")));
    row("seccomp", if field("Seccomp") == "2" { "a filter is loaded" } else { "none" });
    row(
        "memory limit",
        &limit(&["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]),
    );
    row("task limit", &limit(&["/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"]));
    row("root", &root_file_system());
    row("mounts", &mounts());
    row("interfaces", &interfaces());
    0
}

fn row(name: &str, value: &str) {
    println!("  {name:<13} {value}");
}

fn processes() -> String {
    let count = fs::read_dir("/proc").map_or(0, |entries| {
        entries.flatten().filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()).count()
    });
    format!("{count} in sight")
}

fn map_of(path: &str) -> String {
    let map = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<String> =
        map.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.join(", ")
}

fn limit(paths: &[&str]) -> String {
    let value = paths.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    match value.trim().parse::<u64>() {
        // cgroup v1 shows "none" as the largest number of pages.
        Ok(number) if number < 1 << 62 => number.to_string(),
        Ok(_) => "none".to_owned(),
        Err(_) if value.trim() == "max" => "none".to_owned(),
        Err(_) => "unknown".to_owned(),
    }
}

fn root_file_system() -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/"));
    root.and_then(|line| line.split(' ').nth(2)).unwrap_or("unknown").to_owned()
}

fn mounts() -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let targets: Vec<&str> = mounts.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    let top: Vec<&str> = targets.iter().copied().filter(|target| target.matches('/').count() == 1).collect();
    format!("{} ({})", targets.len(), top.join(" "))
}

fn interfaces() -> String {
    let Ok(entries) = fs::read_dir("/sys/class/net") else { return "unknown".to_owned() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.join(" ")
}
