//! What the tests on real control groups share: a subtree of their own, and processes that wait to be let go.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gdn_cgroups::{Cgroups, Layout};

/// How long a condition may take to come true before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A subtree that is removed with everything in it, whatever the test did.
pub(crate) struct Subtree {
    cgroups: Option<Cgroups>,
}

impl Subtree {
    pub(crate) fn new(test: &str) -> Self {
        let name = format!("gdn-test-{}-{test}", std::process::id());
        let cgroups = Cgroups::open_in(Layout::detect().unwrap(), &name).unwrap();
        Subtree { cgroups: Some(cgroups) }
    }
}

impl std::ops::Deref for Subtree {
    type Target = Cgroups;

    fn deref(&self) -> &Cgroups {
        self.cgroups.as_ref().unwrap()
    }
}

impl Drop for Subtree {
    fn drop(&mut self) {
        let cgroups = self.cgroups.take().unwrap();
        for name in cgroups.list().unwrap() {
            if let Some(group) = cgroups.open_existing(&name).unwrap() {
                group.kill().unwrap();
            }
        }
        let end = Instant::now() + PATIENCE;
        while let Err(error) = cgroups.remove_all() {
            if Instant::now() >= end {
                assert!(std::thread::panicking(), "{error}");
                return;
            }
            std::thread::yield_now();
        }
    }
}

/// A shell that waits for a line before it does `script`, so that it can be put into a group first.
pub(crate) fn waiting_shell(script: &str) -> Child {
    Command::new("/bin/sh")
        .args(["-c", &format!("read go; {script}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

pub(crate) fn let_go(child: &mut Child) {
    use std::io::Write;
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
}

pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}
