//! `gdn capacity`: what the engine can hold.

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::DONE;
use crate::address;
use crate::cli::Global;
use crate::output::{self, Show, facts, time};

/// Show what the server can hold.
#[derive(Debug, Args)]
pub(crate) struct Capacity {}

#[derive(Debug, Serialize)]
struct Figures {
    memory_bytes: u64,
    disk_bytes: u64,
    schedulable_disk_bytes: u64,
    /// Absent when nothing limits them.
    max_containers: Option<u64>,
}

impl Show for Figures {
    fn text(&self) -> String {
        let containers = self.max_containers.map_or_else(|| "unlimited".to_owned(), |most| most.to_string());
        facts([
            ("memory".to_owned(), time::bytes(self.memory_bytes)),
            ("disk".to_owned(), time::bytes(self.disk_bytes)),
            ("disk for images".to_owned(), time::bytes(self.schedulable_disk_bytes)),
            ("containers".to_owned(), containers),
        ])
    }
}

impl Capacity {
    pub(crate) async fn perform(self, global: &Global) -> anyhow::Result<u8> {
        let capacity =
            address::connect(global).await?.capacity().await.context("cannot tell the capacity")?;
        let figures = Figures {
            memory_bytes: capacity.memory_bytes,
            disk_bytes: capacity.disk_bytes,
            schedulable_disk_bytes: capacity.schedulable_disk_bytes,
            max_containers: (capacity.max_containers != u64::MAX).then_some(capacity.max_containers),
        };
        output::show(global.format, &figures)?;
        Ok(DONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_a_word_for_people_and_null_for_programs() {
        let figures =
            Figures { memory_bytes: 1 << 30, disk_bytes: 0, schedulable_disk_bytes: 0, max_containers: None };
        assert!(figures.text().contains("unlimited") && figures.text().contains("1.0 GiB"));
        assert_eq!(serde_json::to_value(&figures).unwrap()["max_containers"], serde_json::Value::Null);
    }
}
