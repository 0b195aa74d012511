//! A network namespace for a test, and the tools that look at it.

#![allow(unsafe_code, reason = "unshare(2) is safe only when it leaves the table of descriptors alone")]

use std::process::Command;
use std::time::{Duration, Instant};

use gdn_nft::{Family, Socket, Table};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Runs a test in a network namespace that goes with it. Programs started by it are in the namespace too.
pub(crate) fn in_own_network(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        // SAFETY: a network namespace is the thread's; the table of descriptors is not unshared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("tests of the kernel are run as root");
        run("ip link set lo up");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a program and gives what it wrote; it must succeed.
pub(crate) fn run(line: &str) -> String {
    let (fine, out) = attempt(line);
    assert!(fine, "{line}: {out}");
    out
}

/// Runs a program: whether it succeeded, and what it wrote.
pub(crate) fn attempt(line: &str) -> (bool, String) {
    let mut words = line.split(' ');
    let program = words.next().unwrap();
    let out = Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Waits for a condition. A socket that was dropped is there until programs that other tests are starting have replaced
/// their copy of this process.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        std::thread::yield_now();
    }
}

/// The lines of `nft list`, without the indentation.
pub(crate) fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// Asserts that these lines are there, one after the other.
pub(crate) fn shows(text: &str, expected: &[&str]) {
    let found = lines(text);
    let there = found.windows(expected.len()).any(|window| window == expected);
    assert!(there, "expected {expected:#?} in {text}");
}

pub(crate) fn table() -> Table {
    Table::new(Family::Inet, "t")
}

pub(crate) fn socket() -> Socket {
    Socket::open().unwrap()
}
