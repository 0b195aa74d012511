//! An owner that is killed loses nothing that it acknowledged.
//!
//! The test binary runs itself again as the owner: it commits numbers and prints each when it is durable.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gdn_state::{Batch, Options, Store};

const CHILD_DIR: &str = "GDN_STATE_TEST_KILL_DIR";

fn key(thread: usize, number: u64) -> String {
    format!("{thread}/{number:08}")
}

/// Runs in the child only.
fn write_until_killed(dir: &Path) {
    let store = Options::default().segment_bytes(64 << 10).open(dir).unwrap();
    let start = store.len() as u64;
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let store = &store;
            scope.spawn(move || {
                for number in start.. {
                    let mut batch = Batch::new();
                    batch.put(key(thread, number), vec![b'x'; 300]).unwrap();
                    store.commit(batch).wait().unwrap();
                    // One write of a short line to a pipe is atomic.
                    std::io::stderr().write_all(format!("{}\n", key(thread, number)).as_bytes()).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_killed_owner_loses_nothing_it_acknowledged() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        return write_until_killed(&PathBuf::from(dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_killed_owner_loses_nothing_it_acknowledged", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(|line| line.unwrap());
        // Killed after a different number of acknowledgements each time, with more in flight.
        acknowledged.extend(lines.by_ref().take(5 + round * 37));
        child.kill().unwrap();
        acknowledged.extend(lines);
        child.wait().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert!(store.damages().iter().all(|damage| !damage.loses_data()), "{:?}", store.damages());
        for key in &acknowledged {
            assert!(store.get(key).is_some(), "{key} was acknowledged and is gone in round {round}");
        }
    }
    assert!(acknowledged.len() > 12 * 5, "the child acknowledged {} commits", acknowledged.len());
}
