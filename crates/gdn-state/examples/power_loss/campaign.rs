//! The cycles.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::load;
use crate::mounted::Mounted;

/// Every third cycle begins with a new store; the others go on with an aged one.
const FRESH_EVERY: u64 = 3;
/// Power fails at a random moment within this time after the child's start.
const LONGEST_MS: u64 = 400;

/// What came out.
pub(crate) struct Report {
    kind: String,
    cycles: u64,
    pub(crate) acknowledged: u64,
    pub(crate) lost: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} cycles, {} acknowledged, {} lost",
            self.kind, self.cycles, self.acknowledged, self.lost
        )
    }
}

/// Runs the cycles on one kind of file system. `child_args` lead this program's own binary to [`load::run`].
pub(crate) fn run(kind: &str, cycles: u64, child_args: &[&str]) -> Report {
    let dir = tempfile::tempdir().expect("make a temporary directory");
    let mounted = Mounted::make(kind, dir.path());
    let mut report = Report { kind: kind.to_owned(), cycles, acknowledged: 0, lost: 0 };
    let mut random = std::collections::hash_map::RandomState::new();
    for cycle in 0..cycles {
        let store_dir = mounted.root.join("state");
        if cycle % FRESH_EVERY == 0 && store_dir.exists() {
            std::fs::remove_dir_all(&store_dir).expect("remove the old store");
            random = std::collections::hash_map::RandomState::new();
        }
        let moment = std::hash::BuildHasher::hash_one(&random, cycle) % (LONGEST_MS * 1000);
        let acknowledged = one_life(&mounted, &store_dir, Duration::from_micros(moment), child_args);
        mounted.remount();
        report.acknowledged += acknowledged.count;
        report.lost += compare(&store_dir, &acknowledged);
    }
    report
}

/// What the child told.
#[derive(Default)]
struct Acknowledged {
    engine: Option<u64>,
    /// The last step of each writer.
    last: [u64; load::WRITERS],
    count: u64,
}

impl Acknowledged {
    fn take(&mut self, line: &str) {
        // Whatever else the child says on the same pipe is not an acknowledgement.
        let Some((who, number)) = line.split_once(' ') else { return };
        let Ok(number) = number.parse() else { return };
        if who == "engine" {
            self.engine = Some(number);
        } else if let Some(last) = who.parse().ok().and_then(|writer: usize| self.last.get_mut(writer)) {
            *last = number;
            self.count += 1;
        }
    }
}

/// A child writes until power fails.
fn one_life(mounted: &Mounted, store_dir: &Path, moment: Duration, child_args: &[&str]) -> Acknowledged {
    let (mut child, lines) = spawn(store_dir, child_args);
    let mut acknowledged = Acknowledged::default();
    let end = Instant::now() + moment;
    while let Ok(line) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
        acknowledged.take(&line);
    }
    mounted.cut_power();
    child.kill().expect("kill the child");
    child.wait().expect("wait for the child");
    for line in lines {
        acknowledged.take(&line);
    }
    acknowledged
}

fn spawn(store_dir: &Path, child_args: &[&str]) -> (Child, Receiver<String>) {
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(child_args)
        .env(load::CHILD_DIR, store_dir)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start the child");
    let pipe = child.stderr.take().expect("it was asked to be piped");
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    (child, lines)
}

/// Opens the store and counts acknowledged steps that are not there, as a whole.
fn compare(store_dir: &Path, acknowledged: &Acknowledged) -> u64 {
    let store = match load::open(store_dir) {
        Ok(store) => store,
        Err(error) => {
            println!("the store does not open: {error}: {:?}", error.errno());
            return acknowledged.count.max(1);
        }
    };
    let mut lost = 0;
    if acknowledged.engine.is_some_and(|engine| engine != store.engine()) {
        println!("the engine id changed");
        lost += 1;
    }
    for damage in store.damages().iter().filter(|damage| damage.loses_data()) {
        println!("damaged: {damage:?}");
        lost += 1;
    }
    for writer in 0..load::WRITERS {
        let (found, told) = (load::steps_done(&store, writer), acknowledged.last[writer]);
        if found < told {
            println!("writer {writer}: {told} steps were acknowledged, {found} are there");
            lost += told - found;
        }
        if !load::is_state_after(&store, writer, found) {
            println!("writer {writer}: the state is not that after {found} steps");
            lost += 1;
        }
    }
    lost
}
