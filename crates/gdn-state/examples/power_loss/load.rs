//! The load: what the writers do, and what the store must hold after any number of their steps.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use gdn_state::{Batch, Options, Store};

/// Tells a process that it is the writing child, and where its store is.
pub(crate) const CHILD_DIR: &str = "GDN_STATE_POWER_LOSS_DIR";
pub(crate) const WRITERS: usize = 4;
/// Each writer's keys; few enough that most steps change something that is there.
const KEYS: u64 = 37;
/// One of so many steps is written and not synced, as one of the changes in a container's life is.
const WRITTEN_EVERY: u64 = 4;
/// Small segments, so that new ones and rewrites happen in every cycle.
const SEGMENT_BYTES: u64 = 64 << 10;

pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD_DIR).is_some()
}

pub(crate) fn open(dir: &std::path::Path) -> gdn_state::Result<Store> {
    Options::default().segment_bytes(SEGMENT_BYTES).open(dir)
}

/// The child: tells the engine id, then each step that is durable, until the disk stops answering. Steps that are only
/// written are not told: they count when a later one of the same writer is durable.
pub(crate) fn run() {
    let dir = PathBuf::from(std::env::var_os(CHILD_DIR).expect("only called when it is set"));
    let Ok(store) = open(&dir) else { return };
    tell(&format!("engine {}", store.engine()));
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                for step in steps_done(store, writer) + 1.. {
                    let written_only = step.is_multiple_of(WRITTEN_EVERY);
                    let batch = batch(writer, step);
                    let commit = if written_only { store.commit_written(batch) } else { store.commit(batch) };
                    if commit.wait().is_err() {
                        return;
                    }
                    if !written_only {
                        tell(&format!("{writer} {step}"));
                    }
                }
            });
        }
    });
}

/// One write of a short line to a pipe is atomic.
fn tell(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).expect("the parent reads");
}

/// Step `step` of a writer: one key changes or goes, and the writer's counter follows in the same batch.
fn batch(writer: usize, step: u64) -> Batch {
    let mut batch = Batch::new();
    let key = format!("{writer}/{}", step % KEYS);
    match value(step) {
        Some(value) => batch.put(key, value),
        None => batch.delete(key),
    }
    .and_then(|batch| batch.put(counter(writer), step.to_le_bytes()))
    .expect("short keys and values");
    batch
}

fn value(step: u64) -> Option<Vec<u8>> {
    let len = 8 + (step.wrapping_mul(2_654_435_761) % 700) as usize;
    (!step.is_multiple_of(5)).then(|| step.to_le_bytes().iter().copied().cycle().take(len).collect())
}

fn counter(writer: usize) -> String {
    format!("count/{writer}")
}

pub(crate) fn steps_done(store: &Store, writer: usize) -> u64 {
    let bytes = store.get(counter(writer));
    bytes.map_or(0, |bytes| u64::from_le_bytes(bytes[..].try_into().expect("a counter has eight bytes")))
}

/// Whether a writer's keys are exactly what this number of steps leaves.
pub(crate) fn is_state_after(store: &Store, writer: usize, steps: u64) -> bool {
    let prefix = format!("{writer}/");
    let mut expected = BTreeMap::new();
    for step in steps.saturating_sub(KEYS - 1).max(1)..=steps {
        if let Some(value) = value(step) {
            expected.insert(format!("{prefix}{}", step % KEYS).into_bytes(), value);
        }
    }
    let found: BTreeMap<Vec<u8>, Vec<u8>> =
        store.scan(&prefix).iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    found == expected
}
