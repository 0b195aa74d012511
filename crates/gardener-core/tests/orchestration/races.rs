//! Many clients and one handle.

use std::time::Duration;

use futures::future::join_all;
use gdn_testkit::{Action, Point, Site};
use gdn_types::{ErrorKind, LifeState};

use crate::bed::{Bed, config, handle, spec};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_creates_of_one_handle_one_wins_and_stays_healthy() {
    let bed = Bed::new().await;
    let creates = (0..64).map(|_| {
        let gardener = bed.gardener.clone();
        tokio::spawn(async move { gardener.create(spec("h")).await })
    });
    let outcomes: Vec<_> = join_all(creates).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for error in outcomes.into_iter().filter_map(Result::err) {
        assert_eq!((error.kind(), error.message()), (ErrorKind::AlreadyExists, "handle 'h' already in use"));
    }
    assert!(bed.world.is_whole(&handle("h")));
    assert_eq!(bed.gardener.info(&handle("h")).await.unwrap().state, LifeState::Active);
    bed.destroy_all("64 creates").await;
}

#[tokio::test(start_paused = true)]
async fn the_second_of_two_destroys_is_told_so() {
    let bed = Bed::new().await;
    let name = bed.create("h").await;
    bed.world.clock().arm(Site::Call("volumizer.destroy", 1), Point::Before, Action::Block);
    let (first, second) = tokio::join!(bed.gardener.destroy(&name), async {
        bed.world.clock().blocked(1).await;
        let second = bed.gardener.destroy(&name).await;
        bed.world.clock().release();
        second
    });
    first.unwrap();
    let second = second.unwrap_err();
    assert_eq!(
        (second.kind(), second.message()),
        (ErrorKind::BeingDestroyed, "container already being destroyed")
    );
    let third = bed.gardener.destroy(&name).await.unwrap_err();
    assert_eq!((third.kind(), third.message()), (ErrorKind::ContainerNotFound, "unknown handle: h"));
}

#[tokio::test(start_paused = true)]
async fn a_container_under_creation_is_not_there_for_others() {
    let bed = Bed::new().await;
    bed.world.clock().arm(Site::Call("containerizer.create", 1), Point::Before, Action::Block);
    let (created, ()) = tokio::join!(bed.gardener.create(spec("h")), async {
        bed.world.clock().blocked(1).await;
        let name = handle("h");
        assert_eq!(bed.gardener.destroy(&name).await.unwrap_err().kind(), ErrorKind::ContainerNotFound);
        assert_eq!(bed.gardener.info(&name).await.unwrap_err().kind(), ErrorKind::ContainerNotFound);
        assert_eq!(bed.gardener.create(spec("h")).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert!(bed.listed().is_empty());
        bed.world.clock().release();
    });
    created.unwrap();
    assert!(bed.world.is_whole(&handle("h")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn creates_and_destroys_of_one_handle_at_once_end_whole_or_gone() {
    let bed = Bed::with(gardener_core::Config { max_containers: 3, ..config() }).await;
    let workers = (0..8).map(|worker| {
        let gardener = bed.gardener.clone();
        tokio::spawn(async move {
            for round in 0..100 {
                if (worker + round) % 2 == 0 {
                    drop(gardener.create(spec("h")).await);
                } else {
                    drop(gardener.destroy(&handle("h")).await);
                }
            }
        })
    });
    for worker in join_all(workers).await {
        worker.unwrap();
    }
    match bed.listed().as_slice() {
        [] => assert!(bed.world.leftovers().is_empty(), "{:?}", bed.world.leftovers()),
        [name] => assert!(bed.world.is_whole(name)),
        more => panic!("{more:?}"),
    }
    bed.destroy_all("storm").await;
}

#[tokio::test(start_paused = true)]
async fn what_memory_refuses_makes_nothing() {
    let bed = Bed::with(gardener_core::Config { max_containers: 1, ..config() }).await;
    bed.create("h").await;
    let before = bed.world.clock().log().len();
    for name in ["h", "other"] {
        bed.gardener.create(spec(name)).await.unwrap_err();
    }
    assert_eq!(bed.world.clock().log().len(), before, "{:?}", bed.world.clock().log());
    assert!(bed.world.is_whole(&handle("h")));
}

#[tokio::test(start_paused = true)]
async fn what_the_store_refuses_at_once_makes_nothing() {
    let bed = Bed::new().await;
    bed.world.clock().arm(
        Site::Call("properties.claim", 1),
        Point::Before,
        Action::Fail(ErrorKind::AlreadyExists),
    );
    let error = bed.gardener.create(spec("h")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let log = bed.world.clock().log();
    assert_eq!(log.last().map(String::as_str), Some("properties.claim"), "{log:?}");
    bed.create("h").await;
}

/// A disk that is full is noticed only when the sandbox is half made.
#[tokio::test(start_paused = true)]
async fn a_claim_that_fails_late_waits_for_the_parts_and_unwinds_them() {
    for slow in ["containerizer.prepare", "volumizer.create", "networker.reserve"] {
        for point in Point::ALL {
            let bed = Bed::new().await;
            let (clock, second) = (bed.world.clock(), Duration::from_secs(1));
            clock.arm(Site::Call("properties.claim", 1), Point::Before, Action::Delay(second));
            clock.arm(
                Site::Call("properties.claim", 1),
                Point::Halfway,
                Action::Fail(ErrorKind::ResourceExhausted),
            );
            clock.arm(Site::Call(slow, 1), point, Action::Delay(10 * second));
            let error = bed.gardener.create(spec("h")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
            // At once: nothing goes on behind the answer, and the handle is free.
            assert!(bed.world.leftovers().is_empty(), "{slow} {point:?}: {:?}", bed.world.leftovers());
            bed.create("h").await;
        }
    }
}

/// The record of a handle may be somebody else's: one that could not be read, say. It is never forgotten.
#[tokio::test(start_paused = true)]
async fn a_refused_claim_never_forgets_a_record() {
    let bed = Bed::new().await;
    let second = Duration::from_secs(1);
    bed.world.clock().arm(Site::Call("properties.claim", 1), Point::Before, Action::Delay(second));
    bed.world.clock().arm(
        Site::Call("properties.claim", 1),
        Point::Halfway,
        Action::Fail(ErrorKind::AlreadyExists),
    );
    bed.gardener.create(spec("h")).await.unwrap_err();
    let log = bed.world.clock().log();
    assert!(log.iter().any(|call| call == "containerizer.destroy"), "{log:?}");
    assert!(!log.iter().any(|call| call == "properties.forget"), "{log:?}");
}
