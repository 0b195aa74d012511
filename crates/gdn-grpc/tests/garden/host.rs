//! A containerizer whose processes and tars are real: the in-memory world's, with shell scripts of the host run in no
//! container at all.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use gdn_traits::*;
use gdn_types::*;
use tokio::sync::watch;

/// How many bytes an attachment that asks for old output does not get any more.
pub(crate) const LOST: u64 = 3;

/// See the module. Scripts are the first argument; attaching takes over the one set of pipes. A script that gives its
/// standard output the mode [`Attachment::CUT_OFF`] is cut off there, until somebody attaches again.
pub(crate) struct HostProcesses {
    pub(crate) world: Arc<dyn Containerizer>,
    running: Mutex<HashMap<ProcessId, Running>>,
}

struct Running {
    pid: u32,
    stdin: Option<OwnedFd>,
    pipes: Option<Attachment>,
    status: watch::Receiver<Option<ExitStatus>>,
}

/// The end that marks a tar as complete, in this world.
pub(crate) const TAR_END: &[u8] = b"END OF TAR";

impl HostProcesses {
    pub(crate) fn new(world: Arc<dyn Containerizer>) -> Self {
        HostProcesses { world, running: Mutex::default() }
    }

    fn with<T>(&self, process: &ProcessId, look: impl FnOnce(&mut Running) -> T) -> Result<T> {
        let mut running = self.running.lock().unwrap();
        running.get_mut(process).map(look).ok_or_else(|| Error::process_not_found(process))
    }
}

fn dup(fd: impl AsFd) -> OwnedFd {
    fd.as_fd().try_clone_to_owned().unwrap()
}

#[async_trait]
impl Containerizer for HostProcesses {
    async fn prepare(&self, spec: &SandboxSpec) -> Result<Sandbox> {
        self.world.prepare(spec).await
    }

    async fn create(&self, id: &ContainerId, plan: ContainerPlan) -> Result<CreatedContainer> {
        self.world.create(id, plan).await
    }

    async fn destroy(&self, id: &ContainerId) -> Result<()> {
        self.world.destroy(id).await
    }

    async fn restore(&self, known: &[ContainerId]) -> Result<Vec<Restored>> {
        self.world.restore(known).await
    }

    async fn run(
        &self,
        _: &ContainerId,
        _: &RunContext,
        spec: &ProcessSpec,
        _: Option<SidecarPlan>,
    ) -> Result<(ProcessId, Attachment)> {
        if spec.path == "/missing" {
            return Err(Error::new(ErrorKind::ExecutableNotFound, "no /missing"));
        }
        let id = spec.id.clone().unwrap();
        let mut child = Command::new(&spec.path)
            .args(&spec.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = OwnedFd::from(child.stdin.take().unwrap());
        let attachment = Attachment {
            stdin: Some(dup(&stdin)),
            stdout: child.stdout.take().unwrap().into(),
            stderr: Some(child.stderr.take().unwrap().into()),
            stdout_first: 0,
            stderr_first: 0,
        };
        let pipes = Attachment {
            stdin: None,
            stdout: dup(&attachment.stdout),
            stderr: attachment.stderr.as_ref().map(dup),
            stdout_first: 0,
            stderr_first: 0,
        };
        let (told, status) = watch::channel(None);
        let pid = child.id();
        std::thread::spawn(move || {
            let status = child.wait().unwrap();
            let ended = match status.code() {
                Some(code) => ExitStatus::Code(code as u8),
                None => ExitStatus::Signal(status.signal().unwrap() as u8),
            };
            told.send_replace(Some(ended));
        });
        self.running
            .lock()
            .unwrap()
            .insert(id.clone(), Running { pid, stdin: Some(stdin), pipes: Some(pipes), status });
        Ok((id, attachment))
    }

    async fn attach(&self, _: &ContainerId, process: &ProcessId, from: AttachFrom) -> Result<Attachment> {
        self.with(process, |running| {
            let mut pipes = running.pipes.take().expect("a test attaches once");
            pipes.stdin = running.stdin.as_ref().map(dup);
            rustix::fs::fchmod(&pipes.stdout, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
            pipes.stdout_first = from.stdout.map_or(0, |byte| byte + LOST);
            pipes.stderr_first = from.stderr.map_or(0, |byte| byte + LOST);
            pipes
        })
    }

    async fn wait(&self, _: &ContainerId, process: &ProcessId) -> Result<ExitStatus> {
        let mut status = self.with(process, |running| running.status.clone())?;
        let ended = *status.wait_for(Option::is_some).await.unwrap();
        Ok(ended.unwrap())
    }

    async fn release_name(&self, _: &ContainerId, _: &ProcessId) -> Result<()> {
        Ok(())
    }

    async fn signal(&self, _: &ContainerId, process: &ProcessId, signal: Signal) -> Result<()> {
        let pid = self.with(process, |running| running.pid)?;
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        let signal = rustix::process::Signal::from_named_raw(signal.number()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
        Ok(())
    }

    async fn resize(&self, _: &ContainerId, process: &ProcessId, _: WindowSize) -> Result<()> {
        Err(Error::new(ErrorKind::FailedPrecondition, format!("process {process} has no terminal")))
    }

    async fn close_stdin(&self, _: &ContainerId, process: &ProcessId) -> Result<()> {
        self.with(process, |running| running.stdin = None)
    }

    async fn processes(&self, id: &ContainerId) -> Result<Vec<(ProcessId, ProcessState)>> {
        self.world.processes(id).await
    }

    async fn stop(&self, id: &ContainerId, kill: bool) -> Result<()> {
        self.world.stop(id, kill).await
    }

    /// Takes everything; refuses what begins with `bad`, and what does not end as a tar does here.
    async fn stream_in(
        &self,
        _: &ContainerId,
        _: &RunContext,
        spec: &StreamInSpec,
        source: OwnedFd,
    ) -> Result<()> {
        if spec.path == "/forbidden" {
            return Err(Error::new(ErrorKind::PermissionDenied, "user may not write to /forbidden"));
        }
        let target = spec.path.clone();
        let extraction = tokio::task::spawn_blocking(move || {
            let mut tar = Vec::new();
            File::from(source).read_to_end(&mut tar).unwrap();
            if !tar.ends_with(TAR_END) {
                return Err(Error::invalid("tar is cut short"));
            }
            std::fs::write(target, tar).unwrap();
            Ok(())
        });
        extraction.await.unwrap()
    }

    /// The file of that path; `/broken` breaks off after its first bytes.
    async fn stream_out(&self, _: &ContainerId, _: &RunContext, spec: &StreamOutSpec) -> Result<StreamOut> {
        let (tar, end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let path = spec.path.clone();
        let work = tokio::task::spawn_blocking(move || {
            if path == "/broken" {
                File::from(end).write_all(b"half").unwrap();
                return Err(Error::internal("read /broken: input/output error"));
            }
            // A reader that goes away is not this test's subject.
            let _ = std::io::copy(&mut File::open(path).unwrap(), &mut File::from(end));
            Ok(())
        });
        Ok(StreamOut { tar, done: Box::pin(async { work.await.unwrap() }) })
    }

    async fn metrics(&self, id: &ContainerId) -> Result<ContainerMetrics> {
        self.world.metrics(id).await
    }

    async fn sidecar_metrics(&self, id: &ContainerId, process: &ProcessId) -> Result<ContainerMetrics> {
        self.world.sidecar_metrics(id, process).await
    }

    async fn change_limits(&self, id: &ContainerId, change: &LimitChange) -> Result<Limits> {
        self.world.change_limits(id, change).await
    }

    async fn demote(&self, id: &ContainerId, part: Option<f64>) -> Result<()> {
        self.world.demote(id, part).await
    }

    async fn limits(&self, id: &ContainerId) -> Result<Limits> {
        self.world.limits(id).await
    }
}
