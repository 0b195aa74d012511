//! The containerizer: namespaces, cgroups, init, processes and their streams.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;

use async_trait::async_trait;
use gdn_types::{
    ApparmorProfile, AttachFrom, BindMount, CapabilityProfile, ContainerId, ContainerMetrics, Environment,
    ExitStatus, HostIds, LimitChange, Limits, ProcessId, ProcessSpec, ProcessState, Result, SeccompProfile,
    Signal, StreamInSpec, StreamOutSpec, WantOfMemory, WindowSize,
};

/// Makes containers out of kernel objects and runs processes in them.
///
/// # The story of a container
///
/// [`prepare`](Self::prepare) makes the container's cgroups and its *sandbox*: a process in namespaces of its own (user,
/// pid, mount, network, ipc, uts, cgroup) that runs our code, blocked, with nothing of the image in sight. The network
/// namespace belongs to the container's user namespace. The networker works on the sandbox's descriptors meanwhile.
///
/// [`create`](Self::create) gives the sandbox its root file system and turns it into the container's init. From then on
/// processes can be run, until [`destroy`](Self::destroy).
///
/// A container outlives the engine's process: it is held by a keeper, a small process of its own. After a restart of the
/// engine [`restore`](Self::restore) finds the keepers again. If a keeper dies, its container dies with it and is *lost*.
///
/// # Processes
///
/// [`run`](Self::run) starts a process and returns the first [`Attachment`]; [`attach`](Self::attach) makes further ones.
/// Each attachment has pipes of its own: every attachment receives every byte from its beginning on. A reader that does not
/// read holds the process back (and so the other readers); one that closes its ends is forgotten. Standard input is shared:
/// what attachments write is interleaved, and only [`close_stdin`](Self::close_stdin) ends it, never a client that goes away.
///
/// The exit status is written down before anyone is told, is told to every [`wait`](Self::wait)er, as often as it is asked
/// for, and survives a kill of the engine. Output written before the exit is complete on the attachments' pipes, which then
/// reach end of file.
///
/// # Sidecars
///
/// A process with a root file system of its own shares every namespace of the container but the mounts, and the container's
/// `/etc/hosts` and `/etc/resolv.conf`. With limits of its own, even empty ones, it counts towards those and not towards the
/// container's, its limit of tasks included; else it shares the container's. When it ends, so does every process that it started.
#[async_trait]
pub trait Containerizer: Send + Sync + 'static {
    /// Makes the container's cgroups with their limits, its keeper, and its sandbox.
    ///
    /// # Errors
    /// `PermissionDenied` when privileged containers are switched off; `ResourceExhausted` when the kernel's pools are;
    /// `InvalidArgument` for a limit that the kernel refuses, naming it.
    async fn prepare(&self, spec: &SandboxSpec) -> Result<Sandbox>;

    /// Mounts the root file system and starts init. On return the container is complete.
    ///
    /// # Errors
    /// `ImageInvalid` when the root file system cannot hold a container (`/proc` or `/dev` is a link, say), naming the
    /// path; `InvalidArgument` for a bind mount whose source does not exist or whose target cannot be made;
    /// `FailedPrecondition` for an AppArmor profile that the kernel does not have.
    async fn create(&self, id: &ContainerId, plan: ContainerPlan) -> Result<CreatedContainer>;

    /// Ends every process and removes every kernel object and run-time file of the container.
    ///
    /// On return every process is reaped. Unmounting, cgroup and file removal may still be under way for up to 5 s in the
    /// background; they are found again after a crash.
    async fn destroy(&self, id: &ContainerId) -> Result<()>;

    /// Adopts the containers in `known`, in this order, and destroys every other container of this engine.
    ///
    /// Called once, before anything else.
    async fn restore(&self, known: &[ContainerId]) -> Result<Vec<Restored>>;

    /// Starts a process; with a `sidecar`, as one.
    ///
    /// # Errors
    /// `AlreadyExists` when the process id is taken by a process whose record still exists, and whose name was not released; `ExecutableNotFound`;
    /// `UserNotFound`; `Lost` when the container is.
    async fn run(
        &self,
        id: &ContainerId,
        context: &RunContext,
        spec: &ProcessSpec,
        sidecar: Option<SidecarPlan>,
    ) -> Result<(ProcessId, Attachment)>;

    /// Attaches to a process, beginning with the bytes in `from`, or as near to them as they are kept; to one that has ended,
    /// with output pipes that are at their end, once what is kept of its output is read.
    ///
    /// # Errors
    /// `ProcessNotFound`; `Lost` when the process belonged to an earlier life of the host.
    async fn attach(&self, id: &ContainerId, process: &ProcessId, from: AttachFrom) -> Result<Attachment>;

    /// Waits until the process has ended.
    ///
    /// # Errors
    /// `ProcessNotFound`; `Lost` when its status cannot be known.
    async fn wait(&self, id: &ContainerId, process: &ProcessId) -> Result<ExitStatus>;

    /// Lets the name of a process that has ended be taken again, also after a restart of the engine. What is known of the
    /// process stays until then. Of one that runs, or of which nothing is known, nothing changes.
    async fn release_name(&self, id: &ContainerId, process: &ProcessId) -> Result<()>;

    /// Sends a signal to the process; to one that has ended, nothing, successfully.
    async fn signal(&self, id: &ContainerId, process: &ProcessId, signal: Signal) -> Result<()>;

    /// Changes the size of the process's terminal.
    ///
    /// # Errors
    /// `FailedPrecondition` when the process has no terminal.
    async fn resize(&self, id: &ContainerId, process: &ProcessId, size: WindowSize) -> Result<()>;

    /// Ends the process's standard input, for good. With a terminal, sends its end-of-file character.
    async fn close_stdin(&self, id: &ContainerId, process: &ProcessId) -> Result<()>;

    /// The processes whose records exist.
    async fn processes(&self, id: &ContainerId) -> Result<Vec<(ProcessId, ProcessState)>>;

    /// Ends every process except init: with `kill` by KILL at once, else by TERM, repeated each second, and after 10 s by
    /// KILL. Returns when none is left or KILL has been sent ten times.
    async fn stop(&self, id: &ContainerId, kill: bool) -> Result<()>;

    /// Extracts the tar that `source` delivers, as the given user, inside the container. Reads to the end of the archive.
    ///
    /// # Errors
    /// `UserNotFound`; `PermissionDenied` when the user may not write there; `InvalidArgument` for a damaged or truncated tar.
    async fn stream_in(
        &self,
        id: &ContainerId,
        context: &RunContext,
        spec: &StreamInSpec,
        source: OwnedFd,
    ) -> Result<()>;

    /// Makes a tar of a file or directory of the container, read as the given user.
    async fn stream_out(
        &self,
        id: &ContainerId,
        context: &RunContext,
        spec: &StreamOutSpec,
    ) -> Result<StreamOut>;

    /// The container's figures, disk and network excepted.
    async fn metrics(&self, id: &ContainerId) -> Result<ContainerMetrics>;

    /// The figures of a running sidecar, disk and network excepted. Of one that shares the container's limits, memory is 0 on a
    /// host with cgroup v2 only: the kernel does not count it apart.
    ///
    /// # Errors
    /// `ProcessNotFound` when there is no such sidecar.
    async fn sidecar_metrics(&self, id: &ContainerId, process: &ProcessId) -> Result<ContainerMetrics>;

    /// The limits as the kernel has them now.
    async fn limits(&self, id: &ContainerId) -> Result<Limits>;

    /// Changes limits, and answers with all of them as the kernel has them then. They last as long as the container.
    ///
    /// # Errors
    /// `FailedPrecondition` for less memory than is in use, and then nothing is changed; `InvalidArgument` for a limit that the
    /// kernel refuses, naming it.
    async fn change_limits(&self, id: &ContainerId, change: &LimitChange) -> Result<Limits>;

    /// Lets only a part of the container's processor weight count against the others, above 0 and at most 1; with `None`, all of
    /// it again. [`limits`](Self::limits) tells all of it meanwhile, and so it is changed; [`metrics`](Self::metrics) tells
    /// that it is demoted. It does not outlast the engine: [`restore`](Self::restore) gives every container all of its weight.
    async fn demote(&self, id: &ContainerId, part: Option<f64>) -> Result<()>;
}

/// Receives what a component notices by itself. Never blocks and never fails: a full queue counts what it drops.
pub trait EventSink: Send + Sync + 'static {
    /// A process ended; its status is already written down.
    fn process_exited(&self, id: &ContainerId, process: &ProcessId, status: ExitStatus);
    /// The kernel ended something in the container for want of memory. `kills` is how often, since that container or sidecar was made: a [`restore`](Containerizer::restore) tells what it
    /// finds, which may have been told to an earlier engine.
    fn out_of_memory(&self, id: &ContainerId, want: &WantOfMemory, kills: u64);
    /// The container's keeper or init is gone though nobody asked for it.
    fn container_lost(&self, id: &ContainerId, reason: &str);
}

/// What a sandbox is made from.
#[derive(Clone, Debug)]
pub struct SandboxSpec {
    /// The container.
    pub id: ContainerId,
    /// Host name inside.
    pub hostname: String,
    /// Without a user namespace, with wide capabilities.
    pub privileged: bool,
    /// The host ids that are its own; absent: the map that all share. A privileged one has neither.
    pub ids: Option<HostIds>,
    /// Limits to set before anything runs.
    pub limits: Limits,
}

/// A blocked sandbox, as the networker needs it.
#[derive(Debug)]
pub struct Sandbox {
    /// Host pid of the sandbox's process: the later init, except where an external runtime starts one of its own.
    pub pid: u32,
    /// Its pidfd.
    pub pidfd: OwnedFd,
    /// Its network namespace, owned by the container's user namespace (the host's when privileged).
    pub netns: OwnedFd,
}

/// What turns a sandbox into a container.
#[derive(Debug)]
pub struct ContainerPlan {
    /// The root file system: a detached mount, moved into the container.
    pub rootfs: OwnedFd,
    /// Mounts of the image, below the clients' own.
    pub image_mounts: Vec<ImageMount>,
    /// As [`Volume::places`](crate::Volume::places).
    pub places: Option<(u32, u32)>,
    /// Bind mounts of the client and of the network, in order.
    pub bind_mounts: Vec<BindMount>,
    /// Kernel settings of the container's namespaces, in order.
    pub sysctls: Vec<(String, String)>,
    /// Which system calls are allowed.
    pub seccomp: SeccompProfile,
    /// Which capabilities init inherits.
    pub capabilities: CapabilityProfile,
    /// Which AppArmor profile confines its processes.
    pub apparmor: ApparmorProfile,
}

/// The root file system of a sidecar; its bind mounts and limits are in its [`ProcessSpec`].
#[derive(Debug)]
pub struct SidecarPlan {
    /// The root: a detached mount, moved into the sidecar.
    pub rootfs: OwnedFd,
    /// Mounts of the image, below the client's own.
    pub image_mounts: Vec<ImageMount>,
    /// As [`Volume::places`](crate::Volume::places).
    pub places: Option<(u32, u32)>,
}

/// A mount that an image brings with it.
#[derive(Debug)]
pub struct ImageMount {
    /// A detached mount.
    pub mount: OwnedFd,
    /// Where it goes, below the container's root.
    pub target: std::path::PathBuf,
}

/// A complete container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedContainer {
    /// Host pid of init.
    pub init_pid: u32,
    /// Where the containerizer keeps the container's run-time files.
    pub path: std::path::PathBuf,
}

/// What [`Containerizer::restore`] found of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restored {
    /// It runs.
    Running(CreatedContainer),
    /// It does not; the text says why, for a person.
    Lost(String),
}

/// What a process inherits from its container.
#[derive(Clone, Debug, Default)]
pub struct RunContext {
    /// Environment of the image and the container.
    pub env: Environment,
    /// Whether the container is privileged.
    pub privileged: bool,
    /// The host ids that are its own.
    pub ids: Option<HostIds>,
    /// Which capabilities it inherits.
    pub capabilities: CapabilityProfile,
}

/// One client's own ends of a process's streams. They may be set not to block.
///
/// An output may be ended early while other attachments have one that is read faster. Its pipe then has the mode
/// [`Attachment::CUT_OFF`], and the client that read it to its end attaches again, from the byte it lacks on.
#[derive(Debug)]
pub struct Attachment {
    /// Write end of standard input; of a terminal, its writing half. Absent once standard input was closed.
    pub stdin: Option<OwnedFd>,
    /// Read end of standard output; with a terminal, all output.
    pub stdout: OwnedFd,
    /// Read end of standard error; absent with a terminal.
    pub stderr: Option<OwnedFd>,
    /// The number of the first byte that comes out of standard output; 0 is the first that the process wrote. Of an output that
    /// has ended and of which nothing is left it is how many bytes that was, or 0 if that is not known any more.
    pub stdout_first: u64,
    /// The same of standard error.
    pub stderr_first: u64,
}

impl Attachment {
    /// The permission bits of a pipe whose end need not be the end of the output.
    pub const CUT_OFF: u32 = 0o601;
}

/// A tar on its way out.
pub struct StreamOut {
    /// Read end; end of file alone does not mean success.
    pub tar: OwnedFd,
    /// Tells, after the end of file, whether the tar is complete.
    pub done: Pin<Box<dyn Future<Output = Result<()>> + Send>>,
}
