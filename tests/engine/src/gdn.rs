//! One run of the command.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal};

use crate::wait::{PATIENCE, eventually};

/// The binary under test: `GDN_BIN`, else this workspace's development build.
pub fn binary() -> PathBuf {
    let built = || {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debug/gdn");
        // As the program itself tells its path. Where it is not built yet, starting it says so.
        path.canonicalize().unwrap_or(path)
    };
    std::env::var_os("GDN_BIN").map_or_else(built, PathBuf::from)
}

/// A run of the command that goes on. Killed when dropped.
pub struct Gdn {
    child: Option<Child>,
    line: String,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

/// How a run ended and what it printed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The exit status, or 128 and the signal's number.
    pub status: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error, as text.
    pub stderr: String,
    line: String,
}

impl Gdn {
    /// Starts `gdn --root ROOT ARGUMENTS` without standard input.
    pub fn start<I: IntoIterator<Item = A>, A: AsRef<OsStr>>(root: &Path, arguments: I) -> Self {
        Gdn::begin(root, arguments, Stdio::null(), true)
    }

    /// The same with this standard input.
    pub fn start_with_input<I: IntoIterator<Item = A>, A: AsRef<OsStr>>(
        root: &Path,
        arguments: I,
        input: Stdio,
    ) -> Self {
        Gdn::begin(root, arguments, input, true)
    }

    /// The same without a reader of standard output, until somebody takes it with [`Gdn::take_stdout`].
    pub fn start_unread<I: IntoIterator<Item = A>, A: AsRef<OsStr>>(root: &Path, arguments: I) -> Self {
        Gdn::begin(root, arguments, Stdio::null(), false)
    }

    fn begin<I: IntoIterator<Item = A>, A: AsRef<OsStr>>(
        root: &Path,
        arguments: I,
        input: Stdio,
        read: bool,
    ) -> Self {
        let arguments: Vec<OsString> =
            arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        let mut child = Command::new(binary())
            .arg("--root")
            .arg(root)
            .args(&arguments)
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be started: build it with cargo build -p gdn");
        let stdout = if read { Some(collect(child.stdout.take().unwrap())) } else { None };
        let stderr = Some(collect(child.stderr.take().unwrap()));
        Gdn { child: Some(child), line: format!("gdn {arguments:?}"), stdout, stderr }
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    /// Its standard output, if nobody reads it yet.
    pub fn take_stdout(&mut self) -> ChildStdout {
        self.child.as_mut().unwrap().stdout.take().expect("standard output is taken once")
    }

    /// The pipe that leads to its standard input, when it has one.
    pub fn take_stdin(&mut self) -> impl Write + Send + 'static {
        self.child.as_mut().unwrap().stdin.take().expect("standard input is a pipe and taken once")
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(self.child()), signal).unwrap();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end in time, with what it printed on standard error.
    pub fn finish(mut self) -> Outcome {
        let ended = eventually(PATIENCE, || self.child.as_mut().unwrap().try_wait().unwrap());
        if ended.is_none() {
            self.child.as_mut().unwrap().kill().unwrap();
            self.child.as_mut().unwrap().wait().unwrap();
        }
        let collected = |reader: Option<JoinHandle<Vec<u8>>>| reader.map(|reader| reader.join().unwrap());
        let stderr = collected(self.stderr.take()).unwrap_or_default();
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        let stdout = collected(self.stdout.take()).unwrap_or_default();
        let status = ended.unwrap_or_else(|| {
            let printed = String::from_utf8_lossy(&stdout[..stdout.len().min(2000)]).into_owned();
            panic!("{} did not end within {PATIENCE:?}: {printed} {stderr}", self.line)
        });
        self.child = None;
        let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
        Outcome { status, stdout, stderr, line: std::mem::take(&mut self.line) }
    }

    fn child(&self) -> &Child {
        self.child.as_ref().expect("there until the end")
    }
}

impl Drop for Gdn {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Outcome {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Asserts how it ended.
    #[track_caller]
    pub fn expect_status(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{}: {} {}", self.line, self.text(), self.stderr);
        self
    }

    /// Asserts that it failed with an error that names this, and not by a panic.
    #[track_caller]
    pub fn expect_error(self, naming: &str) -> Self {
        assert_ne!(self.status, 0, "{} succeeded", self.line);
        assert!(self.stderr.contains(naming), "{}: {:?} not in: {}", self.line, naming, self.stderr);
        for fault in ["panicked", "internal error", "RUST_BACKTRACE"] {
            assert!(!self.stderr.contains(fault), "{}: {}", self.line, self.stderr);
        }
        self
    }
}

fn collect(mut reader: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).expect("a pipe of a child can be read");
        bytes
    })
}
