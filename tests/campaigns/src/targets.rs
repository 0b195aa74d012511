//! Who is attacked: the engine, and those known to be weak.

mod bare;
mod peer;

use std::fmt;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use engine_tests::session::{as_user, collect, program};
use engine_tests::{Engine, PATIENCE, eventually};
use gdn_types::{ErrorKind, Handle, ProcessSpec};

pub use bare::Bare;
pub use peer::Peer;

/// The static program of attempts, which is `/bin/probe` in the image of the bed.
pub fn probe() -> PathBuf {
    PathBuf::from(env!("GDN_PROBE"))
}

/// What a program that was run somewhere said.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its exit status, or 128 and the signal's number; `None` when it was never started.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error, or why it was never started.
    pub stderr: String,
}

impl Seen {
    /// Both outputs.
    pub fn everything(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Standard output without the space around it.
    ///
    /// # Panics
    /// When it did not end with 0: the case is broken.
    #[track_caller]
    pub fn said(&self) -> &str {
        assert_eq!(self.status, Some(0), "{self}");
        self.stdout.trim()
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |text: &str| text.trim().chars().take(600).collect::<String>();
        match self.status {
            Some(status) => write!(f, "ended with {status}: ")?,
            None => write!(f, "not started: ")?,
        }
        write!(f, "{} {}", short(&self.stdout), short(&self.stderr))
    }
}

/// Where a program of an attempt is run.
pub trait Target {
    /// Runs a program of the image as a user to its end.
    fn run(&self, user: &str, words: &[&str]) -> Seen;

    /// Runs a script of the image's shell.
    fn shell(&self, user: &str, script: &str) -> Seen {
        self.run(user, &["sh", "-c", script])
    }
}

/// A container of the engine.
#[derive(Clone)]
pub struct Inside<'a> {
    engine: &'a Engine,
    handle: Handle,
}

impl<'a> Inside<'a> {
    /// A container of this engine.
    pub fn new(engine: &'a Engine, handle: &Handle) -> Self {
        Inside { engine, handle: handle.clone() }
    }

    /// Runs a process of the container.
    pub fn process(&self, spec: ProcessSpec) -> Seen {
        let run = async |client: gdn_client::Client| {
            let process = client.run(&self.handle, spec).await?;
            process.input().close_stdin().await.or_else(|error| match error.kind() {
                // It has ended already.
                ErrorKind::FailedPrecondition => Ok(()),
                _ => Err(error),
            })?;
            collect(process).await
        };
        let ran = self.engine.with_client(async |client| tokio::time::timeout(PATIENCE, run(client)).await);
        match ran.unwrap_or_else(|_| panic!("a process was not over after {PATIENCE:?}")) {
            Ok(ran) => Seen { status: Some(ran.status.code()), stdout: ran.text(), stderr: ran.errors() },
            Err(error) => Seen { status: None, stdout: String::new(), stderr: error.report() },
        }
    }
}

impl Target for Inside<'_> {
    fn run(&self, user: &str, words: &[&str]) -> Seen {
        self.process(as_user(user, program(words)))
    }
}

/// Runs a command of the host to its end. What does not end in time is killed with its process group, which is a broken case.
pub(crate) fn finish(mut command: Command) -> Seen {
    let spawned =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            return Seen { status: None, stdout: String::new(), stderr: format!("{command:?}: {error}") };
        }
    };
    let collect = |mut pipe: Box<dyn Read + Send>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).expect("a pipe of a child can be read");
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = collect(Box::new(child.stdout.take().expect("it is piped")));
    let stderr = collect(Box::new(child.stderr.take().expect("it is piped")));
    let ended = eventually(PATIENCE, || child.try_wait().unwrap());
    let status = ended.unwrap_or_else(|| {
        let group = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        child.wait().unwrap()
    });
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    assert!(ended.is_some(), "{command:?} did not end within {PATIENCE:?}: {stdout} {stderr}");
    let status = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Seen { status, stdout, stderr }
}
