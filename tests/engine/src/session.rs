//! Containers and processes over the client, for what the command cannot ask for.

use gdn_client::ProcessEvent;
use gdn_types::{ContainerSpec, ExitStatus, Handle, ImageRef, ProcessSpec, Result};

use crate::{Engine, PATIENCE, images};

/// What a process printed and how it ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Standard output, or everything a terminal showed.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// How it ended.
    pub status: ExitStatus,
}

impl Ran {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Asserts the exit status, as clients see it.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.status.code(), code, "{} {}", self.text(), self.errors());
        self
    }
}

/// A program and its arguments.
pub fn program(words: &[&str]) -> ProcessSpec {
    let (path, args) = words.split_first().expect("a program has a name");
    ProcessSpec {
        path: (*path).to_owned(),
        args: args.iter().map(ToString::to_string).collect(),
        ..ProcessSpec::default()
    }
}

/// A script of the image's shell.
pub fn script(text: &str) -> ProcessSpec {
    program(&["sh", "-c", text])
}

/// The same process as another user.
pub fn as_user(user: &str, spec: ProcessSpec) -> ProcessSpec {
    ProcessSpec { user: user.to_owned(), ..spec }
}

impl Engine {
    /// Creates a container; of busybox when the spec names no image.
    ///
    /// # Errors
    /// What the server answers.
    pub fn try_create(&self, mut spec: ContainerSpec) -> Result<Handle> {
        if spec.image.uri.is_empty() {
            spec.image = ImageRef::uri(self.image());
        }
        self.with_client(async |client| client.create(spec).await)
    }

    /// Creates a container.
    #[track_caller]
    pub fn create_from(&self, spec: ContainerSpec) -> Handle {
        self.try_create(spec).unwrap_or_else(|error| panic!("{}", error.report()))
    }

    /// Runs a process without input to its end.
    ///
    /// # Errors
    /// What the server answers.
    pub fn try_run(&self, handle: &Handle, spec: ProcessSpec) -> Result<Ran> {
        self.with_client(async |client| {
            let process = client.run(handle, spec).await?;
            process.input().close_stdin().await.or_else(|error| match error.kind() {
                // It has ended already.
                gdn_types::ErrorKind::FailedPrecondition => Ok(()),
                _ => Err(error),
            })?;
            collect(process).await
        })
    }

    /// Runs a process without input to its end.
    #[track_caller]
    pub fn run(&self, handle: &Handle, spec: ProcessSpec) -> Ran {
        self.try_run(handle, spec).unwrap_or_else(|error| panic!("{}", error.report()))
    }

    /// Makes an image of busybox with changes, and tells its URI.
    pub fn image_with(&self, name: &str, change: impl FnOnce(&std::path::Path)) -> String {
        let rootfs = self.scratch().join(name);
        images::directory(&rootfs);
        change(&rootfs);
        images::oci(&rootfs, &self.scratch().join(format!("{name}-layout")))
    }
}

/// Everything a process sends until its exit.
///
/// # Errors
/// What the server answers; a stream without an exit status panics.
pub async fn collect(mut process: gdn_client::ProcessStream) -> Result<Ran> {
    let (mut stdout, mut stderr, mut ended) = (Vec::new(), Vec::new(), None);
    loop {
        let event = tokio::time::timeout(PATIENCE, process.next()).await;
        match event.unwrap_or_else(|_| panic!("process {} was silent for {PATIENCE:?}", process.id()))? {
            Some(ProcessEvent::Stdout(bytes)) => stdout.extend_from_slice(&bytes),
            Some(ProcessEvent::Stderr(bytes)) => stderr.extend_from_slice(&bytes),
            Some(lost @ (ProcessEvent::StdoutLost(_) | ProcessEvent::StderrLost(_))) => panic!("{lost:?}"),
            Some(ProcessEvent::Exited(status)) => ended = Some(status),
            None => break,
        }
    }
    Ok(Ran { stdout, stderr, status: ended.expect("a stream ends with an exit status") })
}

/// Reads standard output until the text has come, and tells what came.
///
/// # Panics
/// When something else comes, or nothing within [`PATIENCE`].
pub async fn read_until(process: &mut gdn_client::ProcessStream, wanted: &str) -> String {
    let mut text = String::new();
    while !text.contains(wanted) {
        let event = tokio::time::timeout(PATIENCE, process.next()).await;
        match event.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {wanted:?} after {text:?}")).unwrap() {
            Some(ProcessEvent::Stdout(bytes)) => text.push_str(&String::from_utf8_lossy(&bytes)),
            other => panic!("waited for {wanted:?}: {other:?} after {text:?}"),
        }
    }
    text
}
