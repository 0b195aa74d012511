//! Where reservations and rules are kept.
//!
//! Each container has one key for its reservation, and one for each set of rules that came together, so that one more rule
//! costs the same with ten and ten thousand others.

use std::collections::BTreeMap;
use std::sync::Arc;

use gdn_state::{Batch, Commit, Store};
use gdn_types::{ContainerId, Error, ErrorKind, NetOutRule, Result};

use crate::record::{self, Reservation};

const RESERVATION: &str = "network/";
const RULES: &str = "network-rules/";
const LAST_PORT: &str = "network-last-port";
const LAST_UDP_PORT: &str = "network-last-udp-port";
const POLICY: &str = "network-policy";

/// The number of the rules that a container is made with.
const MADE_WITH: u32 = 0;

/// A container's network as an earlier life wrote it down.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) reservation: Reservation,
    pub(crate) rules: Vec<NetOutRule>,
    /// How often rules were added to those that it was made with, or that took the place of all others.
    pub(crate) added: u64,
    /// The number of the next rules.
    pub(crate) next: u32,
}

/// The host ports of each protocol that came last out of their pool's order, which a later life goes on behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastPorts {
    pub(crate) tcp: Option<u16>,
    pub(crate) udp: Option<u16>,
}

/// The durable side of a networker. Calls that write wait for what they promise.
#[derive(Clone, Debug)]
pub(crate) struct Ledger(Arc<Store>);

/// What is just being written.
#[must_use = "whether it is written is known at its end"]
pub(crate) struct Writing(Commit);

impl Writing {
    /// Waits until it is durable.
    pub(crate) fn end(self) -> Result<()> {
        self.0.wait().map_err(unwritten)
    }
}

impl Ledger {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Ledger(store)
    }

    /// Everything that is written down. What cannot be read is told in the log, and its container not known.
    pub(crate) fn load(&self) -> BTreeMap<ContainerId, Stored> {
        let mut known = BTreeMap::new();
        for (key, value) in self.0.scan(RESERVATION) {
            match id_of(&key, RESERVATION).and_then(|id| Ok((id, Reservation::decode(&value)?))) {
                Ok((id, reservation)) => {
                    known.insert(id, Stored { reservation, rules: Vec::new(), added: 0, next: 0 });
                }
                Err(error) => tracing::error!(%error, "the network of a container cannot be read"),
            }
        }
        for (id, stored) in &mut known {
            let mut is_first = true;
            for (key, value) in self.0.scan(rules_of(id)) {
                let number = number_of(&key);
                // The first rules are those of the replacement; a container that has seen none may have been made without.
                let is_base = is_first && (stored.reservation.generation > 0 || number == Some(MADE_WITH));
                stored.added += u64::from(!is_base);
                is_first = false;
                match record::decode_rules(&value) {
                    Ok(rules) => stored.rules.extend(rules),
                    Err(error) => tracing::error!(%id, %error, "rules of a container cannot be read"),
                }
                stored.next = number.map_or(stored.next, |number| number.saturating_add(1));
            }
        }
        known
    }

    /// The host ports that were handed out last.
    pub(crate) fn last_ports(&self) -> LastPorts {
        let last = |key| {
            let bytes = self.0.get(key)?;
            Some(u16::from_be_bytes(bytes.as_ref().try_into().ok()?))
        };
        LastPorts { tcp: last(LAST_PORT), udp: last(LAST_UDP_PORT) }
    }

    /// What the operator allowed and denied in the life that wrote it; absent before the first.
    pub(crate) fn policy(&self) -> Option<String> {
        self.0.get(POLICY).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes that down.
    pub(crate) fn set_policy(&self, policy: &str) -> Result<()> {
        let mut batch = Batch::new();
        put(&mut batch, POLICY, policy.as_bytes())?;
        self.0.commit(batch).wait().map_err(unwritten)
    }

    /// Writes a reservation down with its first rules. It survives a kill; whatever is made durable later makes it so too.
    pub(crate) fn reserve(
        &self,
        id: &ContainerId,
        reservation: &Reservation,
        rules: &[NetOutRule],
        last: LastPorts,
    ) -> Result<()> {
        let mut batch = Batch::new();
        put(&mut batch, &reservation_of(id), &reservation.encode())?;
        if !rules.is_empty() {
            put(&mut batch, &rules_key(id, MADE_WITH), &record::encode_rules(rules))?;
        }
        for (key, port) in [(LAST_PORT, last.tcp), (LAST_UDP_PORT, last.udp)] {
            if let Some(port) = port {
                put(&mut batch, key, &port.to_be_bytes())?;
            }
        }
        self.0.commit_written(batch).wait().map_err(unwritten)
    }

    /// Begins to add rules, durably.
    pub(crate) fn begin_rules(&self, id: &ContainerId, number: u32, rules: &[NetOutRule]) -> Result<Writing> {
        let mut batch = Batch::new();
        put(&mut batch, &rules_key(id, number), &record::encode_rules(rules))?;
        Ok(Writing(self.0.commit(batch)))
    }

    /// Takes back what [`begin_rules`](Self::begin_rules) wrote.
    pub(crate) fn take_back_rules(&self, id: &ContainerId, number: u32) -> Result<()> {
        let mut batch = Batch::new();
        delete(&mut batch, &rules_key(id, number))?;
        self.0.commit(batch).wait().map_err(unwritten)
    }

    /// Puts rules in the place of all others, durably and in one step.
    pub(crate) fn replace_rules(
        &self,
        id: &ContainerId,
        reservation: &Reservation,
        number: u32,
        rules: &[NetOutRule],
    ) -> Result<()> {
        let mut batch = Batch::new();
        put(&mut batch, &reservation_of(id), &reservation.encode())?;
        self.delete_rules(&mut batch, id)?;
        // Also where there are none: what comes behind was added.
        put(&mut batch, &rules_key(id, number), &record::encode_rules(rules))?;
        self.0.commit(batch).wait().map_err(unwritten)
    }

    /// The rules of a container, oldest first.
    pub(crate) fn rules(&self, id: &ContainerId) -> Result<Vec<NetOutRule>> {
        let mut rules = Vec::new();
        for (_, value) in self.0.scan(rules_of(id)) {
            rules.extend(record::decode_rules(&value)?);
        }
        Ok(rules)
    }

    fn delete_rules(&self, batch: &mut Batch, id: &ContainerId) -> Result<()> {
        for (key, _) in self.0.scan(rules_of(id)) {
            batch.delete(&key).map_err(unwritten)?;
        }
        Ok(())
    }

    /// Forgets a container. It survives a kill; whatever is made durable later makes it so too.
    pub(crate) fn forget(&self, id: &ContainerId) -> Result<()> {
        let mut batch = Batch::new();
        delete(&mut batch, &reservation_of(id))?;
        self.delete_rules(&mut batch, id)?;
        self.0.commit_written(batch).wait().map_err(unwritten)
    }
}

/// Whether a store has networks of containers.
pub fn has_networks(store: &Store) -> bool {
    !store.scan(RESERVATION).is_empty()
}

/// The store's refusal in the engine's words.
fn unwritten(error: gdn_state::Error) -> Error {
    Error::caused(ErrorKind::Unavailable, "write the network of a container down", error)
}

fn put(batch: &mut Batch, key: &str, value: &[u8]) -> Result<()> {
    batch.put(key, value).map(drop).map_err(unwritten)
}

fn delete(batch: &mut Batch, key: &str) -> Result<()> {
    batch.delete(key).map(drop).map_err(unwritten)
}

fn reservation_of(id: &ContainerId) -> String {
    format!("{RESERVATION}{id}")
}

fn rules_of(id: &ContainerId) -> String {
    format!("{RULES}{id}/")
}

/// Numbers have a fixed width, so that keys are found in their order.
fn rules_key(id: &ContainerId, number: u32) -> String {
    format!("{}{number:08x}", rules_of(id))
}

fn id_of(key: &[u8], prefix: &str) -> Result<ContainerId> {
    ContainerId::parse(&String::from_utf8_lossy(&key[prefix.len()..]))
}

fn number_of(key: &[u8]) -> Option<u32> {
    let digits = key.rsplit(|byte| *byte == b'/').next()?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use gdn_ipam::Lease;
    use gdn_types::{Egress, Handle, Protocol};

    use super::*;

    #[test]
    fn what_is_written_is_there_for_the_next_life_and_gone_when_forgotten() {
        let place = tempfile::tempdir().unwrap();
        let open = || Ledger::new(Arc::new(Store::open(place.path()).unwrap()));
        let (one, two) = (ContainerId::from_bits(1), ContainerId::from_bits(2));
        let reservation = Reservation {
            handle: Handle::parse("web").unwrap(),
            lease: Lease { subnet: "10.254.0.0/30".parse().unwrap(), address: Ipv4Addr::new(10, 254, 0, 2) },
            prefix: None,
            ports: Vec::new(),
            egress: Egress::Deny,
            generation: 0,
            bandwidth: gdn_types::BandwidthLimits::default(),
        };
        let rule = |protocol| NetOutRule { protocol, ..NetOutRule::default() };
        let ledger = open();
        let last = LastPorts { tcp: Some(61007), udp: Some(61009) };
        ledger.reserve(&one, &reservation, &[rule(Protocol::Tcp)], last).unwrap();
        ledger.reserve(&two, &reservation, &[], LastPorts::default()).unwrap();
        ledger.begin_rules(&one, 1, &[rule(Protocol::Udp)]).unwrap().end().unwrap();
        ledger.begin_rules(&one, 16, &[rule(Protocol::Icmp)]).unwrap().end().unwrap();
        ledger.begin_rules(&one, 17, &[rule(Protocol::All)]).unwrap().end().unwrap();
        ledger.take_back_rules(&one, 17).unwrap();
        drop(ledger);

        let ledger = open();
        assert_eq!(ledger.last_ports(), last);
        let mut known = ledger.load();
        let stored = known.remove(&one).unwrap();
        assert_eq!(stored.reservation, reservation);
        let protocols: Vec<Protocol> = stored.rules.iter().map(|rule| rule.protocol).collect();
        assert_eq!((protocols, stored.next), (vec![Protocol::Tcp, Protocol::Udp, Protocol::Icmp], 17));
        assert_eq!(stored.added, 2);
        let added = |id| ledger.load().remove(id).unwrap().added;
        assert_eq!(known.remove(&two).unwrap().next, 0);
        assert_eq!(added(&two), 0);
        ledger.begin_rules(&two, 1, &[rule(Protocol::Udp)]).unwrap().end().unwrap();
        assert_eq!(added(&two), 1, "it was made without");
        let replaced = Reservation { generation: 2, ..reservation.clone() };
        ledger.replace_rules(&two, &replaced, 2, &[]).unwrap();
        assert_eq!(added(&two), 0);
        ledger.begin_rules(&two, 3, &[rule(Protocol::Udp)]).unwrap().end().unwrap();
        assert_eq!((added(&two), ledger.rules(&two).unwrap()), (1, vec![rule(Protocol::Udp)]));

        let replaced = Reservation { generation: 1, ..reservation };
        ledger.replace_rules(&one, &replaced, 17, &[rule(Protocol::All)]).unwrap();
        assert_eq!(ledger.rules(&one).unwrap(), [rule(Protocol::All)]);
        let stored = ledger.load().remove(&one).unwrap();
        assert_eq!((stored.reservation.generation, stored.rules.len(), stored.next), (1, 1, 18));
        assert_eq!(stored.added, 0);

        ledger.forget(&one).unwrap();
        ledger.forget(&one).unwrap();
        assert_eq!(ledger.load().into_keys().collect::<Vec<_>>(), [two]);
        ledger.forget(&two).unwrap();
        assert!(ledger.0.scan(RULES).is_empty());
    }
}
