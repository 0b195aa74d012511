//! A disk that is full or fails: typed errors, reads go on, and writes too when there is room again.
//!
//! Needs root, for small file systems of its own.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::Command;

use gdn_state::{Batch, Error, Options, Store};

#[path = "../examples/power_loss/mounted.rs"]
#[allow(unsafe_code, reason = "the shutdown is an ioctl that no kept library offers")]
mod mounted;

/// A tmpfs that is unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(kib: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let option = format!("size={kib}k,mode=700");
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(dir.path()).status();
        assert!(status.unwrap().success());
        SmallDisk(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        mounted::unmount(self.0.path());
    }
}

fn put(store: &Store, key: &str, len: usize) -> Result<(), Error> {
    let mut batch = Batch::new();
    batch.put(key, vec![b'x'; len]).unwrap();
    store.commit(batch).wait()
}

#[test]
fn on_a_full_disk_a_commit_fails_reads_go_on_and_later_commits_work() {
    let disk = SmallDisk::new(4096);
    let dir = disk.path().join("state");
    let store = Options::default().segment_bytes(64 << 10).open(&dir).unwrap();
    put(&store, "first", 100).unwrap();
    let filler = disk.path().join("filler");
    let full = std::fs::write(&filler, vec![1; 4 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let mut stored = Vec::new();
    let error = (0..1000)
        .find_map(|n| {
            let key = format!("key {n}");
            put(&store, &key, 2000).map(|()| stored.push(key)).err()
        })
        .expect("the segment ends and the disk has no room for another");
    assert_eq!(error.errno(), Some(rustix::io::Errno::NOSPC), "{error}");
    assert!(store.get("first").is_some() && stored.iter().all(|key| store.get(key).is_some()));
    assert_eq!(store.len(), 1 + stored.len(), "the failed one is not visible");
    std::fs::remove_file(&filler).unwrap();
    put(&store, "later", 2000).unwrap();
    drop(store);
    let store = Options::default().segment_bytes(64 << 10).open(&dir).unwrap();
    assert_eq!(store.len(), 2 + stored.len());
    assert!(store.damages().is_empty(), "{:?}", store.damages());
}

#[test]
fn a_store_on_a_full_disk_opens_and_is_read() {
    let disk = SmallDisk::new(4096);
    let dir = disk.path().join("state");
    put(&small(&dir), "a", 10).unwrap();
    std::fs::write(disk.path().join("filler"), vec![1; 4 << 20]).unwrap_err();
    assert_eq!(small(&dir).len(), 1);
}

fn small(dir: &Path) -> Store {
    Options::default().segment_bytes(64 << 10).open(dir).unwrap()
}

#[test]
fn when_the_disk_fails_a_commit_fails_reads_go_on_and_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = mounted::Mounted::make("ext4", dir.path());
    let state = mounted.root.join("state");
    let store = Store::open(&state).unwrap();
    put(&store, "before", 100).unwrap();
    mounted.cut_power();
    for attempt in 0..3 {
        let error = put(&store, "during", 100).unwrap_err();
        assert!(error.errno().is_some(), "attempt {attempt}: {error}");
    }
    assert!(store.get("before").is_some() && store.get("during").is_none());
    drop(store);
    mounted.remount();
    let store = Store::open(&state).unwrap();
    assert!(store.get("before").is_some());
    put(&store, "after", 100).unwrap();
}
