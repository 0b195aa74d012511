//! A group's block I/O: its weight against others', and how much it may do in a second.

use rustix::io::Errno;

use super::Cgroup;
use crate::block_devices;
use crate::error::{Error, Result};
use crate::resources::{
    DEFAULT_IO_WEIGHT, EffectiveLimits, IO_WEIGHTS, IoMax, Resources, blkio_to_io_weight, io_to_blkio_weight,
};
use crate::tree::{Hierarchy, Version};

/// Rounds of finding and moving before a group that keeps forking is given up. Each child of a process that was moved is born
/// where it belongs, so that one round is enough as a rule.
const MOVE_ROUNDS: usize = 64;

/// The files that can hold a weight, best first, and whether they take the units of v2. Which of them are there depends on
/// the kernel's configuration and on the scheduler of the disks.
fn weight_files(version: Version) -> &'static [(&'static str, bool)] {
    match version {
        Version::V1 => &[("blkio.weight", false), ("blkio.bfq.weight", false)],
        Version::V2 => &[("io.bfq.weight", false), ("io.weight", true)],
    }
}

/// The file of each limit in v1, and its key in the one file of v2, in the order of [`values`].
const MAX_NAMES: [(&str, &str); 4] = [
    ("blkio.throttle.read_bps_device", "rbps"),
    ("blkio.throttle.write_bps_device", "wbps"),
    ("blkio.throttle.read_iops_device", "riops"),
    ("blkio.throttle.write_iops_device", "wiops"),
];

/// The one file of v2.
const V2_MAX: &str = "io.max";

/// Most operations a second that the kernel can limit to; one more is no limit to it.
const MAX_IOPS: u64 = u32::MAX as u64 - 1;

fn values(max: &IoMax) -> [Option<u64>; 4] {
    let operations =
        |limit: Option<u64>| limit.map(|limit| if limit == u64::MAX { limit } else { limit.min(MAX_IOPS) });
    [max.read_bps, max.write_bps, operations(max.read_iops), operations(max.write_iops)]
}

impl Cgroup {
    pub(super) fn set_block_io(&self, limits: &Resources) -> Result<()> {
        if limits.io_weight.is_none() && limits.io_max == IoMax::default() {
            return Ok(());
        }
        if let Some(weight) = limits.io_weight.filter(|weight| !IO_WEIGHTS.contains(weight)) {
            return Err(Error::IoWeight { weight });
        }
        let home = self.tree.block_io()?;
        if home.version == Version::V1 {
            home.directory.make(&self.name)?;
        }
        if let Some(weight) = limits.io_weight {
            self.set_io_weight(home, weight)?;
        }
        if limits.io_max == IoMax::default() { Ok(()) } else { self.set_io_max(home, &limits.io_max) }
    }

    /// Moves every process of the group to where its block I/O is limited, and `parent` with them, so that its children are
    /// born there. Only v1 needs this, and only for a group that was limited: it does nothing otherwise.
    ///
    /// # Errors
    /// [`Error::Value`] when the kernel refuses, [`Error::Busy`] when new processes came faster than they could be moved.
    pub fn join_block_io(&self, parent: Option<u32>) -> Result<()> {
        let Some(home) = self.tree.block_io_of_its_own() else { return Ok(()) };
        if !home.directory.has(&self.name)? {
            return Ok(());
        }
        let mut moved: Vec<u32> = Vec::new();
        if let Some(parent) = parent {
            self.move_to(home, parent)?;
        }
        for _ in 0..MOVE_ROUNDS {
            let found = self.procs()?;
            if found.iter().all(|pid| moved.contains(pid)) {
                return Ok(());
            }
            for pid in found.iter().filter(|pid| !moved.contains(pid)) {
                self.move_to(home, *pid)?;
            }
            moved = found;
        }
        Err(Error::Busy { path: home.directory.path().join(&self.name) })
    }

    fn move_to(&self, home: &Hierarchy, pid: u32) -> Result<()> {
        match self.write(home, "cgroup.procs", &pid.to_string()) {
            // It has ended.
            Err(Error::Value { errno: Errno::SRCH, .. }) => Ok(()),
            moved => moved,
        }
    }

    fn set_io_weight(&self, home: &Hierarchy, weight: u64) -> Result<()> {
        let missing = Error::NoControlFile { limit: "a weight of block i/o" };
        let (file, is_v2) = self.io_weight_file(home)?.ok_or(missing)?;
        let weight = if is_v2 { blkio_to_io_weight(weight) } else { weight };
        self.write(home, file, &weight.to_string())
    }

    fn set_io_max(&self, home: &Hierarchy, max: &IoMax) -> Result<()> {
        let first = if home.version == Version::V1 { MAX_NAMES[0].0 } else { V2_MAX };
        if !home.directory.has(&self.file(first))? {
            return Err(Error::NoControlFile { limit: "a rate of block i/o" });
        }
        let devices = block_devices::real()?;
        if devices.is_empty() {
            return Err(Error::NoBlockDevice);
        }
        for device in devices {
            match self.set_io_max_of(home, &device, max) {
                // Unplugged since it was listed.
                Err(Error::Value { errno: Errno::NODEV, .. }) => {}
                set => set?,
            }
        }
        Ok(())
    }

    fn set_io_max_of(&self, home: &Hierarchy, device: &str, max: &IoMax) -> Result<()> {
        let given = MAX_NAMES.iter().zip(values(max)).filter_map(|(names, limit)| Some((names, limit?)));
        match home.version {
            Version::V1 => {
                for ((file, _), limit) in given {
                    let limit = if limit == u64::MAX { 0 } else { limit };
                    self.write(home, file, &format!("{device} {limit}"))?;
                }
                Ok(())
            }
            Version::V2 => {
                let text = |limit: u64| if limit == u64::MAX { "max".to_owned() } else { limit.to_string() };
                let line = given.fold(device.to_owned(), |line, ((_, key), limit)| {
                    format!("{line} {key}={}", text(limit))
                });
                self.write(home, V2_MAX, &line)
            }
        }
    }

    pub(super) fn read_block_io(&self, limits: &mut EffectiveLimits) -> Result<()> {
        let Some(home) = self.tree.block_io_in_use() else { return Ok(()) };
        if let Some((file, is_v2)) = self.io_weight_file(home)? {
            limits.io_weight = self.read_io_weight(home, file, is_v2)?;
        }
        limits.io_max = match home.version {
            Version::V1 => self.read_io_max_v1(home)?,
            Version::V2 => self.read_io_max_v2(home)?,
        };
        Ok(())
    }

    fn read_io_weight(&self, home: &Hierarchy, file: &str, is_v2: bool) -> Result<Option<u64>> {
        let file = self.file(file);
        let content = home.directory.read(&file)?;
        // Alone, or behind `default` in a file that also has lines for single disks.
        let first = content.lines().next().unwrap_or_default();
        let number = first.strip_prefix("default ").unwrap_or(first);
        let weight = number.trim().parse().map_err(|_| home.directory.unexpected(&file, &content))?;
        Ok(match is_v2 {
            // No v1 weight becomes this one: nobody set it.
            true if weight == DEFAULT_IO_WEIGHT => None,
            true => Some(io_to_blkio_weight(weight)),
            false => Some(weight),
        })
    }

    fn io_weight_file(&self, home: &Hierarchy) -> Result<Option<(&'static str, bool)>> {
        for (file, is_v2) in weight_files(home.version) {
            if home.directory.has(&self.file(file))? {
                return Ok(Some((file, *is_v2)));
            }
        }
        Ok(None)
    }

    fn read_io_max_v1(&self, home: &Hierarchy) -> Result<IoMax> {
        let mut lowest = [None; 4];
        for ((file, _), lowest) in MAX_NAMES.iter().zip(&mut lowest) {
            let file = self.file(file);
            let Some(content) = optional(home.directory.read(&file))? else { continue };
            for line in content.lines() {
                let limit = line.split_once(' ').and_then(|(_, limit)| limit.parse().ok());
                lower(lowest, limit.ok_or_else(|| home.directory.unexpected(&file, line))?);
            }
        }
        Ok(IoMax::from_values(lowest))
    }

    fn read_io_max_v2(&self, home: &Hierarchy) -> Result<IoMax> {
        let file = self.file(V2_MAX);
        let Some(content) = optional(home.directory.read(&file))? else { return Ok(IoMax::default()) };
        let mut lowest = [None; 4];
        for field in content.lines().flat_map(|line| line.split(' ').skip(1)) {
            let unexpected = || home.directory.unexpected(&file, &content);
            let (key, limit) = field.split_once('=').ok_or_else(unexpected)?;
            let place = MAX_NAMES.iter().position(|(_, known)| *known == key);
            if let Some(place) = place.filter(|_| limit != "max") {
                lower(&mut lowest[place], limit.parse().map_err(|_| unexpected())?);
            }
        }
        Ok(IoMax::from_values(lowest))
    }
}

/// Devices can have limits of their own, by other hands; the lowest is told.
fn lower(lowest: &mut Option<u64>, limit: u64) {
    *lowest = Some(lowest.map_or(limit, |lowest| lowest.min(limit)));
}

/// A file that is not there holds no limit.
fn optional(read: Result<String>) -> Result<Option<String>> {
    match read {
        Ok(content) => Ok(Some(content)),
        Err(Error::Path { errno: Errno::NOENT | Errno::NODEV, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
