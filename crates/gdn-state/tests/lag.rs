//! The index lags behind the journal by thousands of batches: what a kill, and a damage after it, leave then.
//!
//! A copy of the directory of an open store is what a kill would leave.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gdn_state::{Batch, Commit, DamageKind, Options, Store};

fn key(n: usize) -> String {
    format!("key {n:05}")
}

fn value(n: usize) -> String {
    format!("value {n:05} ").repeat(10)
}

fn hand_over(store: &Store, n: usize) -> Commit {
    let mut batch = Batch::new();
    batch.put(key(n), value(n)).unwrap();
    store.commit(batch)
}

fn put(store: &Store, numbers: std::ops::Range<usize>) {
    let commits: Vec<Commit> = numbers.map(|n| hand_over(store, n)).collect();
    commits.into_iter().for_each(|commit| commit.wait().unwrap());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// What a kill leaves of a store whose index knows the first `indexed` of `total` keys, each in a group of its own.
fn killed(dir: &Path, indexed: usize, total: usize) -> PathBuf {
    let (original, image) = (dir.join("original"), dir.join("image"));
    let store = Store::open(&original).unwrap();
    (0..indexed).for_each(|n| hand_over(&store, n).wait().unwrap());
    drop(store);
    let store = Store::open(&original).unwrap();
    (indexed..total).for_each(|n| hand_over(&store, n).wait().unwrap());
    copy(&original, &image);
    image
}

fn segment(dir: &Path) -> PathBuf {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).collect();
    assert_eq!(segments.len(), 1);
    segments.remove(0)
}

/// Where the value of a key is in the segment.
fn place(segment: &Path, n: usize) -> u64 {
    let (bytes, value) = (fs::read(segment).unwrap(), value(n));
    bytes.windows(value.len()).position(|window| window == value.as_bytes()).unwrap() as u64
}

fn overwrite(segment: &Path, from: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(segment).unwrap().write_all_at(bytes, from).unwrap();
}

/// The keys of `0..total` that are not there; a wrong value is never served.
fn missing(store: &Store, total: usize) -> Vec<usize> {
    (0..total)
        .filter(|n| match store.get(key(*n)) {
            Some(found) => {
                assert_eq!(found[..], *value(*n).as_bytes(), "key {n}");
                false
            }
            None => true,
        })
        .collect()
}

#[test]
fn after_a_kill_with_thousands_of_batches_missing_in_the_index_all_are_there_and_it_is_not_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (original, image) = (dir.path().join("original"), dir.path().join("image"));
    let store = Store::open(&original).unwrap();
    put(&store, 0..100);
    drop(store);
    let store = Store::open(&original).unwrap();
    put(&store, 100..3100);
    copy(&original, &image);
    drop(store);
    for _ in 0..2 {
        let store = Store::open(&image).unwrap();
        assert_eq!((missing(&store, 3100), store.damages()), (vec![], &[][..]));
        assert_eq!(store.stats().index_rebuilds, 0);
    }
}

#[test]
fn a_damaged_record_that_the_index_has_is_repaired_and_one_that_it_lacks_is_named_as_lost() {
    let dir = tempfile::tempdir().unwrap();
    let image = killed(dir.path(), 20, 60);
    let segment = segment(&image);
    overwrite(&segment, place(&segment, 7), b"?");
    overwrite(&segment, place(&segment, 40), b"?");
    let store = Store::open(&image).unwrap();
    assert_eq!(missing(&store, 60), [40]);
    let [had, lacked] = store.damages() else { panic!("{:?}", store.damages()) };
    assert!(had.kind == DamageKind::Records && had.repaired && !had.loses_data(), "{had:?}");
    assert!(lacked.kind == DamageKind::Records && lacked.loses_data(), "{lacked:?}");
    assert_eq!((&lacked.keys[..], lacked.lost.clone()), (&[key(40).into_bytes()][..], Some(41..=41)));
}

#[test]
fn of_a_damage_across_the_end_of_the_index_only_what_is_beyond_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let image = killed(dir.path(), 20, 60);
    let segment = segment(&image);
    let (from, to) = (place(&segment, 10), place(&segment, 30));
    overwrite(&segment, from, &vec![0; (to - from) as usize]);
    let store = Store::open(&image).unwrap();
    assert_eq!(missing(&store, 60), (20..=30).collect::<Vec<_>>());
    let [damage] = store.damages() else { panic!("{:?}", store.damages()) };
    assert!(damage.loses_data(), "{damage:?}");
    assert_eq!(damage.lost, Some(21..=31));
}

#[test]
fn a_lost_segment_is_not_called_repaired_when_the_index_may_not_know_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let image = killed(dir.path(), 20, 60);
    fs::write(segment(&image), "junk").unwrap();
    let store = Store::open(&image).unwrap();
    assert_eq!(missing(&store, 60), (20..60).collect::<Vec<_>>());
    let [damage] = store.damages() else { panic!("{:?}", store.damages()) };
    assert!(damage.kind == DamageKind::Segment && damage.loses_data(), "{damage:?}");
    // Written again, it goes on as a sound store.
    put(&store, 20..60);
    drop(store);
    let store = Store::open(&image).unwrap();
    assert_eq!((missing(&store, 60), store.damages()), (vec![], &[][..]));
}

#[test]
fn what_is_only_written_survives_a_kill_and_costs_no_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (original, image) = (dir.path().join("original"), dir.path().join("image"));
    let store = Store::open(&original).unwrap();
    let before = store.stats();
    for n in 0..50 {
        let mut batch = Batch::new();
        batch.put(key(n), value(n)).unwrap();
        store.commit_written(batch).wait().unwrap();
        assert!(store.get(key(n)).is_some(), "visible when it is acknowledged");
    }
    assert_eq!(store.stats().syncs, before.syncs);
    copy(&original, &image);
    let killed = Store::open(&image).unwrap();
    assert_eq!((missing(&killed, 50), killed.damages()), (vec![], &[][..]));
    put(&store, 50..51);
    assert_eq!(store.stats().syncs, before.syncs + 1);
    drop(store);
    assert_eq!(missing(&Store::open(&original).unwrap(), 51), Vec::<usize>::new());
}

#[test]
fn a_loss_of_power_that_keeps_only_the_second_of_two_written_batches_keeps_neither_and_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (original, image) = (dir.path().join("original"), dir.path().join("image"));
    let store = Store::open(&original).unwrap();
    put(&store, 0..1);
    for n in 1..3 {
        let mut batch = Batch::new();
        batch.put(key(n), value(n)).unwrap();
        store.commit_written(batch).wait().unwrap();
    }
    copy(&original, &image);
    let torn = segment(&image);
    overwrite(&torn, place(&torn, 1), &vec![0; value(1).len()]);
    let killed = Store::open(&image).unwrap();
    assert_eq!(missing(&killed, 3), [1, 2]);
    let [damage] = killed.damages() else { panic!("{:?}", killed.damages()) };
    assert!(damage.kind == DamageKind::TornTail && !damage.loses_data(), "{damage:?}");
    drop(killed);
    fs::remove_dir_all(&image).unwrap();
    // A batch that was synced after them proves that they were durable: then it is a damage.
    put(&store, 3..4);
    put(&store, 4..5);
    copy(&original, &image);
    overwrite(&torn, place(&torn, 1), &vec![0; value(1).len()]);
    let damaged = Store::open(&image).unwrap();
    assert_eq!(missing(&damaged, 5), [1]);
    assert!(matches!(damaged.damages(), [damage] if damage.loses_data()), "{:?}", damaged.damages());
}

#[test]
fn written_and_synced_batches_of_one_key_are_applied_in_the_order_of_handing_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = Options::default().segment_bytes(16 << 10).open(dir.path()).unwrap();
    let commits: Vec<Commit> = (0..600)
        .map(|n: usize| {
            let mut batch = Batch::new();
            batch.put("key", value(n)).unwrap();
            if n.is_multiple_of(3) { store.commit(batch) } else { store.commit_written(batch) }
        })
        .collect();
    commits.into_iter().for_each(|commit| commit.wait().unwrap());
    assert_eq!(store.get("key").as_deref(), Some(value(599).as_bytes()));
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!((store.get("key").as_deref(), store.damages()), (Some(value(599).as_bytes()), &[][..]));
}

#[test]
fn some_seconds_after_the_last_commit_the_index_and_the_disk_catch_up_once() {
    let dir = tempfile::tempdir().unwrap();
    let (original, image) = (dir.path().join("original"), dir.path().join("image"));
    let store = Store::open(&original).unwrap();
    let before = store.stats().syncs;
    let mut batch = Batch::new();
    batch.put(key(0), value(0)).unwrap();
    store.commit_written(batch).wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while store.stats().syncs == before {
        assert!(Instant::now() < deadline, "what was written is never made durable");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    // The index follows: without the journal it still knows the key.
    loop {
        copy(&original, &image);
        fs::write(segment(&image), "junk").unwrap();
        let found = missing(&Store::open(&image).unwrap(), 1).is_empty();
        fs::remove_dir_all(&image).unwrap();
        if found {
            break;
        }
        assert!(Instant::now() < deadline, "the index never catches up");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert_eq!(store.stats().syncs, before + 1, "once");
}

#[test]
fn a_closed_store_holds_no_file_of_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let store = Store::open(dir.path()).unwrap();
        put(&store, 0..200 * (round + 1));
        drop(store);
        let open: Vec<PathBuf> = fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
            .filter(|path| path.starts_with(dir.path()))
            .collect();
        assert!(open.is_empty(), "{open:?}");
    }
}
