//! The four components of the engine as traits, each told as a story before its methods.
//!
//! The orchestrator (`gardener-core`) knows only these; the crates `containerizer`, `networker`, `volumizer` and
//! `properties` implement one each. No component calls another: whatever one needs of another passes through the
//! orchestrator, as an owned file descriptor or as words of `gdn-types`.
//!
//! # Rules for every component
//!
//! * **Names.** A component is given a [`ContainerId`](gdn_types::ContainerId), never a handle, except where a person reads
//!   it (a host name, a log prefix).
//! * **Destroy is idempotent and complete.** It succeeds for an id it has never heard of. It tries every part, gathers what
//!   fails and returns all of it; what it could not remove it still finds at the next call.
//! * **A failed call leaves its traces to destroy.** The orchestrator calls destroy after every failure, so a component
//!   need not unwind by itself, but destroy must find whatever a half-done call made, also after a crash of the engine.
//! * **Calls for different ids never wait for each other**; calls for one id are made one at a time by the orchestrator,
//!   except process calls, which may overlap each other and a destroy.
//! * **Cancelling.** A dropped future may leave its work half done, never wrong: destroy still finds everything.
//! * **Blocking** work belongs on a blocking thread of the component's own choice; a call never blocks the async runtime.
//! * **Errors.** The component picks the [`ErrorKind`](gdn_types::ErrorKind).

mod containerizer;
mod network;
mod properties;
mod volume;

pub use containerizer::{
    Attachment, ContainerPlan, Containerizer, CreatedContainer, EventSink, ImageMount, Restored, RunContext,
    Sandbox, SandboxSpec, SidecarPlan, StreamOut,
};
pub use network::{NetworkInfo, NetworkRequest, Networker};
pub use properties::{ContainerRecord, NotedEvent, PropertyManager};
pub use volume::{Volume, VolumeId, VolumeRequest, Volumizer};
