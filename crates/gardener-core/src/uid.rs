//! Names the engine mints.

use gdn_types::{ContainerId, Handle, ProcessId};
use uuid::Uuid;

/// Makes names that were never used: the seed's `UidGenerator`.
pub(crate) struct UidGenerator;

impl UidGenerator {
    /// A container id out of 55 of a UUID's random bits.
    pub(crate) fn container() -> ContainerId {
        // The low half of a version 4 UUID is random below its two topmost bits.
        ContainerId::from_bits(Uuid::new_v4().as_u64_pair().1)
    }

    /// A handle for a client that names none.
    pub(crate) fn handle() -> Handle {
        Handle::parse(&Uuid::new_v4().to_string()).expect("a UUID is letters, digits and dashes")
    }

    /// A process id for a client that names none.
    pub(crate) fn process() -> ProcessId {
        ProcessId::parse(&Uuid::new_v4().to_string()).expect("a UUID is letters, digits and dashes")
    }
}
