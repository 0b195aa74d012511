//! Which host id an id inside a user namespace is.

use std::fs::File;
use std::io::{self, Write};

/// The largest id that exists: `u32::MAX` means "no id" to the kernel.
const MAX_ID: u32 = u32::MAX - 1;

/// `length` ids from `inside` on are the host's ids from `outside` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// First id in the namespace.
    pub inside: u32,
    /// First id on the host.
    pub outside: u32,
    /// How many.
    pub length: u32,
}

/// The id map of a user namespace, for users and groups alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMap(Vec<IdRange>);

impl IdMap {
    /// The map of unprivileged containers: root is the host's highest id, every other id is itself.
    ///
    /// All containers share it; it is what Guardian uses and what its clients assert (conformance G33, G34).
    pub fn container_default() -> Self {
        IdMap(vec![
            IdRange { inside: 0, outside: MAX_ID, length: 1 },
            IdRange { inside: 1, outside: 1, length: MAX_ID - 1 },
        ])
    }

    /// The first `count` ids are the host's from `first` on; others do not exist.
    pub fn range(first: u32, count: u32) -> Self {
        IdMap(vec![IdRange { inside: 0, outside: first, length: count }])
    }

    /// A map from numbers in the order inside, outside, length; `None` unless they are triples.
    pub fn from_triples(numbers: &[u32]) -> Option<Self> {
        let (triples, rest) = numbers.as_chunks::<3>();
        // What goes beyond the last number is no range.
        let range = |&[inside, outside, length]: &[u32; 3]| {
            let is_range = inside.checked_add(length).is_some() && outside.checked_add(length).is_some();
            is_range.then_some(IdRange { inside, outside, length })
        };
        let ranges: Option<Vec<IdRange>> = triples.iter().map(range).collect();
        ranges.filter(|ranges| rest.is_empty() && !ranges.is_empty()).map(IdMap)
    }

    /// The map as numbers in the order inside, outside, length.
    pub fn triples(&self) -> Vec<u32> {
        self.0.iter().flat_map(|range| [range.inside, range.outside, range.length]).collect()
    }

    /// Every id is itself: the map of a privileged container.
    pub fn identity() -> Self {
        IdMap(vec![IdRange { inside: 0, outside: 0, length: u32::MAX }])
    }

    /// The host's id of an id inside; `None` when it is not mapped.
    pub fn to_host(&self, inside: u32) -> Option<u32> {
        self.0
            .iter()
            .find(|range| inside >= range.inside && inside - range.inside < range.length)
            .map(|range| range.outside + (inside - range.inside))
    }

    /// The map in the kernel's form, a line for each range.
    pub fn lines(&self) -> String {
        self.0.iter().map(|range| format!("{} {} {}\n", range.inside, range.outside, range.length)).collect()
    }

    /// Gives the user namespace of a process this map. Can be done once for each namespace.
    ///
    /// # Errors
    /// `EPERM` without CAP_SETUID and CAP_SETGID in the parent namespace, or when a map is there already.
    pub fn write(&self, pid: u32) -> io::Result<()> {
        let lines = self.lines();
        for file in ["uid_map", "gid_map"] {
            // The kernel takes a map in a single write only.
            File::options().write(true).open(format!("/proc/{pid}/{file}"))?.write_all(lines.as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_outside_the_map_do_not_exist() {
        let map = IdMap::container_default();
        assert_eq!(map.to_host(u32::MAX), None);
        assert_eq!(map.to_host(MAX_ID - 1), Some(MAX_ID - 1));
        assert_eq!(map.to_host(MAX_ID), None);
        assert_eq!(IdMap::identity().to_host(0), Some(0));
        let range = IdMap::range(100_000, 1000);
        assert_eq!((range.to_host(999), range.to_host(1000)), (Some(100_999), None));
        assert_eq!(range.lines(), "0 100000 1000\n");
    }
}
