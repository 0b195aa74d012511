//! The engine under test: a release server with default flags, reached over gRPC.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::stream::{FuturesUnordered, StreamExt};
use gdn_client::{Client, ProcessEvent};
use gdn_types::{
    ContainerSpec, CpuLimits, CpuShares, ExitStatus, Handle, ImageRef, IpRange, Limits, MemoryLimits, NetIn,
    NetOutRule, NetworkMode, OutputPolicy, PidLimits, PortRange, ProcessSpec, Protocol, WindowSize,
};
use tokio::process::{Child, Command};

use crate::garden::Garden;
use crate::samples::Samples;

/// How long a server may take from its start until it answers.
const START: Duration = Duration::from_secs(20);

/// How long a server may take to end after it was asked to.
const STOP: Duration = Duration::from_secs(10);

/// Rules of a large platform, in one call.
const BULK: usize = 3000;

/// Calls with so many of which the median counts, each for a new container.
const BULK_CALLS: usize = 21;

/// Calls of which the median counts.
const METRICS_CALLS: usize = 21;

/// A server that runs, with one container to execute in.
pub(crate) struct Engine {
    /// The program, and the root of its engine.
    gdn: PathBuf,
    root: PathBuf,
    server: Child,
    stopped: bool,
    client: Client,
    image: String,
    network: Network,
    resident: Option<Handle>,
}

/// Whether containers have a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// Loopback only.
    None,
    /// An address, a link, rules and a mapped port. The server has a network namespace of its own, for its host.
    Pool,
}

/// One cycle's parts, in microseconds.
pub(crate) struct Cycle {
    pub(crate) whole: f64,
    pub(crate) create: f64,
    pub(crate) destroy: f64,
}

impl Engine {
    /// Starts the server, and checks from inside a container that what is measured is protected as it should be.
    pub(crate) async fn start(gdn: &Path, root: &Path, image: &Path, network: Network) -> Result<Self> {
        let log = fs::File::create(root.with_extension("log"))?;
        let mut command = match network {
            Network::None => Command::new(gdn),
            Network::Pool => Command::new("unshare"),
        };
        if network == Network::Pool {
            command.arg("--net").arg(gdn);
        }
        command.arg("server").arg("--root").arg(root);
        if network == Network::Pool {
            command.args(["--network-pool", "10.254.0.0/16"]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut server =
            command.kill_on_drop(true).spawn().with_context(|| format!("start {}", gdn.display()))?;
        let client = match connect(&mut server, &root.join("grpc.sock")).await {
            Ok(client) => client,
            Err(error) => bail!("{error:#}; its log: {}", fs::read_to_string(root.with_extension("log"))?),
        };
        let mut engine = Engine {
            gdn: gdn.to_owned(),
            root: root.to_owned(),
            server,
            stopped: false,
            client,
            image: image.to_string_lossy().into_owned(),
            network,
            resident: None,
        };
        let resident = engine.client.create(engine.spec()).await.context("create the first container")?;
        engine.resident = Some(resident);
        engine.verify().await?;
        Ok(engine)
    }

    /// Create, run `/bin/true`, wait, destroy.
    pub(crate) async fn cycle(&self) -> Result<Cycle> {
        let start = Instant::now();
        let handle = self.client.create(self.spec()).await?;
        let created = Instant::now();
        let outcome = self.run(&handle, program("/bin/true", &[])).await;
        let ran = Instant::now();
        self.client.destroy(&handle).await?;
        outcome?;
        let end = Instant::now();
        let part = |from: Instant, to: Instant| (to - from).as_nanos() as f64 / 1000.0;
        Ok(Cycle { whole: part(start, end), create: part(start, created), destroy: part(ran, end) })
    }

    /// `/bin/true` in the container that is there, in microseconds.
    pub(crate) async fn exec(&self, tty: bool) -> Result<f64> {
        let tty = tty.then(|| WindowSize::default().or_default());
        let start = Instant::now();
        self.run(self.resident(), ProcessSpec { tty, ..program("/bin/true", &[]) }).await?;
        Ok(start.elapsed().as_nanos() as f64 / 1000.0)
    }

    /// Its other front door.
    pub(crate) async fn garden(&self) -> Result<Garden> {
        Garden::connect(self.root.join("garden.sock")).await
    }

    /// The image of its containers.
    pub(crate) fn image(&self) -> &str {
        &self.image
    }

    /// So many cycles by this many workers together.
    pub(crate) async fn cycles(&self, workers: usize, cycles: usize) -> Result<()> {
        by_workers(workers, cycles, || async { self.cycle().await.map(drop) }).await
    }

    /// So many executions of `/bin/true` by this many workers together, in one container.
    pub(crate) async fn execs(&self, workers: usize, execs: usize) -> Result<()> {
        by_workers(workers, execs, || async { self.exec(false).await.map(drop) }).await
    }

    /// Megabytes a second of standard output.
    pub(crate) async fn stdout(&self, megabytes: u64) -> Result<f64> {
        let count = format!("count={}", megabytes * 16);
        let spec = program("/bin/dd", &["if=/dev/zero", "bs=65536", &count]);
        let start = Instant::now();
        let read = self.run(self.resident(), ProcessSpec { output: OutputPolicy::Block, ..spec }).await?.len;
        ensure!(read == megabytes << 20, "{read} bytes arrived of {megabytes} MiB");
        Ok(megabytes as f64 * 1.048_576 / start.elapsed().as_secs_f64())
    }

    /// Makes so many containers and measures what they cost.
    pub(crate) async fn crowd(&self, count: usize) -> Result<Crowd> {
        let before = helpers_memory()?.kilobytes;
        let mut handles = Vec::new();
        for _ in 0..count {
            handles.push(self.client.create(self.spec()).await?);
        }
        let idle = helpers_memory()?;
        let metrics_ms = self.metrics(&handles).await?;
        for handle in &handles {
            self.client.run(handle, program("/bin/sleep", &["1000"])).await?;
        }
        let busy = helpers_memory()?;
        for handle in &handles {
            self.client.destroy(handle).await?;
        }
        let extra = busy.processes.saturating_sub(idle.processes);
        Ok(Crowd {
            kilobytes: idle.kilobytes.saturating_sub(before) as f64 / count as f64,
            extra_processes: extra as f64 / count as f64,
            metrics_ms,
        })
    }

    /// One more container.
    pub(crate) async fn create(&self) -> Result<Handle> {
        Ok(self.client.create(self.spec()).await?)
    }

    /// Destroys them all side by side.
    pub(crate) async fn destroy_at_once(&self, handles: &[Handle]) -> Result<()> {
        let destroy = |handle| async move { Ok(self.client.destroy(handle).await?) };
        join_all(handles.iter().map(destroy).collect()).await
    }

    /// Starts a process in a container, and leaves it to itself.
    pub(crate) async fn start_in(&self, handle: &Handle, spec: ProcessSpec) -> Result<()> {
        self.client.run(handle, spec).await?;
        Ok(())
    }

    /// Where a container is reached from its host.
    pub(crate) async fn address(&self, handle: &Handle) -> Result<IpAddr> {
        let info = self.client.info(handle).await?;
        info.container_ip.parse().with_context(|| format!("the address {:?}", info.container_ip))
    }

    /// The server's process, whose network its containers have for a host.
    pub(crate) fn server_pid(&self) -> Result<u32> {
        self.server.id().context("the server ended by itself")
    }

    /// Number of links in the server's network namespace.
    pub(crate) fn links(&self) -> Result<usize> {
        let table = fs::read_to_string(format!("/proc/{}/net/dev", self.server_pid()?))?;
        Ok(table.lines().filter(|line| line.contains(':')).count())
    }

    /// The metrics of all of them in one call: the median of some calls, in milliseconds.
    async fn metrics(&self, handles: &[Handle]) -> Result<f64> {
        let mut samples = Samples::default();
        for _ in 0..METRICS_CALLS {
            let start = Instant::now();
            let answers = self.client.bulk_metrics(handles).await?;
            samples.add(start.elapsed().as_nanos() as f64 / 1e6);
            ensure!(
                answers.len() == handles.len(),
                "metrics of {} containers of {}",
                answers.len(),
                handles.len()
            );
            for (handle, answer) in answers {
                answer.with_context(|| format!("metrics of {handle}"))?;
            }
        }
        Ok(samples.summary().context("no call was measured")?.p50)
    }

    /// Removes the container and ends the server.
    pub(crate) async fn stop(mut self) -> Result<()> {
        if let Some(handle) = &self.resident {
            self.client.destroy(handle).await?;
        }
        let pid = self.server_pid()?;
        let ended = Command::new("kill").arg(pid.to_string()).status().await?;
        ensure!(ended.success(), "the server could not be asked to end");
        tokio::time::timeout(STOP, self.server.wait()).await.context("the server did not end")??;
        self.stopped = true;
        Ok(())
    }

    pub(crate) fn resident(&self) -> &Handle {
        self.resident.as_ref().expect("a started engine has a container")
    }

    /// Microseconds of one mapped port and of one rule, with so many rules already there, and of 3,000 rules at once.
    pub(crate) async fn rules(&self, already: usize) -> Result<Rules> {
        let handle = self.client.create(self.spec()).await?;
        let one = |number: usize| NetOutRule {
            protocol: Protocol::Tcp,
            networks: vec![block(number)],
            ports: vec![PortRange { start: 443, end: 443 }],
            ..NetOutRule::default()
        };
        let before: Vec<NetOutRule> = (0..already).map(one).collect();
        self.client.net_out(&handle, &before).await?;
        let (mut ports, mut rules) = (Samples::default(), Samples::default());
        for number in 0..METRICS_CALLS {
            let start = Instant::now();
            self.client.net_in(&handle, NetIn { container_port: 80, ..NetIn::default() }).await?;
            ports.add(start.elapsed().as_nanos() as f64 / 1e3);
            let start = Instant::now();
            self.client.net_out(&handle, &[one(already + number)]).await?;
            rules.add(start.elapsed().as_nanos() as f64 / 1e3);
        }
        self.client.destroy(&handle).await?;
        let many: Vec<NetOutRule> = (0..BULK).map(|number| one(100_000 + number)).collect();
        let mut bulks = Samples::default();
        for _ in 0..BULK_CALLS {
            let handle = self.client.create(self.spec()).await?;
            let start = Instant::now();
            self.client.net_out(&handle, &many).await?;
            bulks.add(start.elapsed().as_nanos() as f64 / 1e6);
            self.client.destroy(&handle).await?;
        }
        let median =
            |samples: Samples| samples.summary().map(|summary| summary.p50).context("no call was measured");
        Ok(Rules { port_us: median(ports)?, rule_us: median(rules)?, bulk_ms: median(bulks)? })
    }

    /// What Garden clients ask for: limits on, unprivileged.
    fn spec(&self) -> ContainerSpec {
        let netin = match self.network {
            Network::None => Vec::new(),
            Network::Pool => vec![NetIn { container_port: 8080, ..NetIn::default() }],
        };
        ContainerSpec {
            image: ImageRef::uri(&self.image),
            network: match self.network {
                Network::None => NetworkMode::None,
                Network::Pool => NetworkMode::Default,
            },
            netin,
            limits: Limits {
                cpu: CpuLimits { shares: CpuShares::new(512), ..CpuLimits::default() },
                memory: MemoryLimits { bytes: 256 << 20 },
                pids: PidLimits { max: 100 },
                ..Limits::default()
            },
            ..ContainerSpec::default()
        }
    }

    /// User namespace and system call filter are on: a run without them would measure something else.
    async fn verify(&self) -> Result<()> {
        let shown = self
            .run(self.resident(), program("/bin/cat", &["/proc/self/status", "/proc/self/uid_map"]))
            .await?;
        let text = String::from_utf8_lossy(&shown.start).into_owned();
        ensure!(text.contains("Seccomp:\t2"), "processes run without a system call filter");
        let map = text.lines().last().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(!map.ends_with("4294967295"), "containers run without a user namespace: {map}");
        Ok(())
    }

    async fn run(&self, handle: &Handle, spec: ProcessSpec) -> Result<Shown> {
        let mut process = self.client.run(handle, spec).await?;
        let mut shown = Shown { len: 0, start: Vec::new() };
        loop {
            match process.next().await? {
                Some(ProcessEvent::Stdout(bytes)) => shown.add(&bytes),
                Some(ProcessEvent::Stderr(_)) => {}
                Some(ProcessEvent::Exited(ExitStatus::Code(0))) => return Ok(shown),
                Some(ProcessEvent::Exited(status)) => bail!("the process {status}"),
                Some(lost) => bail!("{lost:?}"),
                None => bail!("the process's stream ended before its exit status"),
            }
        }
    }
}

impl Drop for Engine {
    /// After a run that failed: containers outlive their server, so they are destroyed while it runs.
    fn drop(&mut self) {
        if self.stopped {
            return;
        }
        let gdn = |arguments: &[&str]| {
            std::process::Command::new(&self.gdn).arg("--root").arg(&self.root).args(arguments).output()
        };
        let destroyed = gdn(&["list", "-q", "--all"]).and_then(|listed| {
            let handles = String::from_utf8_lossy(&listed.stdout).into_owned();
            gdn(&["destroy"].into_iter().chain(handles.lines()).collect::<Vec<_>>())
        });
        if !destroyed.is_ok_and(|outcome| outcome.status.success()) {
            eprintln!("bench: containers of the engine in {} may be left", self.root.display());
        }
    }
}

/// What many containers cost.
pub(crate) struct Crowd {
    /// Memory of the helpers of each, while it is idle.
    pub(crate) kilobytes: f64,
    /// Helper processes that each process run brings with it.
    pub(crate) extra_processes: f64,
    /// Milliseconds until the metrics of all were there.
    pub(crate) metrics_ms: f64,
}

/// What changes of a container's network cost.
pub(crate) struct Rules {
    pub(crate) port_us: f64,
    pub(crate) rule_us: f64,
    pub(crate) bulk_ms: f64,
}

/// A small network of its own for each number.
fn block(number: usize) -> IpRange {
    let base = 0x2000_0000 + u32::try_from(number).unwrap_or(0) * 16;
    IpRange { start: Ipv4Addr::from(base).into(), end: Ipv4Addr::from(base + 7).into() }
}

/// What a process printed: how much, and the first 64 KiB of it.
struct Shown {
    len: u64,
    start: Vec<u8>,
}

impl Shown {
    fn add(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        if self.start.len() < 64 * 1024 {
            self.start.extend_from_slice(bytes);
        }
    }
}

pub(crate) fn program(path: &str, arguments: &[&str]) -> ProcessSpec {
    ProcessSpec {
        path: path.into(),
        args: arguments.iter().map(ToString::to_string).collect(),
        ..ProcessSpec::default()
    }
}

async fn connect(server: &mut Child, socket: &Path) -> Result<Client> {
    let end = Instant::now() + START;
    loop {
        if let Some(status) = server.try_wait()? {
            bail!("the server ended at its start: {status}");
        }
        let answer = async {
            let client = Client::connect(&socket.to_string_lossy()).await?;
            client.ping().await.map(|_| client)
        };
        match answer.await {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() > end => bail!("the server does not answer: {}", error.report()),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// So many pieces of work, as many by each worker.
async fn by_workers<F: Future<Output = Result<()>>>(
    workers: usize,
    pieces: usize,
    work: impl Fn() -> F,
) -> Result<()> {
    let each = pieces.div_ceil(workers);
    let worker = || async {
        for _ in 0..each {
            work().await?;
        }
        anyhow::Ok(())
    };
    join_all((0..workers).map(|_| worker()).collect()).await
}

/// Runs futures beside each other on this task, to the end of all, and answers with the first error.
async fn join_all<F: Future<Output = Result<()>>>(mut futures: FuturesUnordered<F>) -> Result<()> {
    let mut first_error = Ok(());
    while let Some(outcome) = futures.next().await {
        if first_error.is_ok() {
            first_error = outcome;
        }
    }
    first_error
}

/// What the engine's helper processes are called.
const HELPERS: [&str; 2] = ["gdn-keeper", "garden-init"];

/// Memory and number of the engine's helper processes: keepers and inits.
struct Helpers {
    kilobytes: u64,
    processes: usize,
}

/// Number of the engine's helper processes.
pub(crate) fn helpers() -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir("/proc")? {
        let comm = fs::read_to_string(entry?.path().join("comm")).unwrap_or_default();
        count += usize::from(HELPERS.contains(&comm.trim_end()));
    }
    Ok(count)
}

fn helpers_memory() -> Result<Helpers> {
    let mut helpers = Helpers { kilobytes: 0, processes: 0 };
    for entry in fs::read_dir("/proc")? {
        let process = entry?.path();
        let comm = fs::read_to_string(process.join("comm")).unwrap_or_default();
        if !HELPERS.contains(&comm.trim_end()) {
            continue;
        }
        // A helper of another container may end meanwhile.
        let Ok(rollup) = fs::read_to_string(process.join("smaps_rollup")) else { continue };
        let pss =
            rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("smaps_rollup has no Pss")?;
        helpers.kilobytes += pss.trim().trim_end_matches(" kB").parse::<u64>()?;
        helpers.processes += 1;
    }
    Ok(helpers)
}
