//! The words of the engine: everything that crosses a boundary between two crates of the workspace.
//!
//! What it is: plain data with constructors that refuse what cannot be meant ("parse, don't validate"),
//! one closed [`ErrorKind`], and the names and constants of the Garden API.
//!
//! What it is not: no I/O, no serialisation, no async runtime. Every wire format and every record on disk has its own
//! types in its own crate and converts from and to these.
//!
//! Start with [`ContainerSpec`] (what a client asks for), [`Handle`] (how it is named afterwards) and [`Error`].
//!
//! ```
//! use gdn_types::{ErrorKind, Handle};
//! let handle = Handle::parse("web-1").unwrap();
//! assert_eq!(handle.hostname(), "web-1");
//! assert_eq!(Handle::parse("..").unwrap_err().kind(), ErrorKind::InvalidArgument);
//! ```

mod apparmor;
mod capabilities;
mod container;
mod error;
mod event;
mod host_ids;
mod id;
mod image;
mod info;
mod limits;
mod metrics;
mod network;
mod process;
mod properties;

pub use apparmor::ApparmorProfile;
pub use capabilities::CapabilityProfile;
pub use container::{
    BindMode, BindMount, BindOrigin, ContainerSpec, ContainerState, Environment, SeccompProfile,
};
pub use error::{Error, ErrorKind, Result};
pub use event::{Event, EventKind, WantOfMemory};
pub use host_ids::HostIds;
pub use id::{ContainerId, EngineId, Handle, ProcessId};
pub use image::{ImageConfig, ImageRef};
pub use info::{Capacity, ContainerInfo, LifeState, PoolUsage, PortMapping};
pub use limits::{
    BandwidthChange, BandwidthLimits, CpuLimits, CpuShares, DiskLimits, DiskScope, IoChange, IoLimits,
    IoWeight, LimitChange, Limits, MemoryLimits, PidLimits, Rlimits,
};
pub use metrics::{
    ContainerMetrics, CpuStat, CpuThrottling, DiskStat, MemoryStat, NetworkStat, PidStat, Pressure,
    Pressures, Stall,
};
pub use network::{
    Egress, IcmpRule, IpRange, NetIn, NetOutRule, NetRules, NetworkMode, PortRange, Protocol, Transport,
    push_address,
};
pub use process::{
    AttachFrom, ExitStatus, OutputPolicy, ProcessSpec, ProcessState, Signal, StreamInSpec, StreamOutSpec,
    WindowSize,
};
pub use properties::{Properties, PropertyFilter, keys};
