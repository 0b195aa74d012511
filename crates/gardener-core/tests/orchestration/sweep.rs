//! Every component call fails once, and each pair.

use gdn_testkit::{Action, Point, Site, World};
use gdn_types::{ErrorKind, LifeState};

use crate::bed::{Bed, config, engine, handle, spec, until};

/// More calls than create and destroy make together, retries of one failure included.
const CALLS: usize = 20;

fn actions() -> [Action; 2] {
    [Action::Fail(ErrorKind::Internal), Action::Panic]
}

/// Creates and destroys under the faults that are armed.
async fn create_and_destroy(bed: &Bed, case: &str) {
    let name = handle("h");
    let created = bed.gardener.create(spec("h")).await;
    if created.is_err() {
        assert!(bed.listed().is_empty(), "{case}: a failed create is listed");
        bed.nothing_left(case).await;
        return;
    }
    assert!(bed.world.is_whole(&name), "{case}: an acknowledged create is not whole");
    assert_eq!(bed.listed(), std::slice::from_ref(&name), "{case}");
    match bed.gardener.destroy(&name).await {
        Ok(()) => assert!(bed.world.leftovers().is_empty(), "{case}: {:?}", bed.world.leftovers()),
        Err(error) => {
            // A pass may have ended well already.
            if let Ok(info) = bed.gardener.info(&name).await {
                assert_eq!(info.state, LifeState::Destroying, "{case}: {error}");
                assert!(info.reason.contains("injected"), "{case}: {:?}", info.reason);
            }
            bed.nothing_left(case).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_leaves_nothing_or_a_retryable_record() {
    let mut struck = 0;
    for call in 1..=CALLS {
        for point in Point::ALL {
            for action in actions() {
                let bed = Bed::new().await;
                let case = format!("call {call} {point:?} {action:?}");
                bed.world.clock().arm(Site::Nth(call), point, action);
                create_and_destroy(&bed, &case).await;
                struck += bed.world.clock().struck();
                bed.world.clock().disarm();
                bed.create("h").await;
                bed.destroy_all(&case).await;
            }
        }
    }
    assert!(struck >= 10 * 3 * 2, "only {struck} faults struck");
}

#[tokio::test(start_paused = true)]
async fn every_pair_of_failed_calls_leaves_nothing_or_a_retryable_record() {
    let mut both = 0;
    for first in 1..=CALLS {
        for second in first + 1..=CALLS {
            for (one, two) in Point::ALL.into_iter().flat_map(|one| Point::ALL.map(|two| (one, two))) {
                let bed = Bed::new().await;
                let case = format!("calls {first} {one:?} and {second} {two:?}");
                bed.world.clock().arm(Site::Nth(first), one, Action::Fail(ErrorKind::Internal));
                bed.world.clock().arm(Site::Nth(second), two, Action::Fail(ErrorKind::Unavailable));
                create_and_destroy(&bed, &case).await;
                both += usize::from(bed.world.clock().struck() == 2);
            }
        }
    }
    assert!(both >= 45 * 9, "only {both} pairs struck");
}

#[tokio::test(start_paused = true)]
async fn a_part_that_fails_for_long_is_shown_and_goes_in_the_end() {
    for part in ["containerizer.destroy", "networker.destroy", "volumizer.destroy", "properties.forget"] {
        let bed = Bed::new().await;
        let name = bed.create("h").await;
        bed.world.clock().arm(Site::Every(part), Point::Before, Action::Fail(ErrorKind::Internal));
        bed.gardener.destroy(&name).await.unwrap_err();
        assert!(bed.listed().is_empty() && bed.listed_in_all_states() == [name.clone()], "{part}");
        assert!(bed.gardener.info(&name).await.unwrap().reason.contains(part), "{part}");
        bed.create("other").await;
        bed.gardener.destroy(&handle("other")).await.unwrap_err();
        bed.world.clock().disarm();
        bed.nothing_left(part).await;
        assert_eq!(bed.gardener.destroy(&name).await.unwrap_err().kind(), ErrorKind::ContainerNotFound);
    }
}

/// One acknowledged container, and one that was being destroyed when the engine was killed.
async fn interrupted_world() -> World {
    let bed = Bed::new().await;
    bed.create("kept").await;
    bed.create("leaving").await;
    bed.world.clock().arm(Site::Call("volumizer.destroy", 1), Point::Halfway, Action::Crash);
    let leaving = handle("leaving");
    tokio::select! {
        _ = bed.gardener.destroy(&leaving) => panic!("a destroy survived its crash"),
        () = bed.world.clock().crashed() => (),
    }
    bed.world.crash();
    bed.world
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_disturbs_nothing_and_can_be_repeated() {
    let mut struck = 0;
    for call in 1..=CALLS {
        for point in Point::ALL {
            for action in actions() {
                let case = format!("call {call} of the start {point:?} {action:?}");
                let world = interrupted_world().await;
                let gardener = engine(&world, config());
                let before = world.clock().struck();
                world.clock().arm(Site::Nth(call), point, action);
                if gardener.start().await.is_err() {
                    assert_eq!(gardener.ping().await.unwrap_err().kind(), ErrorKind::Unavailable, "{case}");
                    gardener.start().await.unwrap_or_else(|error| panic!("{case}: second start: {error}"));
                }
                let bed = Bed { world, gardener };
                assert!(bed.world.is_whole(&handle("kept")), "{case}");
                assert_eq!(
                    bed.gardener.info(&handle("kept")).await.unwrap().state,
                    LifeState::Active,
                    "{case}"
                );
                until(&case, || match bed.listed_in_all_states().as_slice() {
                    [kept] if *kept == handle("kept") => Ok(()),
                    others => Err(format!("{others:?}")),
                })
                .await;
                struck += bed.world.clock().struck() - before;
                bed.world.clock().disarm();
                bed.destroy_all(&case).await;
            }
        }
    }
    assert!(struck >= 7 * 2 * 2, "only {struck} faults struck");
}
