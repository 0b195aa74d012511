//! What every property manager promises.

use std::sync::Arc;
use std::time::Duration;

use gdn_traits::{ContainerRecord, NetworkInfo, NotedEvent, PropertyManager};
use gdn_types::{
    ContainerId, ContainerSpec, ContainerState, ErrorKind, Handle, ImageConfig, Limits, PidLimits, Properties,
};

/// A record to claim, with a property `k` = `v`.
pub fn record(name: &str, bits: u64) -> ContainerRecord {
    let handle = Handle::parse(name).expect("the suite's names are handles");
    let properties = Properties::from_pairs([("k", "v")]).expect("one short pair breaks no bound");
    ContainerRecord {
        id: ContainerId::from_bits(bits),
        handle: handle.clone(),
        state: ContainerState::Claimed,
        stopped: false,
        spec: ContainerSpec {
            handle: Some(handle),
            properties: properties.clone(),
            ..ContainerSpec::default()
        },
        properties,
        grace_time: Duration::from_secs(60),
        boot_id: "boot".to_owned(),
        created_at_ms: 1,
        image: ImageConfig::default(),
        network: NetworkInfo::default(),
        ids: None,
        events: Vec::new(),
    }
}

/// Runs the suite. `open` opens one and the same store each time, empty at first; the suite drops what it had before.
pub async fn property_manager(open: impl AsyncFn() -> Arc<dyn PropertyManager>) {
    claims(&*open().await).await;
    commit_and_state(&open).await;
    single_properties(&open).await;
    forgetting(&open).await;
    racing_claims(open().await).await;
}

async fn claims(store: &dyn PropertyManager) {
    let first = record("a", 1);
    store.claim(first.clone(), 0).await.expect("a free handle is claimed");
    let second = store.claim(record("a", 2), 0).await.expect_err("a handle is claimed once");
    assert_eq!((second.kind(), second.message()), (ErrorKind::AlreadyExists, "handle 'a' already in use"));
    let full = store.claim(record("b", 3), 1).await.expect_err("the maximum holds");
    assert_eq!(full.kind(), ErrorKind::ResourceExhausted);
    assert_eq!(store.record(&first.handle).as_ref(), Some(&first), "a failed claim changes nothing");
    assert_eq!(store.records(), [first]);
}

async fn commit_and_state(open: &impl AsyncFn() -> Arc<dyn PropertyManager>) {
    let store = open().await;
    let claimed = record("a", 1);
    assert_eq!(store.records(), std::slice::from_ref(&claimed), "a claim survives");
    let mut committed = ContainerRecord { state: ContainerState::Created, ..claimed };
    committed.network.container_ip = "10.0.0.1".to_owned();
    store.commit(committed.clone()).await.expect("a claimed record is committed");
    drop(store);
    let store = open().await;
    assert_eq!(store.record(&committed.handle).as_ref(), Some(&committed), "a commit survives");
    store.mark_stopped(&committed.handle).await.expect("a stop is noted");
    store.set_grace_time(&committed.handle, Duration::ZERO).await.expect("a grace time is changed");
    let limits = Limits { pids: PidLimits { max: 7 }, ..Limits::default() };
    store.set_limits(&committed.handle, limits).await.expect("limits are changed");
    let events = vec![NotedEvent { text: "Out of memory".to_owned(), kills: 3 }];
    store.set_events(&committed.handle, committed.id, events.clone()).await.expect("events are noted");
    let another = ContainerId::from_bits(999);
    let other = store.set_events(&committed.handle, another, Vec::new()).await;
    assert_eq!(other.map_err(|error| error.kind()), Err(ErrorKind::ContainerNotFound));
    store.mark(&committed.handle, ContainerState::Destroying).await.expect("a state is noted");
    drop(store);
    let kept = open().await.record(&committed.handle).expect("a marked record survives");
    assert_eq!(
        (kept.state, kept.stopped, kept.grace_time),
        (ContainerState::Destroying, true, Duration::ZERO)
    );
    assert_eq!(kept.events, events);
    assert_eq!(kept.spec.limits, limits);
}

async fn single_properties(open: &impl AsyncFn() -> Arc<dyn PropertyManager>) {
    let store = open().await;
    let handle = record("a", 1).handle;
    store.set(&handle, "executor:x", "1").await.expect("a property is set");
    store.set(&handle, "executor:x", "2").await.expect("a property is changed");
    store.remove(&handle, "k").await.expect("a property is removed");
    drop(store);
    let store = open().await;
    assert_eq!(store.get(&handle, "executor:x").expect("a property survives"), "2");
    let gone = store.get(&handle, "k").expect_err("a removed property is gone");
    assert_eq!((gone.kind(), gone.message()), (ErrorKind::PropertyNotFound, "property does not exist: k"));
    let again = store.remove(&handle, "k").await.expect_err("a property is removed once");
    assert_eq!(again.kind(), ErrorKind::PropertyNotFound);
    let unknown = record("unknown", 9).handle;
    let errors = [
        store.get(&unknown, "k").expect_err("get of an unknown handle"),
        store.set(&unknown, "k", "v").await.expect_err("set on an unknown handle"),
        store.remove(&unknown, "k").await.expect_err("remove on an unknown handle"),
        store.set_grace_time(&unknown, Duration::ZERO).await.expect_err("grace time of an unknown handle"),
        store.set_limits(&unknown, Limits::default()).await.expect_err("limits of an unknown handle"),
    ];
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::ContainerNotFound), "{errors:?}");
    assert!(store.record(&unknown).is_none(), "an unknown handle leaves no record");
}

async fn forgetting(open: &impl AsyncFn() -> Arc<dyn PropertyManager>) {
    let store = open().await;
    let handle = record("a", 1).handle;
    store.forget(&handle).await.expect("a record is forgotten");
    store.forget(&handle).await.expect("forgetting what is not there succeeds");
    drop(store);
    let store = open().await;
    assert!(store.records().is_empty(), "what was forgotten stays so");
    store.claim(record("a", 4), 1).await.expect("a forgotten handle is free and counts no longer");
    store.forget(&handle).await.expect("a claimed record is forgotten");
}

async fn racing_claims(store: Arc<dyn PropertyManager>) {
    let claims = (0..16).map(|bits| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.claim(record("raced", 100 + bits), 0).await.is_ok() })
    });
    let claims: Vec<_> = claims.collect();
    let mut won = 0;
    for claim in claims {
        won += usize::from(claim.await.expect("a claim does not panic"));
    }
    assert_eq!(won, 1, "of many claims of one handle one wins");
    store.forget(&record("raced", 0).handle).await.expect("the winner is forgotten");
}
