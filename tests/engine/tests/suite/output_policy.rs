//! Output that nobody reads, and readers that come back for it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::ChildStdout;

use engine_tests::{Engine, Gdn, inside, until};
use rustix::process::Signal;

/// How many numbers are counted where the process is to be held back: their text is larger than every buffer on its way.
const MANY: u64 = 2_000_000;

/// Reads from a follower whose server is about to be killed.
struct Follower {
    command: Gdn,
    stdout: BufReader<ChildStdout>,
    read: Vec<u8>,
}

impl Follower {
    fn start(engine: &Engine, arguments: &[&str]) -> Self {
        let mut command = Gdn::start_unread(&engine.root(), arguments);
        let stdout = BufReader::new(command.take_stdout());
        Follower { command, stdout, read: Vec::new() }
    }

    fn read_lines(&mut self, lines: usize) {
        for _ in 0..lines {
            self.stdout.read_until(b'\n', &mut self.read).unwrap();
        }
        assert!(self.read.ends_with(b"\n"), "the follower ended early");
    }

    /// Everything it wrote before it ended, because it, or the server, was killed.
    fn finish(mut self) -> Vec<u8> {
        self.stdout.read_to_end(&mut self.read).unwrap();
        assert_ne!(self.command.finish().status, 0, "somebody was killed");
        self.read
    }
}

fn numbers(to: u64) -> String {
    (1..=to).map(|number| format!("{number}\n")).collect()
}

/// Conformance: A8
#[test]
fn a_process_that_blocks_goes_on_without_gap_or_duplicate_after_its_server_was_killed() {
    let mut engine = Engine::start();
    let handle = engine.create(&[]);
    let init = engine.init_pid(&handle);
    let many = MANY.to_string();
    let policy = ["--output-policy", "block", "--process", "p"];
    let arguments = [&["exec"][..], &policy, &[&handle, "seq", "1", &many]].concat();
    let mut follower = Follower::start(&engine, &arguments);
    follower.read_lines(1000);

    engine.kill_server();
    let mut read = follower.finish();
    engine.start_server(&[]);
    assert!(!inside::processes_beside(init).is_empty(), "the process did not wait for a reader");

    let rest = engine.gdn(["attach", "--from", &read.len().to_string(), &handle, "p"]).expect_status(0);
    assert_eq!(rest.stderr, "", "something was lost");
    read.extend(rest.stdout);
    assert!(read == numbers(MANY).into_bytes(), "{} bytes", read.len());
    engine.finish();
}

#[test]
fn a_process_that_blocks_goes_on_without_gap_or_duplicate_after_its_readers_were_killed() {
    let engine = Engine::start();
    let handle = engine.create(&[]);
    let many = MANY.to_string();
    let policy = ["--output-policy", "block", "--process", "p"];
    let first = [&["exec"][..], &policy, &[&handle, "seq", "1", &many]].concat();
    let mut follower = Follower::start(&engine, &first);
    let mut read = Vec::new();
    for lines in [1000, 100_000, 300_000] {
        follower.read_lines(lines);
        follower.command.signal(Signal::KILL);
        read.extend(follower.finish());
        let from = read.len().to_string();
        follower = Follower::start(&engine, &["attach", "--from", &from, &handle, "p"]);
    }
    let mut rest = Vec::new();
    follower.stdout.read_to_end(&mut rest).unwrap();
    let outcome = follower.command.finish();
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "something was lost");
    read.extend(rest);
    assert!(read == numbers(MANY).into_bytes(), "{} bytes", read.len());
    engine.finish();
}

#[test]
fn kept_output_of_a_process_that_ended_while_no_server_ran_is_read_without_gap_or_duplicate() {
    let mut engine = Engine::start();
    let handle = engine.create(&[]);
    let init = engine.init_pid(&handle);
    let script = "seq 1 5000; while [ ! -e /tmp/go ]; do sleep 0.01; done; seq 5001 10000; exit 7";
    let policy = ["--output-policy", "keep=1M", "--process", "p"];
    let arguments = [&["exec"][..], &policy, &[&handle, "sh", "-c", script]].concat();
    let mut follower = Follower::start(&engine, &arguments);
    follower.read_lines(100);

    engine.kill_server();
    let mut read = follower.finish();
    fs::write(inside::path(init, "/tmp/go"), "").unwrap();
    until("the process to end", || inside::processes_beside(init).is_empty());
    engine.start_server(&[]);

    let rest = engine.gdn(["attach", "--from", &read.len().to_string(), &handle, "p"]).expect_status(7);
    read.extend(rest.stdout);
    assert!(read == numbers(10_000).into_bytes(), "{} bytes", read.len());
    let again = engine.gdn(["attach", "--from", "0", &handle, "p"]).expect_status(7);
    assert_eq!(again.stdout, read);
    engine.finish();
}

#[test]
fn a_reader_is_told_how_many_bytes_are_not_kept_any_more() {
    let engine = Engine::start();
    let handle = engine.create(&[]);
    let script = "printf 0123456789abcdef; printf error >&2";
    let policy = ["--output-policy", "keep=10", "--process", "p"];
    let arguments = [&["exec"][..], &policy, &[&handle, "sh", "-c", script]].concat();
    engine.gdn(arguments).expect_status(0);

    let late = engine.gdn(["attach", "--from", "2", &handle, "p"]).expect_status(0);
    assert_eq!(late.text(), "6789abcdef");
    let told = late.stderr;
    assert!(told.contains("4 bytes of standard output are lost") && told.ends_with("ror"), "{told:?}");
    let new = engine.gdn(["attach", &handle, "p"]).expect_status(0);
    assert_eq!((new.stdout, new.stderr), (Vec::new(), String::new()));
    engine.finish();
}

#[test]
fn more_output_than_can_be_kept_is_refused() {
    let engine = Engine::start();
    let handle = engine.create(&[]);
    let handle = gdn_types::Handle::parse(&handle).unwrap();
    let spec =
        gdn_types::ProcessSpec { keep_output: (4 << 20) + 1, ..engine_tests::session::program(&["true"]) };
    let error = engine.try_run(&handle, spec).unwrap_err();
    assert_eq!(error.kind(), gdn_types::ErrorKind::InvalidArgument, "{}", error.report());
    engine.finish();
}
