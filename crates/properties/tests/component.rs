//! The component through its trait, on a real directory.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gdn_traits::{ContainerRecord, NetworkInfo, PropertyManager};
use gdn_types::{ContainerId, ContainerSpec, ContainerState, ErrorKind, Handle, ImageConfig, Properties};
use properties::PropertyStore;

fn handle(name: &str) -> Handle {
    Handle::parse(name).unwrap()
}

fn record(name: &str, bits: u64) -> ContainerRecord {
    ContainerRecord {
        id: ContainerId::from_bits(bits),
        handle: handle(name),
        state: ContainerState::Claimed,
        stopped: false,
        spec: ContainerSpec::default(),
        properties: Properties::default(),
        grace_time: Duration::ZERO,
        boot_id: "boot".into(),
        created_at_ms: 1,
        image: ImageConfig::default(),
        network: NetworkInfo::default(),
        ids: None,
        events: Vec::new(),
    }
}

fn open(dir: &Path) -> PropertyStore {
    PropertyStore::open(dir).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_promises_what_every_property_manager_does() {
    let dir = tempfile::tempdir().unwrap();
    gdn_testkit::conformance::property_manager(async || {
        Arc::new(open(dir.path())) as Arc<dyn PropertyManager>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_concurrent_claims_one_wins_and_the_losers_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()));
    let claims: Vec<_> = (0..64)
        .map(|bits| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { (bits, store.claim(record("web", bits), 0).await) })
        })
        .collect();
    let mut winners = Vec::new();
    for claim in claims {
        match claim.await.unwrap() {
            (bits, Ok(())) => winners.push(bits),
            (_, Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::AlreadyExists);
                assert_eq!(error.message(), "handle 'web' already in use");
            }
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(store.record(&handle("web")).unwrap().id, ContainerId::from_bits(winners[0]));
}

#[tokio::test]
async fn a_life_of_a_record_is_the_same_after_each_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let web = handle("web");
    let engine = open(dir.path()).engine_id();
    open(dir.path()).claim(record("web", 1), 0).await.unwrap();
    assert_eq!(open(dir.path()).record(&web).unwrap().state, ContainerState::Claimed);
    open(dir.path()).commit(record("web", 1)).await.unwrap();
    open(dir.path()).set(&web, "color", "green").await.unwrap();
    open(dir.path()).set_grace_time(&web, Duration::from_secs(5)).await.unwrap();
    open(dir.path()).mark_stopped(&web).await.unwrap();
    {
        let store = open(dir.path());
        let record = store.record(&web).unwrap();
        assert_eq!((record.state, record.stopped), (ContainerState::Created, true));
        assert_eq!(record.grace_time, Duration::from_secs(5));
        assert_eq!(store.get(&web, "color").unwrap(), "green");
        assert_eq!(store.engine_id(), engine);
    }
    open(dir.path()).mark(&web, ContainerState::Destroying).await.unwrap();
    assert_eq!(open(dir.path()).record(&web).unwrap().state, ContainerState::Destroying);
    open(dir.path()).forget(&web).await.unwrap();
    let store = open(dir.path());
    assert!(store.records().is_empty() && store.record(&web).is_none());
    store.forget(&web).await.unwrap();
    store.claim(record("web", 2), 0).await.unwrap();
}

#[tokio::test]
async fn the_intent_to_destroy_survives_a_kill_and_the_forgetting_after_it_too() {
    let dir = tempfile::tempdir().unwrap();
    let web = handle("web");
    let (original, killed) = (dir.path().join("original"), dir.path().join("killed"));
    let store = open(&original);
    store.claim(record("web", 1), 0).await.unwrap();
    store.commit(record("web", 1)).await.unwrap();
    store.mark(&web, ContainerState::Destroying).await.unwrap();
    copy_segments(&original, &killed);
    assert_eq!(open(&killed).record(&web).unwrap().state, ContainerState::Destroying);
    std::fs::remove_dir_all(&killed).unwrap();
    store.forget(&web).await.unwrap();
    copy_segments(&original, &killed);
    assert!(open(&killed).record(&web).is_none());
}

/// What a kill leaves of an open store.
fn copy_segments(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn an_over_long_key_is_not_repeated_whole_in_the_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (web, key) = (handle("web"), "k".repeat(5000));
    store.claim(record("web", 1), 0).await.unwrap();
    for error in [store.get(&web, &key).unwrap_err(), store.set(&web, &key, "v").await.unwrap_err()] {
        assert!(error.report().len() < 200 && error.report().contains("kkk..."), "{}", error.report());
    }
}

#[tokio::test]
async fn unknown_handles_and_keys_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let web = handle("web");
    let missing = store.get(&web, "k").unwrap_err();
    assert_eq!((missing.kind(), missing.message()), (ErrorKind::ContainerNotFound, "unknown handle: web"));
    assert_eq!(store.set(&web, "k", "v").await.unwrap_err().kind(), ErrorKind::ContainerNotFound);
    assert_eq!(store.commit(record("web", 1)).await.unwrap_err().kind(), ErrorKind::ContainerNotFound);
    store.claim(record("web", 1), 0).await.unwrap();
    let missing = store.get(&web, "k").unwrap_err();
    assert_eq!(
        (missing.kind(), missing.message()),
        (ErrorKind::PropertyNotFound, "property does not exist: k")
    );
    assert_eq!(store.remove(&web, "k").await.unwrap_err().kind(), ErrorKind::PropertyNotFound);
    assert_eq!(store.set(&web, "", "v").await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(
        store.commit(record("web", 9)).await.unwrap_err().kind(),
        ErrorKind::ContainerNotFound,
        "another id"
    );
}

#[tokio::test]
async fn the_maximum_counts_every_record_and_a_forgotten_one_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.claim(record("a", 1), 2).await.unwrap();
    store.claim(record("b", 2), 2).await.unwrap();
    store.mark(&handle("b"), ContainerState::Destroying).await.unwrap();
    assert_eq!(store.claim(record("c", 3), 2).await.unwrap_err().kind(), ErrorKind::ResourceExhausted);
    store.forget(&handle("a")).await.unwrap();
    store.claim(record("c", 3), 2).await.unwrap();
    assert_eq!(store.records().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_of_one_record_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()));
    store.claim(record("web", 1), 0).await.unwrap();
    let changes: Vec<_> = (0..50)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.set(&handle("web"), &format!("k{n}"), "v").await })
        })
        .collect();
    for change in changes {
        change.await.unwrap().unwrap();
    }
    drop(store);
    assert_eq!(open(dir.path()).record(&handle("web")).unwrap().properties.len(), 50);
}

#[tokio::test]
async fn a_change_whose_caller_went_away_is_carried_out_and_the_next_one_builds_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let web = handle("web");
    {
        let mut claim = std::pin::pin!(store.claim(record("web", 1), 0));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        // Polled once: handed over, then dropped.
        let _ = claim.as_mut().poll(&mut context);
    }
    store.set(&web, "a", "1").await.unwrap();
    {
        let mut set = std::pin::pin!(store.set(&web, "b", "2"));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = set.as_mut().poll(&mut context);
    }
    store.set(&web, "c", "3").await.unwrap();
    let kept = store.record(&web).unwrap().properties;
    assert_eq!(kept.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2"), ("c", "3")]);
}

#[tokio::test]
async fn an_unreadable_record_is_told_keeps_its_handle_and_does_not_disturb_others() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).claim(record("good", 1), 0).await.unwrap();
    {
        let raw = gdn_state::Store::open(dir.path()).unwrap();
        let mut batch = gdn_state::Batch::new();
        batch.put("container/bad", b"\xff\xff").unwrap();
        raw.commit(batch).wait().unwrap();
    }
    let store = open(dir.path());
    assert_eq!(store.records().len(), 1);
    let told = store.quarantined();
    assert!(told.len() == 1 && told[0].starts_with("container bad: "), "{told:?}");
    assert_eq!(store.claim(record("bad", 2), 0).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    store.forget(&handle("bad")).await.unwrap();
    store.claim(record("bad", 2), 0).await.unwrap();
    assert!(store.quarantined().is_empty());
}

#[test]
fn the_second_opener_gets_a_typed_error_that_names_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path());
    let error = PropertyStore::open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    assert!(error.report().contains(&format!("process {}", std::process::id())), "{}", error.report());
}
