//! Containers that used too much processor time give way.

use std::time::Duration;

use gardener_core::{Config, CpuThrottling, Entitlement};
use gdn_types::{ContainerSpec, CpuLimits, CpuShares, Handle, LimitChange, Limits};

use crate::bed::{Bed, config, handle, spec, until};

const INTERVAL: Duration = Duration::from_secs(15);

/// 1000 shares in all. The clock that ages containers is not the paused one, so that what is entitled to is next to nothing.
fn throttling() -> Config {
    Config {
        memory_bytes: 1000 << 20,
        cpu_entitlement: Entitlement::per_share(0.001).unwrap(),
        cpu_throttling: Some(CpuThrottling { interval: INTERVAL, multiplier: 1 }),
        ..config()
    }
}

async fn create(bed: &Bed, name: &str, shares: u64) -> Handle {
    let limits =
        Limits { cpu: CpuLimits { shares: CpuShares::new(shares), quota_us: 0 }, ..Limits::default() };
    bed.gardener.create(ContainerSpec { limits, ..spec(name) }).await.unwrap()
}

async fn wait_for(bed: &Bed, handle: &Handle, demoted: bool) {
    until("a look", || match bed.world.demoted(handle).is_some() == demoted {
        true => Ok(()),
        false => Err(format!("{:?}", bed.world.demoted(handle))),
    })
    .await;
}

/// Conformance: Q298-300
#[tokio::test(start_paused = true)]
async fn who_used_too_much_gives_way_keeps_its_shares_and_returns() {
    let bed = Bed::with(throttling()).await;
    let (hog, idle) = (create(&bed, "hog", 100).await, create(&bed, "idle", 100).await);
    tokio::time::sleep(INTERVAL * 2).await;
    assert_eq!((bed.world.demoted(&hog), bed.world.demoted(&idle)), (None, None), "at first nobody does");
    bed.world.use_processors(&hog, Duration::from_secs(3600));
    wait_for(&bed, &hog, true).await;
    assert_eq!(bed.world.demoted(&hog), Some(100.0 / 900.0));
    assert_eq!(bed.world.demoted(&idle), None);
    assert!(bed.gardener.metrics(&hog).await.unwrap().cpu.demoted);
    assert_eq!(bed.gardener.limits(&hog).await.unwrap().cpu.shares, CpuShares::new(100));
    bed.world.use_processors(&hog, Duration::ZERO);
    wait_for(&bed, &hog, false).await;
    bed.destroy_all("the good one").await;
}

#[tokio::test(start_paused = true)]
async fn more_shares_entitle_to_more() {
    let bed = Bed::with(throttling()).await;
    let hog = create(&bed, "hog", 1).await;
    bed.world.use_processors(&hog, Duration::from_nanos(1));
    // Its age is some milliseconds at least, and an hour's processors are much more than that entitles one share to.
    bed.world.use_processors(&hog, Duration::from_secs(3600));
    wait_for(&bed, &hog, true).await;
    let change = LimitChange { cpu_shares: Some(u64::MAX), ..LimitChange::default() };
    bed.gardener.change_limits(&hog, change).await.unwrap();
    wait_for(&bed, &hog, false).await;
    bed.destroy_all("the rich one").await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_not_told_to_throttles_nobody() {
    let bed = Bed::with(Config { cpu_throttling: None, ..throttling() }).await;
    let hog = create(&bed, "hog", 100).await;
    bed.world.use_processors(&hog, Duration::from_secs(3600));
    tokio::time::sleep(INTERVAL * 10).await;
    assert_eq!(bed.world.demoted(&hog), None);
    bed.destroy_all("untold").await;
}

#[tokio::test(start_paused = true)]
async fn after_a_kill_everybody_begins_at_full_weight_and_the_next_look_decides() {
    let bed = Bed::with(throttling()).await;
    let hog = create(&bed, "hog", 100).await;
    bed.world.use_processors(&hog, Duration::from_secs(3600));
    wait_for(&bed, &hog, true).await;
    let bed = bed.restarted(throttling()).await;
    assert_eq!(bed.world.demoted(&hog), None);
    wait_for(&bed, &hog, true).await;
    bed.destroy_all("restarted").await;
}

#[tokio::test(start_paused = true)]
async fn containers_that_come_and_go_do_not_disturb_a_look() {
    let bed = Bed::with(throttling()).await;
    let hog = create(&bed, "hog", 100).await;
    let lost = create(&bed, "lost", 100).await;
    bed.world.lose(&lost, "its keeper was killed");
    bed.world.use_processors(&hog, Duration::from_secs(3600));
    wait_for(&bed, &hog, true).await;
    bed.gardener.destroy(&hog).await.unwrap();
    bed.gardener.destroy(&handle("lost")).await.unwrap();
    let next = create(&bed, "next", 100).await;
    bed.world.use_processors(&next, Duration::from_secs(3600));
    wait_for(&bed, &next, true).await;
    bed.destroy_all("the next").await;
}
