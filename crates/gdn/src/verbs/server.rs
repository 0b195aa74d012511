//! `gdn server`: the engine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::builder::RangedI64ValueParser;
use clap::{Args, ValueEnum};
use containerizer::{DeviceRule, Policy, Runtime, UserLimits};
use gardener_core::{AfterReboot, CpuThrottling, Entitlement, IdPool};
use gdn_types::{ApparmorProfile, HostIds, IoLimits, IoWeight, SeccompProfile};
use tokio::signal::unix::{SignalKind, signal};

mod debug;
mod garden;
pub(crate) mod guardian;
pub(super) mod network;
mod tcp;

use super::DONE;
use crate::cli::{ConfigFile, Global};
use crate::failure::Advised;
use crate::server::logging::{self, LogFormat, LogLevel, LogSwitch};
use crate::server::{self, DEFAULT_IMAGE, DebugSettings, EngineLock, Settings, TlsSettings, notify};
use crate::values;

use debug::DebugOptions;
use garden::GardenOptions;
use guardian::GuardianOptions;
use network::NetworkOptions;
use tcp::TcpOptions;

/// How long a stop may take: supervisors of the reference engine kill it after ten seconds, which costs nothing but what is
/// then done by the next start.
const STOP: Duration = Duration::from_secs(9);

/// Run the engine until it is told to stop by TERM or INT; the containers stay.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Socket to listen on [default: /run/gdn/grpc.sock, or grpc.sock below --root]
    #[arg(long, value_name = "PATH")]
    pub(crate) grpc_socket: Option<PathBuf>,
    /// Address and port to listen on beside, with TLS
    #[arg(long, value_name = "IP:PORT", requires_all = ["tls_cert", "tls_key", "tls_client_ca"])]
    grpc_listen: Option<SocketAddr>,
    /// Certificate of the server, as PEM
    #[arg(long, value_name = "FILE", requires = "grpc_listen")]
    tls_cert: Option<PathBuf>,
    /// Private key of the server, as PEM
    #[arg(long, value_name = "FILE", requires = "grpc_listen")]
    tls_key: Option<PathBuf>,
    /// Certificates, as PEM, that a client's must come from
    #[arg(long, value_name = "FILE", requires = "grpc_listen")]
    tls_client_ca: Option<PathBuf>,
    /// What to do with containers that a restart of the host ended [default: keep]
    #[arg(long, value_enum)]
    after_reboot: Option<Lost>,
    /// Destroy all containers of the earlier run first
    #[arg(long)]
    destroy_containers_on_startup: bool,
    /// Let the id of a process be taken again that has ended and that a client waited for
    #[arg(long)]
    cleanup_process_dirs_on_wait: bool,
    /// Most containers; 0 = no limit
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) max_containers: u64,
    /// Remove containers that were not asked for anything this long, such as 5m; 0 = never
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = values::duration)]
    pub(crate) default_grace_time: Duration,
    /// Refuse privileged containers
    #[arg(long)]
    disable_privileged_containers: bool,
    /// Devices that every container may use beside the usual ones, such as "c 10:229 rwm": b or c, MAJOR:MINOR or * for any, and
    /// what of read, write and make (mknod); takes the place of the usual rule for the same devices; may be repeated
    #[arg(long, value_name = "RULE")]
    device_cgroup_rule: Vec<DeviceRule>,
    /// Processor time for each share, in microseconds of each 100 ms, of containers without a quota; 0 = no quota
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 0)]
    cpu_quota_per_share: u64,
    /// Limit memory alone: what containers swap is not counted and not limited [default: memory and swap together]
    #[arg(long)]
    disable_swap_limit: bool,
    /// Weight of the block I/O of containers that name none, 10 to 1000; 0 = the kernel's default
    #[arg(long, value_name = "WEIGHT", default_value_t = 0)]
    default_container_blockio_weight: u64,
    /// Most bytes that a container reads from each disk in a second, unless it names another limit; 0 = no limit
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = values::size)]
    container_io_max_read_bps: u64,
    /// Most bytes that it writes to each disk in a second; 0 = no limit
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = values::size)]
    container_io_max_write_bps: u64,
    /// Most operations of it that read from each disk in a second; 0 = no limit
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    container_io_max_read_iops: u64,
    /// Most operations of it that write to each disk in a second; 0 = no limit
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    container_io_max_write_iops: u64,
    /// Percent of one processor that each share of a container's weight entitles it to, as its figures tell [default: all
    /// processors divided by the mebibytes of memory]
    #[arg(long, value_name = "PERCENT", value_parser = entitlement)]
    cpu_entitlement_per_share: Option<Entitlement>,
    /// Let containers that used more processor time than they are entitled to give way to the others
    #[arg(long)]
    enable_cpu_throttling: bool,
    /// Time between two looks at who did, in seconds or such as 1m
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = interval)]
    cpu_throttling_check_interval: Duration,
    /// How many times what they are entitled to is left to them while others are busy
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    cpu_throttling_multiplier: u32,
    /// Let no program bring its caller more rights (set-user-id and the like), except in privileged containers
    #[arg(long)]
    no_new_privileges: bool,
    /// Host ids out of which every unprivileged container gets a range of its own, for users and groups: the first and how
    /// many, such as 1000000:6553600 [default: all containers share one map, in which only root is another]
    #[arg(long, value_name = "FIRST:COUNT", value_parser = values::host_ids)]
    uid_range_pool: Option<HostIds>,
    /// Ids of each such container, from 0 on
    #[arg(long, value_name = "COUNT", default_value_t = 65536, requires = "uid_range_pool")]
    uid_range_size: u32,
    /// Most inotify instances (and fanotify groups) of each user of an unprivileged container; 0 = as many as the host allows
    /// its own users
    #[arg(long, value_name = "NUMBER", default_value_t = UserLimits::default().inotify_instances, value_parser = user_limit())]
    max_inotify_instances: u32,
    /// Most files that each user of an unprivileged container watches by inotify or fanotify; 0 = as above
    #[arg(long, value_name = "NUMBER", default_value_t = UserLimits::default().inotify_watches, value_parser = user_limit())]
    max_inotify_watches: u32,
    /// Most namespaces of each kind of each user of an unprivileged container; 0 = as above
    #[arg(long, value_name = "NUMBER", default_value_t = UserLimits::default().namespaces, value_parser = user_limit())]
    max_namespaces: u32,
    /// System calls that are allowed where a client says nothing: a profile (a file in the form of OCI or Docker), or
    /// unconfined [default: a profile of its own]
    #[arg(long, value_name = "FILE|unconfined", value_parser = values::seccomp)]
    seccomp: Option<SeccompProfile>,
    /// AppArmor profile of unprivileged containers whose client names none; the kernel must have it [default: none]
    #[arg(long, value_name = "NAME", value_parser = ApparmorProfile::parse)]
    apparmor: Option<ApparmorProfile>,
    #[command(flatten)]
    garden: GardenOptions,
    #[command(flatten)]
    network: NetworkOptions,
    #[command(flatten)]
    tcp: TcpOptions,
    #[command(flatten)]
    debug: DebugOptions,
    #[command(flatten)]
    guardian: GuardianOptions,
    #[command(flatten)]
    _file: ConfigFile,
    /// Program that makes containers and starts processes, instead of the engine itself: an OCI runtime such as runc or crun,
    /// by name or path
    #[arg(long, value_name = "NAME|PATH")]
    runtime_plugin: Option<String>,
    /// First argument of the runtime plug-in at every call; may be repeated
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    runtime_plugin_extra_arg: Vec<String>,
    /// Image of containers whose client names none
    #[arg(long, alias = "default-rootfs", value_name = "URI", default_value = DEFAULT_IMAGE)]
    default_image: String,
    /// How much is logged
    #[arg(long, value_enum, default_value_t = LogLevel::Info)]
    log_level: LogLevel,
    /// Form of the log
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// What happens to containers that a restart of the host ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Lost {
    /// They stay, as lost, until somebody destroys them
    Keep,
    /// They are destroyed
    Destroy,
}

impl Server {
    pub(crate) async fn perform(self, global: &Global) -> anyhow::Result<u8> {
        let log = logging::begin(self.log_level, self.log_format);
        server::require_root()?;
        self.guardian.told();
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to signals")?;
        let settings = self.settings(global, log)?;
        let lock = lock(global)?;
        let mut engine = tokio::select! {
            started = server::start(settings, lock) => started?,
            _ = terminate.recv() => return Ok(DONE),
            _ = interrupt.recv() => return Ok(DONE),
        };
        notify::tell(notify::READY)?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            error = engine.failed() => return Err(error),
        }
        tracing::info!("stopping");
        notify::tell(notify::STOPPING)?;
        engine.stop(STOP).await?;
        Ok(DONE)
    }

    fn settings(self, global: &Global, log: LogSwitch) -> anyhow::Result<Settings> {
        let guardian = self.guardian.any();
        let extra = self.runtime_plugin_extra_arg;
        if self.runtime_plugin.is_none() && !extra.is_empty() {
            tracing::warn!("--runtime-plugin-extra-arg means nothing without --runtime-plugin");
        }
        let runtime = self.runtime_plugin.map(|name| Runtime::find(&name, extra)).transpose()?;
        let tls = match (self.grpc_listen, self.tls_cert, self.tls_key, self.tls_client_ca) {
            (Some(listen), Some(certificate), Some(key), Some(client_ca)) => {
                Some(TlsSettings { listen, certificate, key, client_ca })
            }
            _ => None,
        };
        let io = IoLimits {
            weight: IoWeight::new(self.default_container_blockio_weight)?,
            read_bps: self.container_io_max_read_bps,
            write_bps: self.container_io_max_write_bps,
            read_iops: self.container_io_max_read_iops,
            write_iops: self.container_io_max_write_iops,
        };
        Ok(Settings {
            root: global.root().to_owned(),
            socket: self.grpc_socket.unwrap_or_else(|| global.socket()),
            tls,
            max_containers: self.max_containers,
            default_grace_time: self.default_grace_time,
            allow_privileged: !self.disable_privileged_containers,
            default_image: self.default_image,
            after_reboot: match self.after_reboot {
                Some(Lost::Keep) => AfterReboot::Keep,
                Some(Lost::Destroy) => AfterReboot::Destroy,
                None if guardian => AfterReboot::Destroy,
                None => AfterReboot::Keep,
            },
            destroy_on_start: self.destroy_containers_on_startup,
            release_names_on_wait: self.cleanup_process_dirs_on_wait,
            seccomp: self.seccomp.unwrap_or_default(),
            cpu_entitlement: self.cpu_entitlement_per_share,
            cpu_throttling: self.enable_cpu_throttling.then_some(CpuThrottling {
                interval: self.cpu_throttling_check_interval,
                multiplier: self.cpu_throttling_multiplier,
            }),
            apparmor: self.apparmor.unwrap_or_default(),
            id_pool: self.uid_range_pool.map(|all| IdPool::new(all, self.uid_range_size)).transpose()?,
            policy: Policy {
                cpu_quota_per_share_us: self.cpu_quota_per_share,
                no_new_privileges: self.no_new_privileges,
                unlimited_swap: self.disable_swap_limit,
                device_rules: self.device_cgroup_rule,
                io,
                user_limits: UserLimits {
                    inotify_instances: self.max_inotify_instances,
                    inotify_watches: self.max_inotify_watches,
                    namespaces: self.max_namespaces,
                },
            },
            garden: Some(self.garden.settings(global, guardian)),
            debug: self.debug.address().map(|address| DebugSettings { address, log }),
            sysctls: self.tcp.settings(guardian)?,
            network: self.network.settings(guardian)?,
            network_of_old: None,
            runtime,
        })
    }
}

/// What the kernel takes for them.
fn user_limit() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(0..=i64::from(i32::MAX))
}

/// A number of percent above 0.
fn entitlement(text: &str) -> anyhow::Result<Entitlement> {
    let percent =
        text.parse().with_context(|| format!("{text:?} is not a number of percent, such as 0.05"))?;
    Ok(Entitlement::per_share(percent)?)
}

/// A length of time above 0; a number alone is one of seconds.
fn interval(text: &str) -> anyhow::Result<Duration> {
    let interval = seconds(text)?;
    anyhow::ensure!(!interval.is_zero(), "an interval of {text:?} is no time");
    Ok(interval)
}

/// The same, or 0 for one without end.
fn interval_or_never(text: &str) -> anyhow::Result<Duration> {
    let interval = seconds(text)?;
    Ok(if interval.is_zero() { Duration::MAX } else { interval })
}

/// A length of time; a number alone is one of seconds.
fn seconds(text: &str) -> anyhow::Result<Duration> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => Ok(values::duration(text)?),
    }
}

/// The right to be the engine of the root.
pub(super) fn lock(global: &Global) -> anyhow::Result<EngineLock> {
    if let Some(lock) = EngineLock::take(global.root())? {
        return Ok(lock);
    }
    let holder =
        EngineLock::holder(global.root()).map_or_else(String::new, |pid| format!(", process {pid},"));
    Err(Advised::error(
        format!("another engine{holder} runs on {}", global.root().display()),
        "stop it first, or give this one a root of its own with --root",
    ))
}
