//! The weight of a group's block I/O against others'.

use super::Cgroup;
use crate::error::{Error, Result};
use crate::layout::Controller;
use crate::resources::{IO_WEIGHTS, blkio_to_io_weight};
use crate::tree::{Hierarchy, Version};

/// The files that can hold a weight, best first, and whether they take the units of v2. Which of them are there depends on
/// the kernel's configuration and on the scheduler of the disks.
fn candidates(version: Version) -> &'static [(&'static str, bool)] {
    match version {
        Version::V1 => &[("blkio.weight", false), ("blkio.bfq.weight", false)],
        Version::V2 => &[("io.bfq.weight", false), ("io.weight", true)],
    }
}

impl Cgroup {
    pub(super) fn set_io_weight(&self, weight: u64) -> Result<()> {
        if !IO_WEIGHTS.contains(&weight) {
            return Err(Error::IoWeight { weight });
        }
        let missing = Error::NoController { controller: Controller::BlockIo };
        let (home, file, is_v2) = self.io_weight_file()?.ok_or(missing)?;
        let weight = if is_v2 { blkio_to_io_weight(weight) } else { weight };
        self.write(home, file, &weight.to_string())
    }

    pub(super) fn read_io_weight(&self) -> Result<Option<u64>> {
        let Some((home, file, _)) = self.io_weight_file()? else { return Ok(None) };
        let file = self.file(file);
        let content = home.directory.read(&file)?;
        // Alone, or behind `default` in a file that also has lines for single disks.
        let first = content.lines().next().unwrap_or_default();
        let number = first.strip_prefix("default ").unwrap_or(first);
        number.trim().parse().map(Some).map_err(|_| home.directory.unexpected(&file, &content))
    }

    fn io_weight_file(&self) -> Result<Option<(&Hierarchy, &'static str, bool)>> {
        let Some(home) = self.tree.home(Controller::BlockIo) else { return Ok(None) };
        for (file, is_v2) in candidates(home.version) {
            if home.directory.has(&self.file(file))? {
                return Ok(Some((home, file, *is_v2)));
            }
        }
        Ok(None)
    }
}
