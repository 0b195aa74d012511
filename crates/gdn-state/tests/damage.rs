//! Every file of a store damaged in every way: opening never panics, and what is undamaged is served.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, chown, symlink};
use std::path::{Path, PathBuf};

use gdn_state::{Batch, DamageKind, Error, Options, Store};

const KEYS: usize = 40;

fn options() -> Options {
    Options::default().segment_bytes(16 << 10)
}

fn value(n: usize) -> Vec<u8> {
    format!("value {n} ").repeat(20).into_bytes()
}

fn put(store: &Store, n: usize) {
    let mut batch = Batch::new();
    batch.put(format!("key {n:03}"), value(n)).unwrap();
    store.commit(batch).wait().unwrap();
}

/// A store with `KEYS` keys in one base segment and several later ones, each batch a disk write of its own.
fn full_store(dir: &Path) {
    let store = options().open(dir).unwrap();
    (0..KEYS).for_each(|n| put(&store, n));
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

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    files(dir).into_iter().filter(|path| path.extension().is_some_and(|e| e == "seg")).collect()
}

/// How many keys are there with the right value; a wrong value is never served.
fn served(store: &Store) -> usize {
    let present = (0..KEYS).filter_map(|n| store.get(format!("key {n:03}")).map(|found| (n, found)));
    present.inspect(|(n, found)| assert_eq!(found[..], value(*n)[..], "key {n}")).count()
}

fn flip_bit(path: &Path, bit: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit / 8).unwrap();
    byte[0] ^= 1 << (bit % 8);
    file.write_all_at(&byte, bit / 8).unwrap();
}

fn truncate(path: &Path, len: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

fn zero_page(path: &Path, page: u64) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(&[0; 4096], page * 4096).unwrap();
}

/// A name, and what is done to the file.
type Way = (String, Box<dyn Fn(&Path)>);

/// The ways to damage one file, with a name each.
fn damages(path: &Path) -> Vec<Way> {
    let len = path.metadata().unwrap().len();
    let mut ways: Vec<Way> = Vec::new();
    // Odd steps visit every kind of field: headers, lengths, checksums, payloads, unused space.
    for bit in (0..len * 8).step_by((len as usize * 8 / 23).max(1) | 1) {
        ways.push((format!("bit {bit}"), Box::new(move |path| flip_bit(path, bit))));
    }
    for left in [0, 1, len / 2, len.saturating_sub(1)] {
        ways.push((format!("truncated to {left}"), Box::new(move |path| truncate(path, left))));
    }
    for page in 0..len.div_ceil(4096).min(8) {
        ways.push((format!("page {page} zeroed"), Box::new(move |path| zero_page(path, page))));
    }
    ways.push(("removed".into(), Box::new(|path| fs::remove_file(path).unwrap())));
    ways.push(("junk".into(), Box::new(|path| fs::write(path, vec![0xa5; 100_000]).unwrap())));
    ways
}

#[test]
fn whatever_happens_to_one_file_every_key_is_served_while_the_index_is_sound() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    full_store(&original);
    let mut cases = 0;
    for path in files(&original) {
        let name = path.strip_prefix(&original).unwrap().to_owned();
        for (way, damage) in damages(&path) {
            let copied = dir.path().join("copy");
            copy(&original, &copied);
            damage(&copied.join(&name));
            let store = options().open(&copied).unwrap_or_else(|error| panic!("{name:?} {way}: {error}"));
            assert_eq!(served(&store), KEYS, "{name:?} {way}: {:?}", store.damages());
            // Written again, it is sound again.
            put(&store, 0);
            drop(store);
            let store = options().open(&copied).unwrap();
            assert!(store.damages().is_empty(), "{name:?} {way}: {:?}", store.damages());
            assert_eq!(served(&store), KEYS, "{name:?} {way} after reopening");
            drop(store);
            fs::remove_dir_all(&copied).unwrap();
            cases += 1;
        }
    }
    assert!(cases > 100, "{cases} cases");
}

#[test]
fn without_an_index_a_damaged_segment_costs_only_what_was_in_the_damaged_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    full_store(&original);
    fs::remove_dir_all(original.join("index")).unwrap();
    for path in segments(&original) {
        let name = path.file_name().unwrap().to_owned();
        for (way, damage) in damages(&path) {
            let copied = dir.path().join("copy");
            copy(&original, &copied);
            damage(&copied.join(&name));
            let store = options().open(&copied).unwrap_or_else(|error| panic!("{name:?} {way}: {error}"));
            let served = served(&store);
            if way.starts_with("bit") {
                assert!(served >= KEYS - 1, "{name:?} {way}: {served} keys");
            }
            if served < KEYS && !way.starts_with("truncated") && !way.contains("zeroed") {
                assert!(!store.damages().is_empty(), "{name:?} {way}: {served} keys and no damage told");
            }
            drop(store);
            fs::remove_dir_all(&copied).unwrap();
        }
    }
}

#[test]
fn a_damaged_record_is_named_and_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    full_store(dir.path());
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let segment = segments(dir.path()).remove(0);
    let bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(9).position(|window| window == b"value 7 v").unwrap();
    flip_bit(&segment, at as u64 * 8);
    let store = options().open(dir.path()).unwrap();
    let [damage] = store.damages() else { panic!("{:?}", store.damages()) };
    assert_eq!((damage.kind, &damage.keys[..]), (DamageKind::Records, &[b"key 007".to_vec()][..]));
    assert!(damage.loses_data() && damage.lost.is_some());
    assert!(fs::read(damage.quarantined.as_ref().unwrap()).unwrap().len() > 100);
    assert_eq!(served(&store), KEYS - 1);
}

#[test]
fn a_removed_journal_is_noticed_even_without_an_index() {
    let dir = tempfile::tempdir().unwrap();
    full_store(dir.path());
    let engine = options().open(dir.path()).unwrap().engine();
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    segments(dir.path()).iter().for_each(|path| fs::remove_file(path).unwrap());
    let store = options().open(dir.path()).unwrap();
    assert_eq!(store.engine(), engine);
    assert!(
        matches!(store.damages(), [damage] if damage.kind == DamageKind::Missing),
        "{:?}",
        store.damages()
    );
}

#[test]
fn a_segment_under_a_wrong_name_or_of_another_store_is_set_aside() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    full_store(dir.path());
    full_store(other.path());
    let segment = segments(dir.path()).remove(0);
    fs::copy(&segment, dir.path().join("journal-00000000000000ff.seg")).unwrap();
    let foreign = segments(other.path()).remove(0);
    fs::copy(foreign, segment.with_extension("bak")).unwrap();
    let store = options().open(dir.path()).unwrap();
    assert!(
        matches!(store.damages(), [damage] if damage.kind == DamageKind::Misplaced),
        "{:?}",
        store.damages()
    );
    assert_eq!(served(&store), KEYS);
    drop(store);
    let segment = segments(dir.path()).remove(0);
    fs::copy(segments(other.path()).remove(0), &segment).unwrap();
    let store = options().open(dir.path()).unwrap();
    assert!(!store.damages().is_empty());
    assert_eq!(served(&store), KEYS, "from the index");
}

#[test]
fn an_older_copy_of_the_journal_is_noticed_and_filled_from_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (0..KEYS / 2).for_each(|n| put(&store, n));
    drop(store);
    let segment = segments(dir.path()).remove(0);
    let older = fs::read(&segment).unwrap();
    let store = Store::open(dir.path()).unwrap();
    (KEYS / 2..KEYS).for_each(|n| put(&store, n));
    drop(store);
    fs::write(&segment, older).unwrap();
    let store = Store::open(dir.path()).unwrap();
    let [damage] = store.damages() else { panic!("{:?}", store.damages()) };
    assert!(damage.repaired && !damage.loses_data());
    assert_eq!((damage.kind, damage.keys.len()), (DamageKind::Missing, KEYS / 2));
    assert_eq!(served(&store), KEYS);
}

#[test]
fn what_is_no_file_of_ours_in_place_of_one_is_a_typed_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    full_store(&original);
    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, "x").unwrap();
    for path in files(&original).iter().filter(|path| path.parent() == Some(&original)) {
        let name = path.file_name().unwrap();
        for found in ["a directory", "a symbolic link", "another user's"] {
            let copied = dir.path().join("copy");
            copy(&original, &copied);
            let target = copied.join(name);
            match found {
                "a directory" => {
                    fs::remove_file(&target).unwrap();
                    fs::create_dir(&target).unwrap();
                }
                "a symbolic link" => {
                    fs::remove_file(&target).unwrap();
                    symlink(&elsewhere, &target).unwrap();
                }
                _ => chown(&target, Some(1234), None).unwrap(),
            }
            match options().open(&copied).unwrap_err() {
                Error::WrongType { path, found: told, .. } => assert_eq!((path, told), (target, found)),
                Error::WrongOwner { path, owner, .. } => assert_eq!((path, owner), (target, 1234)),
                other => panic!("{name:?} {found}: {other}"),
            }
            fs::remove_dir_all(&copied).unwrap();
        }
    }
    assert_eq!(fs::read(&elsewhere).unwrap(), b"x");
    assert!(matches!(Store::open(&elsewhere), Err(Error::WrongType { .. })));
}

#[test]
fn anything_in_place_of_the_index_is_set_aside_and_the_index_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    full_store(dir.path());
    let index = dir.path().join("index");
    fs::remove_dir_all(&index).unwrap();
    symlink("/nonexistent", &index).unwrap();
    let store = options().open(dir.path()).unwrap();
    assert_eq!(served(&store), KEYS);
    drop(store);
    assert!(index.symlink_metadata().unwrap().is_dir());
    assert_eq!(options().open(dir.path()).unwrap().stats().index_rebuilds, 0);
}

#[test]
fn a_gigabyte_of_junk_in_place_of_a_segment_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    full_store(dir.path());
    let segment = segments(dir.path()).pop().unwrap();
    fs::write(&segment, "junk").unwrap();
    truncate(&segment, 1 << 30);
    let store = options().open(dir.path()).unwrap();
    assert_eq!(served(&store), KEYS, "from the index");
    assert!(store.damages().iter().any(|damage| damage.kind == DamageKind::Segment && damage.repaired));
}
