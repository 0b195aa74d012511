//! The memory limit, and what counts towards it.

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::files::keyed_lines;
use crate::group::Cgroup;
use crate::resources::Swap;
use crate::tree::{Hierarchy, Version};

const V1_LIMIT: &str = "memory.limit_in_bytes";
const V1_SWAP_LIMIT: &str = "memory.memsw.limit_in_bytes";
const V2_LIMIT: &str = "memory.max";
const V2_SWAP_LIMIT: &str = "memory.swap.max";
/// v1 shows "no limit" as the largest number of pages that fits; page sizes differ, so all from here on is "no limit".
const V1_UNLIMITED_BYTES: u64 = i64::MAX.unsigned_abs() - (1 << 20);

/// Limits memory, and takes any other limit of swap than that away.
pub(crate) fn limit(group: &Cgroup, home: &Hierarchy, bytes: &str, swap: Swap) -> Result<()> {
    match (home.version, swap) {
        (Version::V1, Swap::Counted) => limit_v1(group, home, bytes, true),
        (Version::V1, Swap::Unlimited) => {
            // First, since memory cannot be raised above the sum.
            unless_missing(group.write(home, V1_SWAP_LIMIT, "-1"))?;
            limit_v1(group, home, bytes, false)
        }
        (Version::V2, swap) => {
            group.write(home, V2_LIMIT, bytes)?;
            let most = if swap == Swap::Counted { "0" } else { "max" };
            unless_missing(group.write(home, V2_SWAP_LIMIT, most))
        }
    }
}

/// Whether there is a file for a limit of swap.
pub(crate) fn counts_swap(group: &Cgroup, home: &Hierarchy) -> bool {
    let file = match home.version {
        Version::V1 => V1_SWAP_LIMIT,
        Version::V2 => V2_SWAP_LIMIT,
    };
    home.directory.read(&group.file(file)).is_ok()
}

/// The kernel keeps memory <= memory+swap at every moment: lowering starts with memory, raising with the sum.
fn limit_v1(group: &Cgroup, home: &Hierarchy, bytes: &str, counts_swap: bool) -> Result<()> {
    let set_sum = || unless_missing(group.write(home, V1_SWAP_LIMIT, bytes));
    let before = counts_swap.then(|| read_limit(group, home)).transpose()?;
    let written = match group.write(home, V1_LIMIT, bytes) {
        Ok(()) if counts_swap => set_sum().inspect_err(|_| {
            // The first failure is told. Should this fail as well, the group keeps the lower of both limits, which is safe.
            let before = before.flatten().map_or_else(|| "-1".to_owned(), |bytes| bytes.to_string());
            let _kept_lower = group.write(home, V1_LIMIT, &before);
        }),
        Err(Error::Value { errno: Errno::INVAL, .. }) if counts_swap => {
            set_sum()?;
            group.write(home, V1_LIMIT, bytes)
        }
        other => other,
    };
    match written {
        // The kernel tried to make room, and could not.
        Err(Error::Value { errno: Errno::BUSY, .. }) => {
            Err(below_usage(group, home, bytes.parse().unwrap_or(0))?)
        }
        other => other,
    }
}

/// Refuses a limit below what is in use and cannot be dropped.
pub(crate) fn check_usage(group: &Cgroup, home: &Hierarchy, limit: u64) -> Result<()> {
    if limit < usage(group, home)? { Err(below_usage(group, home, limit)?) } else { Ok(()) }
}

fn below_usage(group: &Cgroup, home: &Hierarchy, limit: u64) -> Result<Error> {
    let path = home.directory.path.join(group.name());
    Ok(Error::BelowUsage { path, limit, usage: usage(group, home)? })
}

fn usage(group: &Cgroup, home: &Hierarchy) -> Result<u64> {
    let content = home.directory.read(&group.file("memory.stat"))?;
    let lines: Vec<_> = keyed_lines(&content).map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(not_droppable(home.version, &lines))
}

/// A kernel without swap accounting has no file for it; then there is no swap to limit either.
fn unless_missing(written: Result<()>) -> Result<()> {
    match written {
        Err(Error::Path { errno: Errno::NOENT, .. }) => Ok(()),
        other => other,
    }
}

/// The limit as the kernel has it.
pub(crate) fn read_limit(group: &Cgroup, home: &Hierarchy) -> Result<Option<u64>> {
    match home.version {
        Version::V1 => {
            let bytes = home.directory.read_number(&group.file(V1_LIMIT))?;
            Ok((bytes < V1_UNLIMITED_BYTES).then_some(bytes))
        }
        Version::V2 => home.directory.read_limit(&group.file(V2_LIMIT)),
    }
}

/// Bytes that no reclaim gives back without swap: anonymous and shared memory.
fn not_droppable(version: Version, lines: &[(String, u64)]) -> u64 {
    let names: [&str; 2] = match version {
        Version::V1 => ["total_rss", "total_shmem"],
        Version::V2 => ["anon", "shmem"],
    };
    lines.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(_, bytes)| *bytes).sum()
}

/// Bytes that count towards the limit, from the lines of `memory.stat`.
pub(crate) fn toward_limit(version: Version, lines: &[(String, u64)]) -> u64 {
    let line = |name: &str| lines.iter().find(|(known, _)| known == name).map_or(0, |(_, value)| *value);
    let sum = |names: &[&str]| names.iter().map(|name| line(name)).fold(0, u64::saturating_add);
    match version {
        Version::V1 => {
            sum(&["total_rss", "total_cache", "total_swap"]).saturating_sub(line("total_inactive_file"))
        }
        Version::V2 => sum(&["anon", "file", "swapcached"]).saturating_sub(line("inactive_file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[(&str, u64)]) -> Vec<(String, u64)> {
        lines.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn usage_toward_the_limit_leaves_out_what_can_be_dropped_and_is_never_negative() {
        let v1 = lines(&[
            ("total_rss", 10),
            ("total_cache", 5),
            ("total_swap", 1),
            ("total_inactive_file", 4),
            ("rss", 99),
        ]);
        assert_eq!(toward_limit(Version::V1, &v1), 12);
        let v2 = lines(&[
            ("anon", 7),
            ("file", 3),
            ("swapcached", 1),
            ("inactive_file", 2),
            ("inactive_anon", 50),
        ]);
        assert_eq!(toward_limit(Version::V2, &v2), 9);
        assert_eq!(toward_limit(Version::V2, &lines(&[("inactive_file", 2)])), 0);
    }
}
