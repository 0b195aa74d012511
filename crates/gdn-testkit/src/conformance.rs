//! One suite per component trait, run by the in-memory component, by the real one, and by the one behind gRPC.
//!
//! Each suite is a function that panics at the first promise that is not kept, naming it.

mod containerizer;
mod networker;
mod properties;
mod volumizer;

pub use containerizer::{ContainerizerCase, containerizer};
pub use networker::networker;
pub use properties::{property_manager, record};
pub use volumizer::volumizer;
