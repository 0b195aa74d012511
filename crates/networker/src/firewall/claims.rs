//! What the engines of a host hand out, as their tables tell each other.
//!
//! Two that hand out the same addresses or host ports would each take for free what the other one's containers have. A table
//! carries a comment that says what its engine hands out, and whoever makes one reads the others' first.

use gdn_ipam::{Prefix, Subnet};
use gdn_nft::{Family, Socket, Table, TableInfo};
use gdn_types::{Error, ErrorKind, Result};

use super::failed;
use crate::config::NetworkerConfig;

/// With what the tables of engines are named.
const OF_ENGINES: &str = "gdn-";
/// A map of such a table that has an element for each container.
const GUESTS: &str = "guests4";

/// What an engine hands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pool: Subnet,
    pool6: Option<Prefix>,
    /// The first and the last host port.
    ports: (u16, u16),
}

impl Claim {
    pub(super) fn of(config: &NetworkerConfig) -> Self {
        let first = config.port_pool_start;
        let last = first.saturating_add(config.port_pool_size.saturating_sub(1));
        Claim { pool: config.pool, pool6: config.pool6.map(|(range, _)| range), ports: (first, last) }
    }

    /// The comment of the engine's table.
    pub(super) fn text(&self) -> String {
        let (first, last) = self.ports;
        let six = self.pool6.map(|range| format!(" pool6={range}")).unwrap_or_default();
        format!("pool={} ports={first}-{last}{six}", self.pool)
    }

    /// Reads such a comment; absent for another.
    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| text.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let (first, last) = field("ports")?.split_once('-')?;
        let pool6 = match field("pool6") {
            Some(range) => Some(range.parse().ok()?),
            None => None,
        };
        let ports = (first.parse().ok()?, last.parse().ok()?);
        Some(Claim { pool: field("pool")?.parse().ok()?, pool6, ports })
    }

    /// What of this is the other one's too, in words.
    fn shared_with(&self, other: &Claim) -> Option<String> {
        if self.pool.overlaps(other.pool) {
            return Some(format!("the addresses {}", other.pool));
        }
        if let (Some(ours), Some(theirs)) = (self.pool6, other.pool6)
            && ours.overlaps(theirs)
        {
            return Some(format!("the addresses {theirs}"));
        }
        let ((first, last), (other_first, other_last)) = (self.ports, other.ports);
        let overlap = first <= other_last && other_first <= last;
        overlap.then(|| format!("the host ports {other_first}-{other_last}"))
    }
}

/// Refuses to hand out what another engine does, which runs or has containers. `ours` is our own table's name.
///
/// # Errors
/// `FailedPrecondition` naming the engine and what it hands out.
pub(super) fn refuse_shared(socket: &mut Socket, ours: &str, claim: &Claim) -> Result<()> {
    let doing = |error| failed("look for the firewalls of other engines", error);
    for found in socket.tables(None).map_err(doing)? {
        if found.family != Family::Inet || found.name == ours || !found.name.starts_with(OF_ENGINES) {
            continue;
        }
        let theirs = found.comment.as_deref().and_then(Claim::parse);
        let Some(shared) = theirs.and_then(|theirs| claim.shared_with(&theirs)) else { continue };
        if is_in_use(socket, &found)? {
            let text = format!(
                "the engine {} of this host hands out {shared}: choose others with --network-pool, --network-pool6 or \
                 --port-pool-start",
                found.name
            );
            return Err(Error::new(ErrorKind::FailedPrecondition, text));
        }
    }
    Ok(())
}

/// Whether an engine runs that has such a table, as far as the kernel tells, or containers are left of one.
fn is_in_use(socket: &mut Socket, table: &TableInfo) -> Result<bool> {
    if table.owner.is_some() {
        return Ok(true);
    }
    match socket.elements(&Table::new(table.family, &table.name), GUESTS) {
        Ok(guests) => Ok(!guests.is_empty()),
        // It has just gone, or is being made.
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(failed("look for the containers of another engine", error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(pool: &str, pool6: Option<&str>, ports: (u16, u16)) -> Claim {
        Claim { pool: pool.parse().unwrap(), pool6: pool6.map(|range| range.parse().unwrap()), ports }
    }

    #[test]
    fn a_claim_reads_back_and_nothing_else_is_one() {
        for claim in [
            claim("10.254.0.0/22", None, (61001, 65534)),
            claim("10.0.0.0/8", Some("fd00:1234:5678:9abc::/64"), (1, 1)),
        ] {
            assert_eq!(Claim::parse(&claim.text()), Some(claim));
        }
        for text in
            ["", "of somebody", "pool=10.254.0.0/22", "pool=x ports=1-2", "pool=10.254.0.0/22 ports=1"]
        {
            assert_eq!(Claim::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_two_hand_out_is_told() {
        let ours = claim("10.254.0.0/22", Some("fd00::/64"), (61001, 62000));
        for (theirs, shared) in [
            (claim("10.255.0.0/22", None, (62001, 63000)), None),
            (claim("10.254.2.0/24", None, (1, 2)), Some("the addresses 10.254.2.0/24")),
            (claim("10.255.0.0/22", Some("fd00::/96"), (1, 2)), Some("the addresses fd00::/96")),
            (claim("10.255.0.0/22", Some("fd01::/64"), (62000, 63000)), Some("the host ports 62000-63000")),
            (claim("10.255.0.0/22", None, (60000, 61001)), Some("the host ports 60000-61001")),
        ] {
            assert_eq!(ours.shared_with(&theirs).as_deref(), shared);
            assert_eq!(theirs.shared_with(&ours).is_some(), shared.is_some());
        }
    }
}
