//! The orchestrator: order, concurrency, unwinding and restore of containers.
//!
//! What it is: [`Gardener`], the one object every gate calls. It decides in which order the four components work, what
//! happens when one of them fails, what a client that goes away leaves behind, what a start makes of what an earlier run
//! left, and when a container that nobody names is destroyed.
//!
//! What it is not: it touches no kernel object, no file and no wire. It knows the words of `gdn-types` and the traits of
//! `gdn-traits` and nothing else. No byte of a process or of a tar passes through it: descriptors do.
//!
//! Start with [`Gardener::new`], then [`Gardener::start`]; [`Components`] and [`Config`] are what it is made from.
//!
//! # Invariants
//!
//! * A handle is in memory from before its claim until its record is durably gone: of any number of creates of one handle
//!   one wins, and a create that loses touches nothing of the winner's.
//! * The claim becomes durable while the first parts are made. They carry the container's id, never the handle, so that
//!   a start finds and removes those that have no record.
//! * From the claim on every failure, panic and cancellation ends in the one destroy. It tries every part, gathers what
//!   fails, keeps the record while anything remains, and is repeated in the background with growing pauses.
//! * A container is visible when its record is durably committed, not before. What cannot be removed yet is visible as
//!   `destroying`, with the reason.
//! * One destroy of a container runs at a time; it ends even if its caller goes away.
//! * A component that panics gives the error `Internal`, is counted, and takes nothing else with it.
//!
//! # Limitations
//!
//! * Events of [`ContainerInfo`](gdn_types::ContainerInfo) are kept in memory, the latest 100; a restart of the engine
//!   forgets them.
//! * A process with an image of its own is `Unimplemented`.
//! * `stream_out` of a lost container is handed to the containerizer, which answers what it can.
//! * A create is abandoned between two steps, not within one: a long import comes to its end first.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> gdn_types::Result<()> {
//! use gardener_core::{Components, Config, EventHub, Gardener};
//! use gdn_types::{ContainerSpec, PropertyFilter};
//!
//! // The in-memory world stands for the real components here.
//! let (world, events) = (gdn_testkit::World::new(), EventHub::new());
//! let components = Components {
//!     containerizer: world.containerizer(events.clone()),
//!     networker: world.networker(),
//!     volumizer: world.volumizer(),
//!     properties: world.properties(),
//! };
//! let gardener = Gardener::new(Config::default(), components, events);
//! gardener.start().await?;
//! let handle = gardener.create(ContainerSpec::default()).await?;
//! assert_eq!(gardener.list(&PropertyFilter::default())?, [handle.clone()]);
//! gardener.destroy(&handle).await?;
//! assert!(world.leftovers().is_empty());
//! # Ok(())
//! # }
//! ```

mod config;
mod container;
mod containers;
mod create;
mod destroy;
mod entitlement;
mod events;
mod faults;
mod figures;
mod finished;
mod gardener;
mod grace;
mod id_pool;
mod lookup;
mod network;
mod ports;
mod processes;
mod properties;
mod sidecars;
mod start;
mod streams;
mod throttling;
mod uid;

pub use config::{AfterReboot, Components, Config, StartReport};
pub use entitlement::Entitlement;
pub use events::EventHub;
pub use figures::{Census, OperationFigures};
pub use gardener::Gardener;
pub use grace::Hold;
pub use id_pool::IdPool;
pub use processes::RunningProcess;
pub use throttling::CpuThrottling;
