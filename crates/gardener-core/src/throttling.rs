//! Throttling: containers that used more processor time than they were entitled to give way to the others.
//!
//! Everything is decided anew at each look, from figures that outlive the engine: nothing has to be remembered, and a start
//! begins with everybody at full weight.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use gdn_types::{CpuShares, Result};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::Gardener;
use crate::container::{Container, Phase};
use crate::lookup::{BULK_WIDTH, age};

mod fairness;

use fairness::{Account, part_kept};

/// How containers that used too much processor time are made to give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuThrottling {
    /// Time between two looks; not zero.
    pub interval: Duration,
    /// How many times what they are entitled to is left to them while others are busy; not zero.
    pub multiplier: u32,
}

impl Gardener {
    /// Starts the one task that looks after everybody's part of the processors, if there is to be one.
    pub(crate) fn keep_fair(self: &Arc<Self>) {
        let Some(throttling) = self.config.cpu_throttling else { return };
        let (gardener, closing) = (Arc::downgrade(self), self.closing.clone());
        tokio::spawn(async move {
            let mut looks = interval_at(Instant::now() + throttling.interval, throttling.interval);
            // A look that took long is not made up for.
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while closing.run_until_cancelled(looks.tick()).await.is_some() {
                let Some(gardener) = gardener.upgrade() else { return };
                let look = timeout(throttling.interval, gardener.rebalance(throttling));
                match closing.run_until_cancelled(look).await {
                    Some(Ok(())) | None => {}
                    Some(Err(_)) => tracing::warn!("a look at the use of processors took too long"),
                }
            }
        });
    }

    /// One look: who has overdrawn keeps a part of its weight, who has not gets all of it.
    async fn rebalance(&self, throttling: CpuThrottling) {
        let looks = futures::stream::iter(self.containers.all()).map(|container| async move {
            let account = told(&container, self.account(&container).await)?;
            Some((container, account))
        });
        let looked_at: Vec<_> =
            looks.buffer_unordered(BULK_WIDTH).filter_map(std::future::ready).collect().await;
        let accounts: Vec<Account> = looked_at.iter().map(|(_, account)| *account).collect();
        let part = part_kept(&accounts, self.config.memory_bytes >> 20, throttling.multiplier);
        let changes = futures::stream::iter(looked_at).map(|(container, account)| async move {
            let part = account.is_overdrawn().then_some(part);
            let _alone = container.limits.lock().await;
            let demoted = self.components.containerizer.demote(&container.id, part);
            told(&container, self.faults.caught("containerizer.demote", demoted).await);
        });
        changes.buffer_unordered(BULK_WIDTH).collect::<()>().await;
    }

    async fn account(&self, container: &Container) -> Result<Account> {
        container.must_live()?;
        let metrics = self.components.containerizer.metrics(&container.id);
        let usage = self.faults.caught("containerizer.metrics", metrics).await?.cpu.usage;
        let record = self.record(container)?;
        let cpu = &record.spec.limits.cpu;
        Ok(Account {
            shares: cpu.shares.unwrap_or(CpuShares::ORDINARY).get(),
            usage,
            entitlement: self.config.cpu_entitlement.of(cpu, age(&record)),
        })
    }
}

/// What came, unless it failed. That of a container that is made, lost or destroyed meanwhile is of no interest.
fn told<T>(container: &Container, outcome: Result<T>) -> Option<T> {
    let error = match outcome {
        Ok(came) => return Some(came),
        Err(error) => error,
    };
    let status = container.status();
    if status.phase == Phase::Created && status.lost.is_none() {
        drop(status);
        tracing::warn!(handle = %container.handle, error = error.report(), "its part of the processors is not seen to");
    }
    None
}
