//! Whose ids a container's are on the host.

use gdn_namespaces::IdMap;
use gdn_types::HostIds;

/// The map of a container: into host ids of its own, or the one that all without share.
pub(crate) fn map(privileged: bool, ids: Option<HostIds>) -> IdMap {
    match (privileged, ids) {
        (true, _) => IdMap::identity(),
        (false, None) => IdMap::container_default(),
        (false, Some(ids)) => IdMap::range(ids.first(), ids.count()),
    }
}

/// In the form of the wire, for the keeper; none for a privileged container.
pub(crate) fn triples(privileged: bool, ids: Option<HostIds>) -> Vec<u32> {
    if privileged { Vec::new() } else { map(privileged, ids).triples() }
}
