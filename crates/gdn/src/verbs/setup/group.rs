//! The group whose members may speak to the engine.
//!
//! It is made by the host's own `groupadd`, at its fixed places and with an empty environment: that keeps the locks, the
//! shadow file, the labels and the ranges of numbers that the distribution decided on, which an edit of /etc/group by us
//! would not.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use super::{Outcome, Step};
use crate::server::{GROUP, group};

/// Where the program is; no other place is looked at.
const PLACES: [&str; 3] = ["/usr/sbin/groupadd", "/sbin/groupadd", "/usr/bin/groupadd"];

/// Makes the group, unless there is one.
pub(super) fn make() -> anyhow::Result<Step> {
    let step = |outcome, remark: &str| {
        Ok(Step { what: format!("group {GROUP}"), outcome, remark: remark.to_owned() })
    };
    if group()?.is_some() {
        return step(Outcome::There, "");
    }
    let Some(program) = PLACES.into_iter().find(|place| Path::new(place).exists()) else {
        return step(
            Outcome::Absent,
            "this host has no groupadd; make it by the host's own means, or only root may use the socket",
        );
    };
    let made = Command::new(program)
        .args(["--system", GROUP])
        .env_clear()
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    let told = String::from_utf8_lossy(&made.stderr);
    ensure!(made.status.success(), "{program} cannot make the group {GROUP}: {}", told.trim());
    step(Outcome::Made, "its members may use the socket for Garden's clients, which is as good as root")
}
