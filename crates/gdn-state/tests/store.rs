//! What a store promises, seen from outside.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gdn_state::{Batch, Error, Options, Store};
use proptest::prelude::*;

fn put(store: &Store, key: &str, value: &str) {
    let mut batch = Batch::new();
    batch.put(key, value).unwrap();
    store.commit(batch).wait().unwrap();
}

#[test]
fn what_was_committed_is_there_after_reopening_and_so_is_the_engine_id() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let engine = store.engine();
    put(&store, "a", "1");
    put(&store, "b", "2");
    let mut batch = Batch::new();
    batch.delete("a").unwrap().put("c", "3").unwrap();
    store.commit(batch).wait().unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.engine(), engine);
    assert!(store.damages().is_empty(), "{:?}", store.damages());
    assert_eq!((store.get("a"), store.get("b").as_deref(), store.len()), (None, Some(&b"2"[..]), 2));
    assert_eq!(store.stats().index_rebuilds, 0, "the index was flushed at the end and adds up");
}

#[test]
fn a_first_start_that_was_cut_short_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("lock"), "").unwrap();
    std::fs::write(dir.path().join("journal-0000000000000001.tmp"), "half a segm").unwrap();
    let store = Store::open(dir.path()).unwrap();
    let engine = store.engine();
    assert!(store.damages().is_empty(), "{:?}", store.damages());
    drop(store);
    // The id file is written last: with a segment and without it, the segment tells the id.
    std::fs::remove_file(dir.path().join("engine-id")).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!((store.engine(), store.damages()), (engine, &[][..]));
    assert!(dir.path().join("engine-id").exists());
    assert!(!dir.path().join("journal-0000000000000001.tmp").exists());
}

#[test]
fn two_stores_have_different_ids() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_ne!(Store::open(one.path()).unwrap().engine(), Store::open(two.path()).unwrap().engine());
}

#[test]
fn the_second_opener_is_told_who_holds_the_store_and_the_first_is_not_disturbed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    match Store::open(dir.path()).unwrap_err() {
        Error::Locked { path, pid } => {
            assert_eq!((path, pid), (dir.path().join("lock"), Some(std::process::id())));
        }
        other => panic!("{other}"),
    }
    put(&store, "a", "1");
    drop(store);
    assert_eq!(Store::open(dir.path()).unwrap().len(), 1);
}

#[test]
fn concurrent_writers_share_disk_writes() {
    const WRITERS: usize = 16;
    const EACH: usize = 50;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || (0..EACH).for_each(|n| put(store, &format!("{writer}/{n}"), "x")));
        }
    });
    let stats = store.stats();
    assert_eq!(stats.commits as usize, WRITERS * EACH);
    assert!(stats.syncs < stats.commits, "{stats:?}");
    drop(store);
    assert_eq!(Store::open(dir.path()).unwrap().len(), WRITERS * EACH);
}

#[test]
fn a_callback_sees_the_outcome_even_when_nobody_waits_and_its_panic_hurts_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let called = Arc::new(AtomicUsize::new(0));
    for n in 0..3 {
        let mut batch = Batch::new();
        batch.put(format!("{n}"), "x").unwrap();
        let called = Arc::clone(&called);
        drop(store.commit_then(batch, move |outcome| {
            assert!(outcome.is_ok());
            called.fetch_add(1, Ordering::SeqCst);
            assert!(n != 1, "this panic is part of the test");
        }));
    }
    drop(store);
    assert_eq!(called.load(Ordering::SeqCst), 3);
    assert_eq!(Store::open(dir.path()).unwrap().len(), 3);
}

#[test]
fn old_segments_are_thrown_away_when_little_in_them_is_live() {
    let dir = tempfile::tempdir().unwrap();
    let store = Options::default().segment_bytes(16 << 10).open(dir.path()).unwrap();
    for n in 0..500 {
        put(&store, &format!("key {}", n % 7), &format!("{n} {}", "x".repeat(200)));
    }
    assert!(store.stats().rewrites > 2, "{:?}", store.stats());
    drop(store);
    let bytes: u64 = segments(dir.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(bytes <= 3 * (16 << 10), "{bytes} bytes for 7 live pairs");
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.len(), 7);
    assert!(store.get("key 2").unwrap().starts_with(b"499 "));
}

#[test]
fn a_batch_larger_than_a_segment_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let store = Options::default().segment_bytes(16 << 10).open(dir.path()).unwrap();
    put(&store, "small", "x");
    put(&store, "large", &"y".repeat(5 << 20));
    put(&store, "after", "z");
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!((store.len(), store.get("large").unwrap().len()), (3, 5 << 20));
}

#[test]
fn a_scan_gives_the_pairs_of_a_prefix_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for key in ["a", "b/2", "b/1", "b0", "c"] {
        put(&store, key, key);
    }
    let keys: Vec<Vec<u8>> = store.scan("b/").iter().map(|(key, _)| key.to_vec()).collect();
    assert_eq!(keys, [b"b/1".to_vec(), b"b/2".to_vec()]);
}

fn segments(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(u8, Option<Vec<u8>>)>),
    Reopen,
    LoseIndex,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = prop::collection::vec(any::<u8>(), 0..600);
    let ops = prop::collection::vec((0..20u8, prop::option::of(value)), 1..4);
    let step =
        prop_oneof![8 => ops.prop_map(Step::Commit), 1 => Just(Step::Reopen), 1 => Just(Step::LoseIndex)];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn a_store_is_a_map_whenever_it_is_reopened(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::default().segment_bytes(16 << 10);
        let mut store = Some(options.open(dir.path()).unwrap());
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for step in steps {
            if let Step::Commit(ops) = step {
                let mut batch = Batch::new();
                for (key, value) in ops {
                    match value {
                        Some(value) => {
                            batch.put([key], &value).unwrap();
                            model.insert(vec![key], value);
                        }
                        None => {
                            batch.delete([key]).unwrap();
                            model.remove(&vec![key]);
                        }
                    }
                }
                store.as_ref().unwrap().commit(batch).wait().unwrap();
            } else {
                drop(store.take());
                if matches!(step, Step::LoseIndex) {
                    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
                }
                store = Some(options.open(dir.path()).unwrap());
            }
            let open = store.as_ref().unwrap();
            prop_assert!(open.damages().is_empty());
            let found: BTreeMap<Vec<u8>, Vec<u8>> =
                open.scan("").iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
            prop_assert_eq!(&found, &model);
        }
    }
}
