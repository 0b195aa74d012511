//! Times durable commits: alone and together with others, and the same through bare sled and its flush.
//!
//! `latency DIR` writes into new directories below `DIR`, which should be on the disk that matters.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gdn_state::{Batch, Store};

const COMMITS: usize = 2000;
/// A typical container record, in bytes.
const VALUE: usize = 600;

fn main() {
    let dir: PathBuf = std::env::args_os().nth(1).expect("the argument is a directory").into();
    let store = Store::open(&dir.join("store")).expect("open a store");
    report("1 writer", |n| commit(&store, 0, n));
    for writers in [8, 64] {
        let (started, before) = (Instant::now(), store.stats());
        std::thread::scope(|scope| {
            for writer in 0..writers {
                let store = &store;
                scope.spawn(move || (0..COMMITS / writers).for_each(|n| commit(store, writer, n)));
            }
        });
        let (rate, after) = (COMMITS as f64 / started.elapsed().as_secs_f64(), store.stats());
        println!("{writers} writers: {rate:.0} commits/s, {} disk writes", after.syncs - before.syncs);
    }
    bare_sled(&dir.join("sled"));
    let started = Instant::now();
    drop(store);
    let closed = started.elapsed();
    let store = Store::open(&dir.join("store")).expect("open the store again");
    println!("close {closed:?}, open {:?} with {} keys", started.elapsed() - closed, store.len());
}

fn commit(store: &Store, writer: usize, n: usize) {
    let mut batch = Batch::new();
    batch.put(format!("container/{writer}-{}", n % 1000), [b'x'; VALUE]).expect("within bounds");
    store.commit(batch).wait().expect("the disk works");
}

fn bare_sled(dir: &Path) {
    let db = sled::open(dir).expect("open sled");
    report("bare sled, flush without fdatasync", |n| {
        db.insert(format!("container/{}", n % 1000), &[b'x'; VALUE][..]).expect("insert");
        db.flush().expect("flush");
    });
}

fn report(what: &str, mut call: impl FnMut(usize)) {
    let mut times: Vec<Duration> = (0..COMMITS)
        .map(|n| {
            let started = Instant::now();
            call(n);
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |part: usize| times[times.len() * part / 1000];
    println!("{what}: p50 {:?}, p99 {:?}, p99.9 {:?}", at(500), at(990), at(999));
}
