//! Options that several verbs share.

use std::time::Duration;

use clap::Args;
use gdn_types::{
    ApparmorProfile, BandwidthChange, BandwidthLimits, BindMount, CapabilityProfile, ContainerSpec,
    CpuLimits, CpuShares, DiskLimits, Egress, Environment, Error, Handle, ImageRef, IoChange, IoLimits,
    IoWeight, LimitChange, Limits, MemoryLimits, NetIn, NetOutRule, NetworkMode, OutputPolicy, PidLimits,
    ProcessSpec, Properties, Result, SeccompProfile,
};

use crate::values;

/// What a container is made of.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ContainerOptions {
    /// Name of the container [default: generated]
    #[arg(long, value_name = "NAME", value_parser = Handle::parse)]
    pub(crate) handle: Option<Handle>,
    /// Image: hello, a path of a tar or of an OCI layout, or a URI such as oci:///layout:tag or raw:///directory
    #[arg(long, value_name = "URI|PATH")]
    pub(crate) image: Option<String>,
    /// Property of the container; may be repeated
    #[arg(long = "property", value_name = "KEY=VALUE", value_parser = values::pair)]
    pub(crate) properties: Vec<(String, String)>,
    /// Environment variable; without a value, the one of this shell; may be repeated
    #[arg(short, long = "env", value_name = "NAME[=VALUE]", value_parser = values::variable)]
    pub(crate) env: Vec<(String, String)>,
    /// Directory or file of the host to show inside, read-only unless :rw; may be repeated
    #[arg(long = "bind", value_name = "SOURCE:TARGET[:ro|rw]", value_parser = values::bind_mount)]
    pub(crate) binds: Vec<BindMount>,
    /// Most memory, swap included, such as 64M
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) memory: Option<u64>,
    /// Weight of its processor share, 1024 being ordinary
    #[arg(long, value_name = "SHARES")]
    pub(crate) cpu_weight: Option<u64>,
    /// Most processes and threads
    #[arg(long, value_name = "NUMBER")]
    pub(crate) pids: Option<u64>,
    /// Most bytes of its root file system, image included, such as 1G (refused: not available yet)
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) disk: Option<u64>,
    /// Limits of block I/O
    #[command(flatten)]
    pub(crate) io: IoOptions,
    /// Limits of the network
    #[command(flatten)]
    pub(crate) rate: RateOptions,
    /// Without a user namespace and with wide capabilities: as good as root on the host
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Network: none, or an address or a subnet of the container's own such as 10.9.0.2 or 10.9.0.0/24 [default: an address
    /// out of the server's pool, if it has one]
    #[arg(long, value_name = "NETWORK")]
    pub(crate) network: Option<String>,
    /// Port of the host that leads into the container; may be repeated
    #[arg(long = "publish", value_name = "[HOST:]CONTAINER[/tcp|udp]", value_parser = values::port_mapping)]
    pub(crate) ports: Vec<NetIn>,
    /// What it may reach beyond the default, such as tcp,to=10.0.0.0/8,ports=443; may be repeated
    #[arg(long = "allow", value_name = "RULE", value_parser = values::net_out_rule)]
    pub(crate) allowed: Vec<NetOutRule>,
    /// What it may reach that no rule allows: everything the operator does not deny, or nothing [default: the server's]
    #[arg(long, value_name = "allow|deny")]
    pub(crate) egress: Option<Egress>,
    /// Kernel setting of the container's own namespaces; may be repeated
    #[arg(long = "sysctl", value_name = "NAME=VALUE", value_parser = values::pair)]
    pub(crate) sysctls: Vec<(String, String)>,
    /// System calls that are allowed: those of a profile (a file in the form of OCI or Docker), or unconfined
    #[arg(long, value_name = "FILE|unconfined", value_parser = values::seccomp)]
    pub(crate) seccomp: Option<SeccompProfile>,
    /// Capabilities that programs inherit: none (strict), or those of the bounding set as Garden has it (garden)
    /// [default: strict]
    #[arg(long, value_name = "strict|garden", value_parser = CapabilityProfile::parse)]
    pub(crate) capabilities: Option<CapabilityProfile>,
    /// AppArmor profile that confines its processes, or unconfined [default: the server's, if it has one]
    #[arg(long, value_name = "NAME|unconfined", value_parser = ApparmorProfile::parse)]
    pub(crate) apparmor: Option<ApparmorProfile>,
    /// Remove the container when it was not asked for anything this long, such as 5m; 0 = never
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) grace_time: Option<Duration>,
}

impl ContainerOptions {
    /// The words of the API for these options.
    ///
    /// # Errors
    /// `InvalidArgument` naming the option's value that is wrong.
    pub(crate) fn spec(&self) -> Result<ContainerSpec> {
        let uri = self.image.as_deref().map(values::image).transpose()?.unwrap_or_default();
        Ok(ContainerSpec {
            handle: self.handle.clone(),
            grace_time: self.grace_time,
            image: ImageRef::uri(uri),
            bind_mounts: self.binds.clone(),
            network: self.network_mode(),
            properties: Properties::from_pairs(self.properties.iter().cloned())?,
            env: environment(&self.env)?,
            privileged: self.privileged,
            limits: self.limits()?,
            netin: self.ports.clone(),
            netout: self.allowed.clone(),
            egress: self.egress,
            sysctls: self.sysctls.clone(),
            seccomp: self.seccomp.clone().unwrap_or_default(),
            capabilities: self.capabilities.unwrap_or_default(),
            apparmor: self.apparmor.clone().unwrap_or_default(),
        })
    }

    fn network_mode(&self) -> NetworkMode {
        match self.network.as_deref() {
            None | Some("default") => NetworkMode::Default,
            Some("none") => NetworkMode::None,
            Some(name) => NetworkMode::Pool(name.to_owned()),
        }
    }

    fn limits(&self) -> Result<Limits> {
        if self.rate.network_burst.is_some() && self.rate.network_rate.is_none() {
            return Err(Error::invalid("--network-burst means nothing without --network-rate"));
        }
        Ok(Limits {
            cpu: CpuLimits { shares: self.cpu_weight.and_then(CpuShares::new), ..CpuLimits::default() },
            memory: MemoryLimits { bytes: self.memory.unwrap_or_default() },
            pids: PidLimits { max: self.pids.unwrap_or_default() },
            disk: DiskLimits { bytes: self.disk.unwrap_or_default(), ..DiskLimits::default() },
            io: self.io.limits()?,
            bandwidth: BandwidthLimits::default().changed(self.rate.change()),
        })
    }
}

/// Limits of the network.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct RateOptions {
    /// Most bytes that it sends in a second, and that it receives, such as 10M; 0 = no limit
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    network_rate: Option<u64>,
    /// Most bytes at once above that rate; 0 = a hundredth of it, 64K at least
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    network_burst: Option<u64>,
}

impl RateOptions {
    /// A change of the limits.
    pub(crate) fn change(self) -> BandwidthChange {
        BandwidthChange { rate: self.network_rate, burst: self.network_burst }
    }
}

/// Limits of block I/O.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct IoOptions {
    /// Weight of its block I/O, 10 to 1000; 0 = the ordinary 500
    #[arg(long, value_name = "WEIGHT")]
    io_weight: Option<u64>,
    /// Most bytes read from each disk in a second, such as 10M; 0 = no limit
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    io_read_bps: Option<u64>,
    /// Most bytes written to each disk in a second; 0 = no limit
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    io_write_bps: Option<u64>,
    /// Most operations that read from each disk in a second; 0 = no limit
    #[arg(long, value_name = "NUMBER")]
    io_read_iops: Option<u64>,
    /// Most operations that write to each disk in a second; 0 = no limit
    #[arg(long, value_name = "NUMBER")]
    io_write_iops: Option<u64>,
}

impl IoOptions {
    /// The limits of a new container.
    fn limits(self) -> Result<IoLimits> {
        Ok(Limits::default().changed(&LimitChange { io: self.change()?, ..LimitChange::default() }).io)
    }

    /// A change of the limits of one in use.
    ///
    /// # Errors
    /// `InvalidArgument` naming a weight that no kernel takes.
    pub(crate) fn change(self) -> Result<IoChange> {
        Ok(IoChange {
            weight: self.io_weight.map(IoWeight::new).transpose()?,
            read_bps: self.io_read_bps,
            write_bps: self.io_write_bps,
            read_iops: self.io_read_iops,
            write_iops: self.io_write_iops,
        })
    }
}

/// How a process is connected to this terminal.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct StreamOptions {
    /// Pass on standard input; without it the process reads an end of file at once
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the process a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
}

/// What happens to output while nobody is attached.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct OutputOptions {
    /// Output while nobody is attached: discard, block (the process waits, and the last 4M stay for gdn attach --from), hold
    /// (it waits only while no server runs), keep=SIZE (the last bytes stay, 4M at most), or block,keep=SIZE [default: discard]
    #[arg(long, value_name = "POLICY", value_parser = values::output_policy)]
    output_policy: Option<(OutputPolicy, u64)>,
}

impl OutputOptions {
    /// The process with this policy.
    pub(crate) fn of(self, spec: ProcessSpec) -> ProcessSpec {
        let (output, keep_output) = self.output_policy.unwrap_or_default();
        ProcessSpec { output, keep_output, ..spec }
    }
}

/// What makes a process a sidecar: a root file system, and perhaps limits, of its own.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SidecarOptions {
    /// Run from this image instead of the container's: as a sidecar, which shares everything but the files
    #[arg(long, value_name = "URI|PATH")]
    image: Option<String>,
    /// Directory or file of the host to show in the sidecar, read-only unless :rw; may be repeated
    #[arg(long = "bind", value_name = "SOURCE:TARGET[:ro|rw]", value_parser = values::bind_mount, requires = "image")]
    binds: Vec<BindMount>,
    /// Most memory of the sidecar, swap included; it then counts towards no limit of the container
    #[arg(long, value_name = "SIZE", value_parser = values::size, requires = "image")]
    memory: Option<u64>,
    /// Weight of the sidecar's processor share; it then counts towards no limit of the container
    #[arg(long, value_name = "SHARES", requires = "image")]
    cpu_weight: Option<u64>,
    /// Let the sidecar count towards no limit of the container; --memory and --cpu-weight imply it
    #[arg(long, requires = "image")]
    own_limits: bool,
}

impl SidecarOptions {
    /// The process as a sidecar, if an image was given.
    ///
    /// # Errors
    /// `InvalidArgument` for an image that cannot be one.
    pub(crate) fn of(self, spec: ProcessSpec) -> Result<ProcessSpec> {
        let Some(image) = self.image else { return Ok(spec) };
        let limited = self.own_limits || self.memory.is_some() || self.cpu_weight.is_some();
        let cpu = CpuLimits { shares: self.cpu_weight.and_then(CpuShares::new), ..CpuLimits::default() };
        let memory = MemoryLimits { bytes: self.memory.unwrap_or_default() };
        Ok(ProcessSpec {
            image: Some(ImageRef::uri(values::image(&image)?)),
            bind_mounts: self.binds,
            limits: limited.then_some((cpu, memory)),
            ..spec
        })
    }
}

/// As whom and where a process runs.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct UserOptions {
    /// User in the container: a name, UID, UID:GID or NAME:GROUP [default: root, or the image's for its own command]
    #[arg(short, long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Working directory in the container, created when missing [default: the user's home]
    #[arg(short = 'w', long, value_name = "DIR")]
    pub(crate) dir: Option<String>,
}

/// Collects `NAME=VALUE` pairs.
pub(crate) fn environment(pairs: &[(String, String)]) -> Result<Environment> {
    let mut environment = Environment::default();
    for (name, value) in pairs {
        environment.set(name, value)?;
    }
    Ok(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_were_not_given_leave_the_server_its_defaults() {
        assert_eq!(ContainerOptions::default().spec().unwrap(), ContainerSpec::default());
    }

    #[test]
    fn every_limit_arrives_in_its_place() {
        let options = ContainerOptions {
            memory: Some(1 << 26),
            cpu_weight: Some(512),
            pids: Some(10),
            disk: Some(1 << 30),
            io: IoOptions { io_weight: Some(10), io_read_bps: Some(7), ..IoOptions::default() },
            rate: RateOptions { network_rate: Some(8), network_burst: Some(9) },
            ..ContainerOptions::default()
        };
        let limits = options.spec().unwrap().limits;
        assert_eq!(limits.memory.bytes, 1 << 26);
        assert_eq!(limits.cpu.shares, CpuShares::new(512));
        assert_eq!(limits.pids.max, 10);
        assert_eq!(limits.bandwidth, BandwidthLimits { rate: 8, burst: 9 });
        assert_eq!(limits.disk.bytes, 1 << 30);
        assert_eq!((limits.io.weight, limits.io.read_bps), (IoWeight::new(10).unwrap(), 7));
    }

    #[test]
    fn limits_of_a_sidecar_are_absent_unless_asked_for() {
        let sidecar = SidecarOptions { image: Some("hello".into()), ..SidecarOptions::default() };
        assert_eq!(sidecar.clone().of(ProcessSpec::default()).unwrap().limits, None);
        let empty = SidecarOptions { own_limits: true, ..sidecar.clone() };
        assert_eq!(empty.of(ProcessSpec::default()).unwrap().limits, Some(Default::default()));
        let limited = SidecarOptions { memory: Some(1 << 20), ..sidecar };
        let (_, memory) = limited.of(ProcessSpec::default()).unwrap().limits.unwrap();
        assert_eq!(memory.bytes, 1 << 20);
        assert_eq!(SidecarOptions::default().of(ProcessSpec::default()).unwrap(), ProcessSpec::default());
    }

    #[test]
    fn the_network_none_is_a_mode_of_its_own() {
        let with = |network: &str| {
            ContainerOptions { network: Some(network.into()), ..Default::default() }.network_mode()
        };
        assert_eq!(with("none"), NetworkMode::None);
        assert_eq!(with("default"), NetworkMode::Default);
        assert_eq!(with("10.0.0.0/30"), NetworkMode::Pool("10.0.0.0/30".into()));
    }
}
