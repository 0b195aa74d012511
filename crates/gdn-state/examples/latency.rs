//! Times commits of a typical record as an engine makes them: one after the other with a little time between, on a quiet
//! disk and beside a process that syncs files of its own; then as fast as possible; then the same through bare sled.
//!
//! `latency DIR` writes into new directories below `DIR`, which should be on the disk that matters.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use gdn_state::{Batch, Commit, Store};

const COMMITS: usize = 500;
/// A typical container record, in bytes.
const VALUE: usize = 600;
/// About what lies between two commits of one container's life.
const PAUSE: Duration = Duration::from_millis(2);
/// What the competitor writes before each of its syncs, in bytes.
const COMPETING: usize = 256 << 10;

fn main() {
    let dir: PathBuf = std::env::args_os().nth(1).expect("the argument is a directory").into();
    let store = Store::open(&dir.join("store")).expect("open a store");
    raw_file(&dir.join("raw"));
    lives(&store, "quiet disk");
    beside_a_competitor(&dir.join("competitor"), || lives(&store, "busy disk"));
    report("as fast as possible, synced", Duration::ZERO, |n| wait(store.commit(batch(0, n))));
    for writers in [8, 64] {
        let (started, before) = (Instant::now(), store.stats());
        std::thread::scope(|scope| {
            for writer in 0..writers {
                let store = &store;
                scope.spawn(move || {
                    (0..5 * COMMITS / writers).for_each(|n| wait(store.commit(batch(writer, n))))
                });
            }
        });
        let (elapsed, after) = (started.elapsed().as_secs_f64(), store.stats());
        let rate = (after.commits - before.commits) as f64 / elapsed;
        println!("{writers} writers: {rate:.0} commits/s, {} syncs", after.syncs - before.syncs);
    }
    bare_sled(&dir.join("sled"));
    let started = Instant::now();
    drop(store);
    let closed = started.elapsed();
    let store = Store::open(&dir.join("store")).expect("open the store again");
    println!("close {closed:?}, open {:?} with {} keys", started.elapsed() - closed, store.len());
}

/// Commits with pauses, of both kinds.
fn lives(store: &Store, disk: &str) {
    report(&format!("{disk}, synced"), PAUSE, |n| wait(store.commit(batch(0, n))));
    report(&format!("{disk}, written"), PAUSE, |n| wait(store.commit_written(batch(0, n))));
}

fn batch(writer: usize, n: usize) -> Batch {
    let mut batch = Batch::new();
    batch.put(format!("container/{writer}-{}", n % 1000), [b'x'; VALUE]).expect("within bounds");
    batch
}

fn wait(commit: Commit) {
    commit.wait().expect("the disk works");
}

/// What the disk and the file system take at least: the same write, and `fdatasync`, by the thread that waits.
fn raw_file(path: &Path) {
    let file = File::create_new(path).expect("make a file");
    file.write_all_at(&vec![0; 4 << 20], 0).and_then(|()| file.sync_all()).expect("fill the file");
    let record = vec![b'x'; VALUE + 80];
    report("quiet disk, bare write and fdatasync", PAUSE, |n| {
        file.write_all_at(&record, (n * record.len()) as u64).and_then(|()| file.sync_data()).expect("write");
    });
}

fn beside_a_competitor(path: &Path, timed: impl FnOnce()) {
    let file = File::create_new(path).expect("make a file");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let bytes = vec![1; COMPETING];
            while !done.load(Relaxed) {
                file.write_all_at(&bytes, 0).and_then(|()| file.sync_all()).expect("write");
            }
        });
        timed();
        done.store(true, Relaxed);
    });
}

fn bare_sled(dir: &Path) {
    let db = sled::open(dir).expect("open sled");
    report("bare sled, flush without fdatasync", PAUSE, |n| {
        db.insert(format!("container/{}", n % 1000), &[b'x'; VALUE][..]).expect("insert");
        db.flush().expect("flush");
    });
}

fn report(what: &str, pause: Duration, mut call: impl FnMut(usize)) {
    let mut times: Vec<Duration> = (0..COMMITS)
        .map(|n| {
            std::thread::park_timeout(pause);
            let started = Instant::now();
            call(n);
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |part: usize| times[times.len() * part / 1000];
    println!("{what}: p50 {:?}, p90 {:?}, p99 {:?}", at(500), at(900), at(990));
}
