//! A client that goes away before its create is done, and a shutdown that does not wait for it.

use std::time::Duration;

use gdn_testkit::{Action, Point, Site};

use crate::bed::{Bed, handle, spec};

/// How long these shutdowns wait.
const PATIENCE: Duration = Duration::from_secs(8);

#[tokio::test(start_paused = true)]
async fn an_abandoned_create_leaves_nothing_unless_it_was_committed() {
    for call in 1..=7 {
        for point in Point::ALL {
            let case = format!("abandoned at call {call} {point:?}");
            let bed = Bed::new().await;
            bed.world.clock().arm(Site::Nth(call), point, Action::Block);
            tokio::select! {
                _ = bed.gardener.create(spec("h")) => panic!("{case}: not blocked, {:?}", bed.world.clock().log()),
                () = bed.world.clock().blocked(1) => (),
            }
            // Only a client that went away during the commit itself may leave a container.
            let committing = bed.world.clock().log().iter().any(|call| call == "properties.commit");
            assert_eq!(committing, call == 7, "{case}: {:?}", bed.world.clock().log());
            bed.world.clock().release();
            bed.gardener.shutdown(PATIENCE).await;
            let bed = bed.restarted(crate::bed::config()).await;
            if committing {
                assert!(bed.world.is_whole(&handle("h")), "{case}: committed but not whole");
                assert_eq!(bed.listed(), [handle("h")], "{case}");
            } else {
                assert!(bed.world.leftovers().is_empty(), "{case}: {:?}", bed.world.leftovers());
            }
            bed.destroy_all(&case).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_destroy_goes_on_without_its_client() {
    let bed = Bed::new().await;
    let name = bed.create("h").await;
    bed.world.clock().arm(Site::Call("networker.destroy", 1), Point::Before, Action::Block);
    tokio::select! {
        _ = bed.gardener.destroy(&name) => panic!("not blocked"),
        () = bed.world.clock().blocked(1) => (),
    }
    bed.world.clock().release();
    bed.nothing_left("destroy without a client").await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_creates_and_keeps_them() {
    let bed = Bed::new().await;
    bed.world.clock().arm(Site::Call("volumizer.create", 1), Point::Before, Action::Block);
    let gardener = bed.gardener.clone();
    let create = tokio::spawn(async move { gardener.create(spec("h")).await });
    bed.world.clock().blocked(1).await;
    let gardener = bed.gardener.clone();
    let shutdown = tokio::spawn(async move { gardener.shutdown(PATIENCE).await });
    tokio::task::yield_now().await;
    assert!(!shutdown.is_finished());
    assert_eq!(bed.gardener.ping().await.unwrap_err().kind(), gdn_types::ErrorKind::Unavailable);
    bed.world.clock().release();
    shutdown.await.unwrap();
    assert_eq!(create.await.unwrap().unwrap(), handle("h"));
    assert!(bed.world.is_whole(&handle("h")));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_ever_and_the_next_start_sees_to_the_rest() {
    let bed = Bed::new().await;
    bed.world.clock().arm(Site::Call("volumizer.create", 1), Point::Halfway, Action::Block);
    let gardener = bed.gardener.clone();
    let create = tokio::spawn(async move { gardener.create(spec("h")).await });
    bed.world.clock().blocked(1).await;
    let begun = tokio::time::Instant::now();
    bed.gardener.shutdown(PATIENCE).await;
    assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());
    create.abort();
    let bed = bed.restarted(crate::bed::config()).await;
    bed.nothing_left("abandoned").await;
}
