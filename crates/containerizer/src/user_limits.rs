//! What containers may have of objects that the kernel counts by user and user namespace.

use gdn_types::ContainerId;
use uuid::Uuid;

/// The most of them for each user of a container. 0 = what the host allows its own users.
///
/// All users of a container together never get more than one user of the host: that is how they are counted there, whatever
/// these say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserLimits {
    /// Instances of inotify, and groups of fanotify.
    pub inotify_instances: u32,
    /// Files watched by inotify, and marked by fanotify.
    pub inotify_watches: u32,
    /// Namespaces of each kind.
    pub namespaces: u32,
}

impl Default for UserLimits {
    /// More than any ordinary program needs, and far below what would be felt by the host.
    fn default() -> Self {
        UserLimits { inotify_instances: 512, inotify_watches: 128 * 1024, namespaces: 256 }
    }
}

/// Files of `/proc/sys/user` that a namespace count goes to.
const NAMESPACES: [&str; 8] = [
    "max_user_namespaces",
    "max_mnt_namespaces",
    "max_net_namespaces",
    "max_pid_namespaces",
    "max_ipc_namespaces",
    "max_uts_namespaces",
    "max_cgroup_namespaces",
    "max_time_namespaces",
];

/// Ids of the host from here on belong to nobody: many programs take them for negative numbers, so that no range of accounts
/// or of subordinate ids reaches them.
const FIRST_OWNER: u32 = 1 << 31;
/// How many there are, up to those that mean nobody or a container's root.
const OWNERS: u32 = (1 << 31) - (1 << 16);

impl UserLimits {
    /// In the form of the wire: file and value alternating.
    pub(crate) fn settings(self) -> Vec<String> {
        let notifications = [
            ("max_inotify_instances", self.inotify_instances),
            ("max_fanotify_groups", self.inotify_instances),
            ("max_inotify_watches", self.inotify_watches),
            ("max_fanotify_marks", self.inotify_watches),
        ];
        let namespaces = NAMESPACES.map(|name| (name, self.namespaces));
        let given = notifications.into_iter().chain(namespaces).filter(|(_, most)| *most > 0);
        given.flat_map(|(name, most)| [name.to_owned(), most.to_string()]).collect()
    }
}

/// The host's user that owns the container's user namespace, and towards whom its users are counted. Never root, whom all
/// containers would have in common. That two given containers share theirs has a chance of one in two thousand million.
pub(crate) fn owner(id: &ContainerId) -> u32 {
    FIRST_OWNER + Uuid::new_v5(&Uuid::NAMESPACE_OID, id.as_str().as_bytes()).as_fields().0 % OWNERS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_limited_is_not_written() {
        let limits = UserLimits { inotify_instances: 7, inotify_watches: 0, namespaces: 0 };
        assert_eq!(limits.settings(), ["max_inotify_instances", "7", "max_fanotify_groups", "7"]);
        assert_eq!(UserLimits::default().settings().len(), 2 * (4 + NAMESPACES.len()));
    }

    #[test]
    fn owners_are_nobodys_ids_and_differ() {
        let owners: std::collections::HashSet<u32> =
            (0..1000).map(|bits| owner(&ContainerId::from_bits(bits))).collect();
        assert!(owners.len() > 990, "{}", owners.len());
        assert!(owners.iter().all(|owner| (FIRST_OWNER..FIRST_OWNER + OWNERS).contains(owner)));
        assert_eq!(owner(&ContainerId::from_bits(7)), owner(&ContainerId::from_bits(7)));
    }
}
