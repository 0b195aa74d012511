//! Grace time, on a paused clock.

use std::time::Duration;

use gdn_testkit::{Action, Point, Site};
use gdn_types::{ContainerSpec, ErrorKind, keys};

use crate::bed::{Bed, config, run_spec, spec};

const GRACE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_secs(1);

fn graceful(name: &str) -> ContainerSpec {
    ContainerSpec { grace_time: Some(GRACE), ..spec(name) }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_nobody_names_is_destroyed_after_its_grace_time_and_not_before() {
    let bed = Bed::new().await;
    let name = bed.gardener.create(graceful("h")).await.unwrap();
    assert_eq!(bed.gardener.property(&name, keys::GRACE_TIME).unwrap(), "60000000000");
    tokio::time::sleep(GRACE - MOMENT).await;
    assert_eq!(bed.listed(), std::slice::from_ref(&name));
    tokio::time::sleep(2 * MOMENT).await;
    assert!(bed.world.leftovers().is_empty(), "{:?}", bed.world.leftovers());
}

#[tokio::test(start_paused = true)]
async fn each_request_that_names_it_starts_the_countdown_afresh_and_lists_do_not() {
    let bed = Bed::new().await;
    let name = bed.gardener.create(graceful("h")).await.unwrap();
    for _ in 0..5 {
        tokio::time::sleep(GRACE - MOMENT).await;
        bed.gardener.info(&name).await.unwrap();
    }
    tokio::time::sleep(GRACE - MOMENT).await;
    bed.listed();
    bed.gardener.bulk_info(std::slice::from_ref(&name)).await;
    bed.gardener.bulk_metrics(std::slice::from_ref(&name)).await;
    tokio::time::sleep(2 * MOMENT).await;
    assert!(bed.listed().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_countdown_rests_while_a_client_is_attached() {
    let bed = Bed::new().await;
    let name = bed.gardener.create(graceful("h")).await.unwrap();
    let running = bed.gardener.run(&name, run_spec("p", "/bin/sleep")).await.unwrap();
    let attached = bed.gardener.attach(&name, &running.id, gdn_types::AttachFrom::default()).await.unwrap();
    tokio::time::sleep(10 * GRACE).await;
    drop(running);
    tokio::time::sleep(10 * GRACE).await;
    assert_eq!(bed.listed(), [name]);
    drop(attached);
    tokio::time::sleep(GRACE + MOMENT).await;
    assert!(bed.listed().is_empty());
}

/// A stop cuts clients off, who cannot come back before the next start, where countdowns begin afresh.
#[tokio::test(start_paused = true)]
async fn no_grace_time_ends_once_a_shutdown_is_announced() {
    let bed = Bed::new().await;
    let name = bed.gardener.create(graceful("h")).await.unwrap();
    tokio::time::sleep(GRACE - MOMENT).await;
    bed.gardener.announce_shutdown();
    tokio::time::sleep(2 * MOMENT).await;
    assert_eq!(bed.listed(), std::slice::from_ref(&name));
    bed.gardener.ping().await.unwrap();
    let bed = bed.restarted(config()).await;
    tokio::time::sleep(GRACE - MOMENT).await;
    assert_eq!(bed.listed(), [name]);
    tokio::time::sleep(2 * MOMENT).await;
    assert!(bed.listed().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_grace_time_of_zero_is_for_ever_and_a_shorter_one_counts_at_once() {
    let bed = Bed::new().await;
    let name = bed.gardener.create(graceful("h")).await.unwrap();
    bed.gardener.set_grace_time(&name, Duration::ZERO).await.unwrap();
    tokio::time::sleep(100 * GRACE).await;
    assert_eq!(bed.listed(), std::slice::from_ref(&name));
    let none = bed.gardener.property(&name, keys::GRACE_TIME).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::PropertyNotFound);
    bed.gardener.set_grace_time(&name, 10 * GRACE).await.unwrap();
    bed.gardener.set_grace_time(&name, MOMENT).await.unwrap();
    tokio::time::sleep(2 * MOMENT).await;
    assert!(bed.listed().is_empty());
    let error = bed.gardener.set_grace_time(&name, MOMENT).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContainerNotFound);
}

#[tokio::test(start_paused = true)]
async fn the_default_grace_time_is_for_clients_that_name_none() {
    let bed = Bed::with(gardener_core::Config { default_grace_time: GRACE, ..config() }).await;
    bed.create("default").await;
    let forever = ContainerSpec { grace_time: Some(Duration::ZERO), ..spec("forever") };
    let forever = bed.gardener.create(forever).await.unwrap();
    tokio::time::sleep(2 * GRACE).await;
    assert_eq!(bed.listed(), [forever]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_starts_the_countdown_afresh() {
    let bed = Bed::new().await;
    let name = bed.gardener.create(graceful("h")).await.unwrap();
    tokio::time::sleep(GRACE - MOMENT).await;
    let bed = bed.restarted(config()).await;
    tokio::time::sleep(GRACE - MOMENT).await;
    assert_eq!(bed.listed(), [name]);
    tokio::time::sleep(2 * MOMENT).await;
    assert!(bed.listed().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reap_that_fails_is_repeated() {
    let bed = Bed::new().await;
    bed.gardener.create(graceful("h")).await.unwrap();
    bed.world.clock().arm(
        Site::Call("containerizer.destroy", 1),
        Point::Before,
        Action::Fail(ErrorKind::Internal),
    );
    tokio::time::sleep(GRACE).await;
    bed.nothing_left("failed reap").await;
    assert_eq!(bed.world.clock().struck(), 1);
}
