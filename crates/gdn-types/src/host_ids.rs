//! Ids of the host that a container has for itself.

use std::fmt;

use crate::{Error, Result};

/// Users of the host, and groups with the same numbers, that one container has for itself. Its own id 0 is the first, and ids
/// beyond the last do not exist in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostIds {
    first: u32,
    count: u32,
}

impl HostIds {
    /// The first id that may be handed out: below are the host's own accounts, its `nobody` (65534) included.
    pub const LEAST: u32 = 1 << 16;

    /// No id from here on may be handed out: many programs take them for negative numbers, and the engine itself uses them to
    /// tell containers apart.
    pub const END: u32 = 1 << 31;

    /// `count` ids from `first` on.
    ///
    /// # Errors
    /// `InvalidArgument` for none, and for any that may not be handed out.
    pub fn new(first: u32, count: u32) -> Result<Self> {
        let within = count > 0
            && first >= HostIds::LEAST
            && first.checked_add(count).is_some_and(|end| end <= HostIds::END);
        if within {
            return Ok(HostIds { first, count });
        }
        let (least, last) = (HostIds::LEAST, HostIds::END - 1);
        Err(Error::invalid(format!("{count} host ids from {first} on are not from {least} to {last}")))
    }

    /// The first id: the container's root.
    pub fn first(self) -> u32 {
        self.first
    }

    /// How many there are; at least 1.
    pub fn count(self) -> u32 {
        self.count
    }

    /// The last id.
    pub fn last(self) -> u32 {
        self.first + (self.count - 1)
    }

    /// The host's id of one of the container; `None` when it does not exist there.
    pub fn to_host(self, inside: u32) -> Option<u32> {
        (inside < self.count).then(|| self.first + inside)
    }
}

/// `100000-165535`: the first and the last.
impl fmt::Display for HostIds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.first, self.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_of_the_host_and_ids_of_the_engine_cannot_be_handed_out() {
        for (first, count) in [(0, 1), (65_535, 1), (100_000, 0), (1 << 31, 1), (100_000, u32::MAX)] {
            let error = HostIds::new(first, count).unwrap_err();
            assert!(error.message().contains(&first.to_string()), "{}", error.message());
        }
        assert_eq!(HostIds::new(65_536, (1 << 31) - 65_536).unwrap().last(), (1 << 31) - 1);
    }

    #[test]
    fn ids_beyond_the_last_do_not_exist() {
        let ids = HostIds::new(100_000, 65_536).unwrap();
        assert_eq!(
            (ids.to_host(0), ids.to_host(65_535), ids.to_host(65_536)),
            (Some(100_000), Some(165_535), None)
        );
        assert_eq!(ids.to_string(), "100000-165535");
    }
}
