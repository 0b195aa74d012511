//! `gdn capacity`: what the engine can hold.

use anyhow::Context;
use clap::Args;
use gdn_types::PoolUsage;
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
    pools: Vec<Pool>,
}

/// Something of which there is so much and no more.
#[derive(Debug, Serialize)]
struct Pool {
    name: String,
    size: u64,
    in_use: u64,
    exhausted: u64,
}

impl Pool {
    fn text(&self) -> String {
        let used = format!("{} of {} in use", self.in_use, self.size);
        match self.exhausted {
            0 => used,
            calls => format!("{used}, refused calls: {calls}"),
        }
    }
}

impl Show for Figures {
    fn text(&self) -> String {
        let containers = self.max_containers.map_or_else(|| "unlimited".to_owned(), |most| most.to_string());
        let pools = self.pools.iter().map(|pool| (pool.name.clone(), pool.text()));
        let all = [
            ("memory".to_owned(), time::bytes(self.memory_bytes)),
            ("disk".to_owned(), time::bytes(self.disk_bytes)),
            ("disk for images".to_owned(), time::bytes(self.schedulable_disk_bytes)),
            ("containers".to_owned(), containers),
        ];
        facts(all.into_iter().chain(pools))
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
            pools: capacity
                .pools
                .into_iter()
                .map(|PoolUsage { name, size, in_use, exhausted }| Pool { name, size, in_use, exhausted })
                .collect(),
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
        let pool = |exhausted| Pool { name: "subnets".into(), size: 4, in_use: 3, exhausted };
        let figures = Figures {
            memory_bytes: 1 << 30,
            disk_bytes: 0,
            schedulable_disk_bytes: 0,
            max_containers: None,
            pools: vec![pool(7)],
        };
        assert!(figures.text().contains("3 of 4 in use, refused calls: 7"), "{}", figures.text());
        assert_eq!(pool(0).text(), "3 of 4 in use");
        assert!(figures.text().contains("unlimited") && figures.text().contains("1.0 GiB"));
        assert_eq!(serde_json::to_value(&figures).unwrap()["max_containers"], serde_json::Value::Null);
    }
}
