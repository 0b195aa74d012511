//! Containers that keep only a part of their processor weight.
//!
//! The weight is changed where it is, in the one group that the container has: processes stay, those to come are born with
//! it, and there is nothing more to remove. The whole weight is written down beforehand in the container's run-time
//! directory, which lives as long as the group does, so that an engine that comes after a kill can give it back.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gdn_cgroups::EffectiveLimits;
use gdn_types::Result;

use crate::component::cgroup_error;
use crate::container::Container;
use crate::failures;

/// The file with the whole weight, in the run-time directory.
const FILE: &str = "cpu-weight";

/// What a container keeps of its processor weight.
#[derive(Default)]
pub(crate) struct Demotion(Mutex<Option<Demoted>>);

#[derive(Clone, Copy)]
struct Demoted {
    /// Above 0 and at most 1.
    part: f64,
    /// In the units of the kernel.
    whole: u64,
}

impl Demotion {
    pub(crate) fn is_demoted(&self) -> bool {
        self.state().is_some()
    }

    pub(crate) fn part(&self) -> Option<f64> {
        self.state().map(|demoted| demoted.part)
    }

    /// The limits that are read, with the whole weight. What the kernel has is not changed meanwhile: half of a change would be
    /// told for what was asked for.
    pub(crate) fn undone_in<E>(
        &self,
        read: impl FnOnce() -> Result<EffectiveLimits, E>,
    ) -> Result<EffectiveLimits, E> {
        let state = self.state();
        let mut limits = read()?;
        if let Some(Demoted { whole, .. }) = *state {
            limits.cpu_shares = limits.cpu_shares.map(|_| whole);
            limits.cpu_weight = limits.cpu_weight.map(|_| whole);
        }
        Ok(limits)
    }

    fn state(&self) -> MutexGuard<'_, Option<Demoted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Container {
    /// Leaves the container this part of its weight; with `None`, all of it. The caller sees to it that nobody else changes the
    /// weight meanwhile.
    pub(crate) fn demote(&self, part: Option<f64>) -> Result<()> {
        let before = *self.demotion.state();
        match (before, part) {
            (None, None) => return Ok(()),
            (None, Some(part)) => {
                self.demote_from(self.cgroup.cpu_weight().map_err(cgroup_error)?, part)?;
            }
            (Some(Demoted { whole, .. }), Some(part)) => self.weigh(whole, part)?,
            (Some(Demoted { whole, .. }), None) => {
                self.weigh(whole, 1.0)?;
                self.forget_whole()?;
            }
        }
        Ok(())
    }

    /// Does it again after the kernel has been given another whole weight.
    pub(crate) fn demote_again(&self) -> Result<()> {
        let Some(part) = self.demotion.part() else { return Ok(()) };
        self.demote_from(self.cgroup.cpu_weight().map_err(cgroup_error)?, part)
    }

    /// Undoes what an engine that was killed did.
    pub(crate) fn promote_after_restart(&self) -> Result<()> {
        let path = self.whole_path();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failures::os(format!("read {}", path.display()))(error)),
        };
        // A file that was not written to its end stands for a weight that was not changed.
        if let Some(whole) = text.strip_suffix('\n').and_then(|number| number.parse().ok()) {
            self.weigh(whole, 1.0)?;
        }
        self.forget_whole()
    }

    fn demote_from(&self, whole: u64, part: f64) -> Result<()> {
        let path = self.whole_path();
        std::fs::write(&path, format!("{whole}\n"))
            .map_err(failures::os(format!("write {}", path.display())))?;
        self.weigh(whole, part)
    }

    fn weigh(&self, whole: u64, part: f64) -> Result<()> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the whole")]
        let weight = (whole as f64 * part) as u64;
        let mut state = self.demotion.state();
        self.cgroup.set_cpu_weight(weight).map_err(cgroup_error)?;
        *state = Some(Demoted { part, whole });
        Ok(())
    }

    fn forget_whole(&self) -> Result<()> {
        let path = self.whole_path();
        std::fs::remove_file(&path).map_err(failures::os(format!("remove {}", path.display())))?;
        *self.demotion.state() = None;
        Ok(())
    }

    fn whole_path(&self) -> PathBuf {
        self.directory.join(FILE)
    }
}
