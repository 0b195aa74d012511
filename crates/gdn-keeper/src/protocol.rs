//! Messages between the engine, the launcher and the keepers.
//!
//! Descriptors travel beside a message; each message says which ones, in order.

/// Version of this protocol. Keepers live as long as their containers, so an engine may meet older ones.
///
/// 2: [`Kill::leave`]. `Prepare` and `Create` only ever reach keepers of the engine's own version.
pub const VERSION: u32 = 2;

/// The mode of a pipe whose end need not be the end of the output: its reader was too slow for others, and was cut off. It
/// finds what is still there by an [`Attach`] with the number of the byte it lacks.
pub const CUT_OFF: u32 = 0o601;

/// Engine to launcher, and engine to keeper.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// Chosen by the sender, repeated in the reply.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// What to do.
    #[prost(oneof = "Call", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18")]
    pub call: Option<Call>,
}

/// What to do.
#[allow(clippy::large_enum_variant, reason = "one at a time is held, for as long as it is answered")]
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Call {
    /// To the launcher. Descriptors: the keeper's listening socket, the exit log, and, if there is one, a connection that the
    /// keeper serves from its start on, whatever already waits in it included.
    #[prost(message, tag = "2")]
    Launch(Launch),
    /// To the launcher: make a user namespace with the given map. Reply descriptors: the namespace.
    #[prost(message, tag = "3")]
    UserNamespace(UserNamespace),
    /// To a keeper, first of all.
    #[prost(message, tag = "4")]
    Hello(Hello),
    /// Descriptors: the container's node in the cgroup v2 tree if `unified`.
    /// Reply descriptors: pidfd of the sandbox, its network namespace.
    #[prost(message, tag = "5")]
    Prepare(Prepare),
    /// Descriptors: the root file system, one detached mount for each of `mounts`, then the container's `tasks` in each cgroup
    /// v1 tree. Reply descriptors: the root directory.
    #[prost(message, tag = "6")]
    Create(Create),
    /// Reply descriptors as in [`Streams`].
    #[prost(message, tag = "7")]
    Run(Run),
    /// Reply descriptors as in [`Streams`].
    #[prost(message, tag = "8")]
    Attach(Attach),
    /// Signal one process.
    #[prost(message, tag = "9")]
    Signal(Signal),
    /// Change the size of a terminal.
    #[prost(message, tag = "10")]
    Resize(Resize),
    /// End a process's standard input.
    #[prost(message, tag = "11")]
    CloseStdin(CloseStdin),
    /// Copy files in or out. Descriptors: the pipe to read the tar from or write it to. The reply comes at the end.
    #[prost(message, tag = "12")]
    Transfer(Transfer),
    /// End the container. The reply comes when every process has been reaped.
    #[prost(message, tag = "13")]
    Kill(Kill),
    /// End the keeper, and with it whatever is left.
    #[prost(message, tag = "14")]
    Shutdown(Shutdown),
    /// Write into the exit log that the name of a process that has ended may be taken again.
    #[prost(message, tag = "15")]
    Forget(Forget),
    /// To a keeper, instead of [`Call::Prepare`]: make the namespaces that an external runtime's container is to live in.
    /// Reply descriptors: pidfd of the process that holds them, the network namespace.
    #[prost(message, tag = "16")]
    Sandbox(Sandbox),
    /// Instead of [`Call::Create`]: have an external runtime make the container, whose init is then the keeper's child.
    /// Descriptors: one detached mount for each of the client's `mounts`, then the container's `tasks` in each cgroup v1 tree.
    /// Reply descriptors: the root directory.
    #[prost(message, tag = "17")]
    Assemble(Assemble),
    /// Run a client of an external runtime to its end, for example to delete what it remembers of a container.
    #[prost(message, tag = "18")]
    Client(Client),
}

/// Make a keeper.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Launch {}

/// Make a user namespace.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UserNamespace {
    /// Lines of `uid_map` and `gid_map`: triples of inside, outside, length.
    #[prost(uint32, repeated, tag = "1")]
    pub map: Vec<u32>,
}

/// The first message of a connection.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Hello {
    /// The engine's [`VERSION`].
    #[prost(uint32, tag = "1")]
    pub version: u32,
}

/// Make the sandbox.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Prepare {
    /// No user namespace.
    #[prost(bool, tag = "1")]
    pub privileged: bool,
    /// Whether the first descriptor is a cgroup v2 directory.
    #[prost(bool, tag = "2")]
    pub unified: bool,
    /// Host name.
    #[prost(string, tag = "3")]
    pub hostname: String,
    /// The host's user that owns the user namespace: what the kernel counts by owner is counted for this container alone.
    #[prost(uint32, tag = "4")]
    pub owner: u32,
    /// Lines of `uid_map` and `gid_map`: triples of inside, outside, length. Ids of root are among them, unless privileged.
    #[prost(uint32, repeated, tag = "5")]
    pub map: Vec<u32>,
}

/// Make a user namespace (unless it is to be privileged) and a network namespace, for an external runtime.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Sandbox {
    /// No user namespace.
    #[prost(bool, tag = "1")]
    pub privileged: bool,
    /// Whether the first descriptor is the container's cgroup v2 directory.
    #[prost(bool, tag = "2")]
    pub unified: bool,
    /// As in [`Prepare`].
    #[prost(uint32, repeated, tag = "3")]
    pub map: Vec<u32>,
}

/// Have an external runtime make the container.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Assemble {
    /// The program that makes it. It ends once init runs; init's number is then in its `pid_file`.
    #[prost(message, optional, tag = "1")]
    pub client: Option<Client>,
}

/// One execution of an external runtime: a program that starts a process, leaves it to the keeper, and ends.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Client {
    /// Program, an absolute path, and arguments.
    #[prost(string, repeated, tag = "1")]
    pub args: Vec<String>,
    /// The directory it is started in; only root can enter it.
    #[prost(string, tag = "2")]
    pub dir: String,
    /// Where it writes the number of the process that it started; empty when it starts none.
    #[prost(string, tag = "3")]
    pub pid_file: String,
    /// The name, in `dir`, of the socket to which it sends the terminal of that process; empty without a terminal.
    #[prost(string, tag = "4")]
    pub console: String,
    /// The name, in `stage`, under which each mount descriptor is shown, in order.
    #[prost(string, repeated, tag = "5")]
    pub mounts: Vec<String>,
    /// Mounts of the host that are taken off in a mount namespace of the client's own.
    #[prost(string, repeated, tag = "6")]
    pub hidden: Vec<String>,
    /// A directory that everybody can enter, on which, in that namespace, a read-only file system with `garden-init` and the
    /// mounts is shown; empty for none.
    #[prost(string, tag = "7")]
    pub stage: String,
    /// Born in the container's cgroup v2 node (a sidecar's: in the sidecar's). Otherwise the runtime alone places what it starts.
    #[prost(bool, tag = "8")]
    pub inside: bool,
    /// Files of the container that are shown on the stage: the path in the container and the name, alternating.
    #[prost(string, repeated, tag = "9")]
    pub shared: Vec<String>,
}

/// Set up the root file system and start init. Numbers 5 and 6 were cgroups to show, which are mounts like others now.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Create {
    /// Where each further mount descriptor goes, in order.
    #[prost(string, repeated, tag = "1")]
    pub mounts: Vec<String>,
    /// Kernel settings: `net.ipv4.ping_group_range` and its value, alternating.
    #[prost(string, repeated, tag = "2")]
    pub sysctls: Vec<String>,
    /// The seccomp program for every process, as the kernel's instructions; empty for none.
    #[prost(bytes = "vec", tag = "3")]
    pub seccomp: Vec<u8>,
    /// Capabilities of init and the bounding set of every process.
    #[prost(uint64, tag = "4")]
    pub capabilities: u64,
    /// Inheritable capabilities of init.
    #[prost(uint64, tag = "7")]
    pub inheritable: u64,
    /// Files of `/proc/sys/user` of the container's user namespace and their values, alternating. Those that the kernel does
    /// not have are passed over.
    #[prost(string, repeated, tag = "8")]
    pub user_limits: Vec<String>,
    /// Flags for loading the seccomp program (`SECCOMP_FILTER_FLAG_*`).
    #[prost(uint32, tag = "9")]
    pub seccomp_flags: u32,
    /// The AppArmor profile of every process; empty for none.
    #[prost(string, tag = "10")]
    pub apparmor: String,
}

/// Start a process.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Run {
    /// Its name.
    #[prost(string, tag = "1")]
    pub process: String,
    /// Program and arguments.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub args: Vec<Vec<u8>>,
    /// The whole environment, `NAME=value`.
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub env: Vec<Vec<u8>>,
    /// Working directory, created when missing.
    #[prost(bytes = "vec", tag = "4")]
    pub dir: Vec<u8>,
    /// Ids inside.
    #[prost(uint32, tag = "5")]
    pub uid: u32,
    /// Group id inside.
    #[prost(uint32, tag = "6")]
    pub gid: u32,
    /// Supplementary group ids inside.
    #[prost(uint32, repeated, tag = "7")]
    pub groups: Vec<u32>,
    /// Number and value of resource limits, alternating.
    #[prost(uint64, repeated, tag = "8")]
    pub rlimits: Vec<u64>,
    /// A terminal of this size.
    #[prost(message, optional, tag = "9")]
    pub tty: Option<Window>,
    /// Bounding set.
    #[prost(uint64, tag = "10")]
    pub bounding: u64,
    /// Inheritable set.
    #[prost(uint64, tag = "11")]
    pub inheritable: u64,
    /// The process waits while nobody reads and the pipe is full; otherwise output is thrown away.
    #[prost(bool, tag = "12")]
    pub block_output: bool,
    /// If the engine goes away, what its readers have not taken is held for the next one's, and the process waits for them.
    #[prost(bool, tag = "17")]
    pub hold_output: bool,
    /// So many bytes of each output are kept for readers to come, also after the process's end.
    #[prost(uint64, tag = "14")]
    pub keep_output: u64,
    /// No program that it executes brings it more rights.
    #[prost(bool, tag = "15")]
    pub no_new_privileges: bool,
    /// A root file system of its own.
    #[prost(message, optional, tag = "13")]
    pub sidecar: Option<Sidecar>,
    /// The client of an external runtime that starts it, in a container that a runtime made. Descriptors: the cgroup v2
    /// directory of a sidecar if [`Sidecar::unified`], then one mount for each of the client's.
    #[prost(message, optional, tag = "16")]
    pub runtime: Option<Client>,
}

/// A process with a root file system of its own, in the container's other namespaces. Its descriptors are the cgroup v2
/// directory if there is one, then as for [`Create`]: the root file system, the further mounts, the v1 `tasks`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Sidecar {
    /// What to build; settings of the kernel, seccomp and capabilities are the container's.
    #[prost(message, optional, tag = "1")]
    pub create: Option<Create>,
    /// Whether the first descriptor is a cgroup v2 directory. Without one it is born in the container's.
    #[prost(bool, tag = "2")]
    pub unified: bool,
    /// Files of the container that are shown in the same place, where they exist.
    #[prost(string, repeated, tag = "3")]
    pub shared: Vec<String>,
}

/// Size of a terminal.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Window {
    /// Columns.
    #[prost(uint32, tag = "1")]
    pub columns: u32,
    /// Rows.
    #[prost(uint32, tag = "2")]
    pub rows: u32,
}

/// Attach to a process that runs, or whose output is kept.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Attach {
    /// Its name.
    #[prost(string, tag = "1")]
    pub process: String,
    /// The byte of standard output to begin with, as far back as there is; absent: the next one.
    #[prost(uint64, optional, tag = "2")]
    pub stdout_from: Option<u64>,
    /// The same of standard error.
    #[prost(uint64, optional, tag = "3")]
    pub stderr_from: Option<u64>,
}

/// Signal a process.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Signal {
    /// Its name; empty = every process but init.
    #[prost(string, tag = "1")]
    pub process: String,
    /// The number.
    #[prost(int32, tag = "2")]
    pub signal: i32,
}

/// Change the size of a terminal.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Resize {
    /// The process.
    #[prost(string, tag = "1")]
    pub process: String,
    /// The size.
    #[prost(message, optional, tag = "2")]
    pub window: Option<Window>,
}

/// End a process's standard input.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CloseStdin {
    /// The process.
    #[prost(string, tag = "1")]
    pub process: String,
}

/// Copy files.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Transfer {
    /// Out of the container instead of into it.
    #[prost(bool, tag = "1")]
    pub out: bool,
    /// The path; relative to `home`.
    #[prost(bytes = "vec", tag = "2")]
    pub path: Vec<u8>,
    /// Where relative paths begin.
    #[prost(bytes = "vec", tag = "3")]
    pub home: Vec<u8>,
    /// Whom to act as.
    #[prost(uint32, tag = "4")]
    pub uid: u32,
    /// Group id.
    #[prost(uint32, tag = "5")]
    pub gid: u32,
    /// Supplementary groups.
    #[prost(uint32, repeated, tag = "6")]
    pub groups: Vec<u32>,
}

/// End the container.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Kill {
    /// End the keeper too, once the reply is sent.
    #[prost(bool, tag = "1")]
    pub leave: bool,
}

/// End the keeper.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Shutdown {}

/// Stands in the exit log in the place of a wait status: the name of that process may be taken again.
pub const RELEASED: &str = "-";

/// The name of a process that has ended may be taken again.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Forget {
    /// The process.
    #[prost(string, tag = "1")]
    pub process: String,
}

/// Launcher or keeper to engine.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Message {
    /// A reply or news.
    #[prost(oneof = "Body", tags = "1, 2, 3")]
    pub body: Option<Body>,
}

/// A reply or news.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Body {
    /// The answer to one request.
    #[prost(message, tag = "1")]
    Reply(Reply),
    /// A process has ended; its status is written down.
    #[prost(message, tag = "2")]
    Exited(Exited),
    /// A process has started whose starter hung up before it could be answered.
    #[prost(message, tag = "3")]
    Started(Started),
}

/// The answer to a request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reply {
    /// The request's.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Absent on success.
    #[prost(message, optional, tag = "2")]
    pub failure: Option<Failure>,
    /// To [`Hello`].
    #[prost(message, optional, tag = "3")]
    pub status: Option<Status>,
    /// A pid, to calls that make a process.
    #[prost(uint32, tag = "4")]
    pub pid: u32,
    /// To [`Run`] and [`Attach`]: which descriptors came along.
    #[prost(message, optional, tag = "5")]
    pub streams: Option<Streams>,
}

/// Which descriptors of a process came along, in this order.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Streams {
    /// The write end of standard input.
    #[prost(bool, tag = "1")]
    pub stdin: bool,
    /// The read end of standard output. It does not block.
    #[prost(bool, tag = "2")]
    pub stdout: bool,
    /// The read end of standard error. It does not block.
    #[prost(bool, tag = "3")]
    pub stderr: bool,
    /// The number of the first byte that comes out of standard output: 0 is the first that the process wrote. Of an output
    /// that has ended with nothing kept, how many bytes it was.
    #[prost(uint64, tag = "4")]
    pub stdout_first: u64,
    /// The same of standard error.
    #[prost(uint64, tag = "5")]
    pub stderr_first: u64,
}

/// How a container is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Status {
    /// The keeper's [`VERSION`].
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Host pid of init, 0 when there is none (any more). Reply descriptors, when there is one and the container is
    /// created: the root directory.
    #[prost(uint32, tag = "2")]
    pub init_pid: u32,
    /// Whether the root file system is set up.
    #[prost(bool, tag = "3")]
    pub created: bool,
    /// Names of the processes that run.
    #[prost(string, repeated, tag = "4")]
    pub running: Vec<String>,
    /// Whether an external runtime made the container; only that one can start processes in it.
    #[prost(bool, tag = "5")]
    pub runtime: bool,
}

/// Why a request failed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Failure {
    /// What kind.
    #[prost(enumeration = "FailureKind", tag = "1")]
    pub kind: i32,
    /// What was being done, with the value that was wrong.
    #[prost(string, tag = "2")]
    pub what: String,
    /// The kernel's error number; 0 when it was not asked.
    #[prost(int32, tag = "3")]
    pub errno: i32,
}

/// Kinds of failures that the engine tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum FailureKind {
    /// A fault of the kernel or of ours.
    Internal = 0,
    /// The root file system cannot hold a container.
    RootFilesystem = 1,
    /// A mount target cannot be made.
    MountTarget = 2,
    /// A kernel setting was refused.
    Sysctl = 3,
    /// No process of this name.
    NoProcess = 4,
    /// A process of this name exists.
    ProcessExists = 5,
    /// The program is not there.
    NoExecutable = 6,
    /// The program is there and cannot be executed.
    NotExecutable = 7,
    /// The working directory cannot be used.
    WorkingDirectory = 8,
    /// The process has no terminal.
    NoTerminal = 9,
    /// The container has ended, or has not begun.
    NotRunning = 10,
    /// The user may not.
    Permission = 11,
    /// The tar is damaged.
    BadArchive = 12,
    /// The path does not exist.
    NoPath = 13,
    /// The request makes no sense.
    BadRequest = 14,
    /// A resource of the kernel is used up.
    Exhausted = 15,
    /// The kernel does not confine by that profile.
    Confinement = 16,
    /// The container was made by an external runtime, and the engine runs without one, or the other way round.
    OtherRuntime = 18,
    /// The client of an external runtime ended without success; its log tells why.
    Runtime = 17,
}

/// A process that runs now.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Started {
    /// Its name.
    #[prost(string, tag = "1")]
    pub process: String,
}

/// How a process ended.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Exited {
    /// Its name.
    #[prost(string, tag = "1")]
    pub process: String,
    /// As the kernel gives it (`wait(2)`).
    #[prost(int32, tag = "2")]
    pub wait_status: i32,
}
