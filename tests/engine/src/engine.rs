//! An engine: a root directory and, most of the time, a server on it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gdn_client::Client;
use gdn_testkit::leak::{self, Kind, Scope, Snapshot};
use gdn_types::EngineId;
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::gdn::{Gdn, Outcome, binary};
use crate::host::Namespace;
use crate::images;
use crate::wait::{PATIENCE, eventually, until};

/// An engine on a root of its own. Whatever it holds is destroyed when it is dropped.
pub struct Engine {
    place: TempDir,
    image: String,
    server: Option<Server>,
    /// Where (a process whose network it has) and how a server was last started, for the one that sweeps.
    started: (Option<u32>, Vec<String>),
    runtime: Runtime,
}

/// A server that answers. Killed when dropped.
pub struct Server {
    child: Child,
}

impl Engine {
    /// An engine with a running server and an image of busybox.
    pub fn start() -> Self {
        let mut engine = Engine::new();
        engine.start_server(&[]);
        engine
    }

    /// An engine whose server is not started yet.
    pub fn new() -> Self {
        let place = tempfile::Builder::new().prefix("gdn-engine-test-").tempdir().unwrap();
        let rootfs = place.path().join("busybox");
        images::directory(&rootfs);
        let image = images::oci(&rootfs, &place.path().join("busybox-layout"));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Engine { place, image, server: None, started: (None, Vec::new()), runtime: runtime.unwrap() }
    }

    /// The engine's root.
    pub fn root(&self) -> PathBuf {
        self.place.path().join("root")
    }

    /// A directory for the test's own files, removed with the engine.
    pub fn scratch(&self) -> &Path {
        self.place.path()
    }

    /// The image of busybox, as `--image` takes it.
    pub fn image(&self) -> &str {
        &self.image
    }

    /// The engine's name on kernel objects: `gdn-` and its id.
    pub fn mark(&self) -> String {
        let text =
            fs::read_to_string(self.root().join("state/engine-id")).expect("the engine was started once");
        let bits = text.split(' ').nth(1).and_then(|word| u64::from_str_radix(word, 16).ok());
        format!("gdn-{}", EngineId::from_bits(bits.expect("the engine id is a hexadecimal word")))
    }

    /// Starts the server and waits until it answers.
    pub fn start_server(&mut self, options: &[&str]) {
        let mut command = Command::new(binary());
        command.args(self.server_arguments(options));
        self.note_start(None, options);
        self.start_server_by(command);
    }

    /// Notes where (in the host's network, or in another) and how a server is started, for the one that sweeps.
    pub fn note_start(&mut self, namespace: Option<&Namespace>, options: &[&str]) {
        self.started = (namespace.map(Namespace::pid), options.iter().map(ToString::to_string).collect());
    }

    /// The words after `gdn` with which the server is started.
    pub fn server_arguments(&self, options: &[&str]) -> Vec<String> {
        let root = images::path_text(&self.root());
        let plugin =
            std::env::var("GDN_TEST_RUNTIME").ok().filter(|_| !options.contains(&"--runtime-plugin"));
        let plugin = plugin.as_deref().map_or_else(Vec::new, |runtime| vec!["--runtime-plugin", runtime]);
        let fixed = ["server", "--root", &root];
        fixed.iter().chain(&plugin).chain(options).map(ToString::to_string).collect()
    }

    /// Starts the server in a network namespace and waits until it answers.
    pub fn start_server_in(&mut self, namespace: &Namespace, options: &[&str]) {
        self.begin_server_in(namespace, options);
        self.wait_for_server();
    }

    /// Starts the server in a network namespace and leaves it to itself.
    pub fn begin_server_in(&mut self, namespace: &Namespace, options: &[&str]) {
        assert!(self.server.is_none(), "the server runs already");
        let mut command = namespace.command(&binary().to_string_lossy());
        command.args(self.server_arguments(options));
        self.note_start(Some(namespace), options);
        self.server = Some(self.spawn(command));
    }

    /// Starts the server by a command that becomes it, and waits until it answers.
    pub fn start_server_by(&mut self, command: Command) {
        assert!(self.server.is_none(), "the server runs already");
        self.server = Some(self.spawn(command));
        self.wait_for_server();
    }

    /// Starts the server and leaves it to itself.
    pub fn begin_server(&mut self, options: &[&str]) {
        assert!(self.server.is_none(), "the server runs already");
        let mut command = Command::new(binary());
        command.args(self.server_arguments(options));
        self.server = Some(self.spawn(command));
    }

    /// Starts a server that cannot serve, and tells what it logged. The engine is to be dropped then.
    pub fn server_that_ends(&mut self, command: Command) -> String {
        let mut server = self.spawn(command);
        let status = eventually(PATIENCE, || server.child.try_wait().unwrap());
        let status = status.unwrap_or_else(|| panic!("the server serves: {}", self.log()));
        assert!(!status.success(), "{}", self.log());
        self.log()
    }

    /// Waits until a server that was started answers.
    pub fn wait_for_server(&mut self) {
        until("the server to answer", || {
            let ended = self.server.as_mut().unwrap().child.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended at its start: {}", self.log());
            self.gdn(["ping"]).status == 0
        });
    }

    fn spawn(&self, mut command: Command) -> Server {
        let log = fs::File::options().append(true).create(true).open(self.log_path()).unwrap();
        // A group of its own: an interrupt at the terminal ends the test, whose clean-up needs the server.
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        Server { child: child.expect("the binary can be started: build it with cargo build -p gdn") }
    }

    /// The server's process.
    pub fn server_pid(&self) -> u32 {
        self.server.as_ref().expect("the server runs").child.id()
    }

    /// Whether the server that was started still runs.
    pub fn server_runs(&mut self) -> bool {
        self.server.as_mut().expect("a server was started").child.try_wait().unwrap().is_none()
    }

    /// Kills the server without warning.
    pub fn kill_server(&mut self) {
        drop(self.server.take().expect("the server runs"));
    }

    /// Notes that somebody else killed the server.
    pub fn wait_for_server_to_be_killed(&mut self) {
        until("the server to be killed", || !self.server_runs());
        self.server = None;
    }

    /// Asks the server to stop and waits for that.
    pub fn stop_server(&mut self) {
        self.stop_server_within(PATIENCE);
    }

    /// The same, and no longer than this.
    pub fn stop_server_within(&mut self, patience: Duration) {
        let mut server = self.server.take().expect("the server runs");
        rustix::process::kill_process(Pid::from_child(&server.child), Signal::TERM).unwrap();
        let status = eventually(patience, || server.child.try_wait().unwrap());
        let status = status.unwrap_or_else(|| panic!("the server did not stop: {}", self.log()));
        assert!(status.success(), "the server stopped with {status}: {}", self.log());
    }

    /// What the servers of this engine logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.place.path().join("server.log")
    }

    /// Runs `gdn` to its end.
    pub fn gdn<I: IntoIterator<Item = A>, A: AsRef<OsStr>>(&self, arguments: I) -> Outcome {
        self.begin(arguments).finish()
    }

    /// Starts `gdn`.
    pub fn begin<I: IntoIterator<Item = A>, A: AsRef<OsStr>>(&self, arguments: I) -> Gdn {
        Gdn::start(&self.root(), arguments)
    }

    /// Runs a script of busybox's shell in a container.
    pub fn shell(&self, handle: &str, script: &str) -> Outcome {
        self.gdn(["exec", handle, "sh", "-c", script])
    }

    /// Creates a container of busybox and answers with its handle.
    #[track_caller]
    pub fn create(&self, options: &[&str]) -> String {
        let fixed = ["create", "--image", &self.image];
        let created = self.gdn(fixed.iter().chain(options)).expect_status(0);
        created.text().trim().to_owned()
    }

    /// What `gdn inspect` tells about a container.
    #[track_caller]
    pub fn inspect(&self, handle: &str) -> Value {
        let told = self.gdn(["--format", "json", "inspect", handle]).expect_status(0);
        serde_json::from_slice::<Value>(&told.stdout).unwrap()[0].clone()
    }

    /// The host's pid of a container's first process.
    #[track_caller]
    pub fn init_pid(&self, handle: &str) -> u32 {
        let pid = self.inspect(handle)["init_pid"].as_u64().unwrap();
        assert_ne!(pid, 0, "container {handle} does not run");
        u32::try_from(pid).unwrap()
    }

    /// The handles of all containers, those being made or removed included.
    pub fn handles(&self) -> Vec<String> {
        let listed = self.gdn(["list", "-q", "--all"]).expect_status(0);
        listed.text().lines().map(str::to_owned).collect()
    }

    /// How much of each pool of the network is in use: subnets, prefixes of IPv6, ports of TCP and of UDP.
    #[track_caller]
    pub fn in_use(&self) -> [u64; 4] {
        let told = self.gdn(["--format", "json", "capacity"]).expect_status(0);
        let told: Value = serde_json::from_slice(&told.stdout).unwrap();
        let pools = told["pools"].as_array().unwrap();
        ["subnets", "ipv6-prefixes", "tcp-ports", "udp-ports"].map(|name| {
            let pool = pools.iter().find(|pool| pool["name"] == name);
            pool.unwrap_or_else(|| panic!("no pool of {name}: {told}"))["in_use"].as_u64().unwrap()
        })
    }

    /// Does something with a client of the server.
    pub fn with_client<T>(&self, work: impl AsyncFnOnce(Client) -> T) -> T {
        let socket = self.root().join("grpc.sock");
        self.runtime.block_on(async { work(Client::connect_unix(&socket).await.unwrap()).await })
    }

    /// Destroys every container and stops the server; then nothing of the engine is left on the host.
    #[track_caller]
    pub fn finish(mut self) {
        if self.server.is_none() {
            self.start_server(&[]);
        }
        let handles = self.handles();
        if !handles.is_empty() {
            self.gdn(["destroy"].into_iter().chain(handles.iter().map(String::as_str))).expect_status(0);
        }
        self.stop_server();
        self.expect_nothing_left();
    }

    /// Asserts that no kernel object names the engine or lies below its root, and that no file of a container is left.
    #[track_caller]
    pub fn expect_nothing_left(&self) {
        let kernel: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| *kind != Kind::File).collect();
        let kernel = Scope::engine(self.mark()).below(self.root()).only(&kernel);
        expect_empty(&kernel, &self.log());
        let mut files = Scope::engine(self.mark()).only(&[Kind::File]);
        let lives = fs::read_dir(self.root().join("run")).unwrap().map(|life| life.unwrap().path());
        for directory in ["volumes", "trash", "images/trash", "images/staging"] {
            files = files.below(self.root().join(directory));
        }
        expect_empty(&lives.fold(files, |files, life| files.below(life)), &self.log());
        let root = fs::read_dir(self.root()).unwrap().flatten();
        let sockets: Vec<_> =
            root.filter(|entry| entry.file_type().unwrap().is_socket()).map(|entry| entry.path()).collect();
        assert!(sockets.is_empty(), "left: {sockets:?}");
    }

    /// Destroys whatever is left of a failed test: nothing here panics.
    fn sweep(&mut self) {
        self.server = None;
        if !self.root().join("state/engine-id").exists() {
            return;
        }
        const DESTROY: &str = "--destroy-containers-on-startup";
        let (network, usual) = std::mem::take(&mut self.started);
        let mut command = match network {
            Some(pid) => Namespace::command_in(pid, &binary().to_string_lossy()),
            None => Command::new(binary()),
        };
        let mut options = vec![DESTROY];
        options.extend(usual.iter().map(String::as_str).filter(|option| *option != DESTROY));
        command.args(self.server_arguments(&options));
        let mut server = self.spawn(command);
        let answers = || {
            let ping = Command::new(binary()).arg("--root").arg(self.root()).arg("ping").output();
            ping.is_ok_and(|ping| ping.status.success()).then_some(())
        };
        if eventually(PATIENCE, answers).is_none() {
            eprintln!("the sweep of {} failed: {}", self.root().display(), self.log());
        }
        // What has ended by itself needs no signal.
        let _ = rustix::process::kill_process(Pid::from_child(&server.child), Signal::TERM);
        let _ = eventually(PATIENCE, || server.child.try_wait().ok().flatten());
    }
}

impl Default for Engine {
    fn default() -> Self {
        Engine::new()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of the server:\n{}", self.log());
            self.sweep();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn expect_empty(scope: &Scope, log: &str) {
    if let Err(leaks) = leak::wait_until_equal(&Snapshot::empty(scope), scope, leak::DEADLINE) {
        panic!("left behind:\n{leaks}\nlog of the server:\n{log}");
    }
}
