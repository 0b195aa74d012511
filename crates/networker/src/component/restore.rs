//! The start: what an earlier life left is adopted, and what belongs to nobody ends.

use std::collections::{BTreeMap, HashMap};
use std::sync::PoisonError;
use std::time::Instant;

use gdn_types::{ContainerId, Result};

use super::{Entry, Networks, Shared, USUAL_MTU};
use crate::firewall::Firewall;
use crate::leaving::Leaver;
use crate::links::Found;
use crate::netout::Destinations;
use crate::pools::{Addresses, Pools};
use crate::record::Reservation;
use crate::store::Stored;

/// Makes the table anew out of what is in force, after somebody took it away, and ends what was begun meanwhile, so that it is
/// judged by the rules.
pub(super) fn put_back(firewall: &Firewall, networks: &Networks) -> Result<()> {
    let calm = firewall.no_changes();
    let reservations: Vec<Reservation> = {
        let networks = networks.lock().unwrap_or_else(PoisonError::into_inner);
        let guarded = || networks.iter().filter(|(_, entry)| entry.guarded);
        firewall.rebuild(guarded().map(|(id, entry)| (id, &entry.reservation, &entry.destinations)))?;
        guarded().map(|(_, entry)| entry.reservation.clone()).collect()
    };
    drop(calm);
    firewall.judge_anew(&reservations)
}

impl Shared {
    pub(super) fn restore(&self, known: &[ContainerId]) -> Result<()> {
        let mut stored = self.ledger.load();
        let mut networks = HashMap::new();
        let last = self.ledger.last_ports();
        self.pools.with(|pools| Pools::new(&self.config, last).map(|new| *pools = new))?;
        for id in known {
            if let Some(found) = stored.remove(id) {
                self.files.adopt(id, found.reservation.lease.gateway());
                networks.insert(*id, self.adopt(id, found));
            }
        }
        let mut leavers = self.adopt_links(&mut networks, &stored)?;
        self.adopt_limits(&mut networks, &mut leavers)?;
        self.refuse_overlap()?;
        let guarded = networks.iter().filter(|(_, entry)| entry.link.is_some());
        // Nothing is put back out of what is not known yet.
        let calm = self.firewall.no_changes();
        let was_there = self
            .firewall
            .rebuild(guarded.map(|(id, entry)| (id, &entry.reservation, &entry.destinations)))?;
        for entry in networks.values_mut() {
            (entry.guarded, entry.tracked) = (entry.link.is_some(), entry.link.is_some());
        }
        self.judge_anew(&networks, was_there)?;
        let free = stored.values().flat_map(|stored| stored.reservation.addresses());
        self.firewall.forget_connections(&free.collect::<Vec<_>>())?;
        for id in stored.keys() {
            if !leavers.iter().any(|leaver| leaver.id == *id) {
                self.ledger.forget(id)?;
            }
        }
        leavers.into_iter().for_each(|leaver| self.leaving.add(leaver));
        for id in self.files.present()?.iter().filter(|id| !networks.contains_key(*id)) {
            if let Err(error) = self.files.remove(id) {
                tracing::warn!(%id, %error, "a hosts file of nobody stays");
            }
        }
        *self.networks() = networks;
        drop(calm);
        Ok(())
    }

    /// Takes a container's addresses and ports back. What stands in its way is told; the others must not suffer from it.
    fn adopt(&self, id: &ContainerId, stored: Stored) -> Entry {
        let Stored { reservation, rules, added, next } = stored;
        self.pools.with(|pools| {
            if let Err(error) = pools.adopt_addresses(reservation.held()) {
                tracing::error!(%id, %error, "the address of a container is another's too");
            }
            for port in &reservation.ports {
                if let Err(error) = pools.adopt_port(*port) {
                    tracing::error!(%id, %error, "a port of a container is another's too");
                }
            }
        });
        let mut destinations = Destinations::default();
        if let Err(error) = destinations.add_known(&rules) {
            tracing::error!(%id, %error, "the rules of a container cannot be restored: it reaches what the default allows");
        }
        Entry {
            reservation,
            destinations,
            added_rules: added,
            next_rules: next.max(1),
            mtu: USUAL_MTU,
            link: None,
            guarded: false,
            tracked: false,
            limited: false,
        }
    }

    /// Finds the links of the known, and answers those of nobody, which are to be left to end.
    fn adopt_links(
        &self,
        networks: &mut HashMap<ContainerId, Entry>,
        unknown: &BTreeMap<ContainerId, Stored>,
    ) -> Result<Vec<Leaver>> {
        let mut leavers = Vec::new();
        for Found { id, index } in self.links.all()? {
            if let Some(entry) = networks.get_mut(&id) {
                entry.link = Some(index);
                continue;
            }
            let addresses = unknown.get(&id).map(|stored| stored.reservation.held());
            // Held until the link is gone, unless it is a known container's.
            let held =
                |addresses: &Addresses| self.pools.with(|pools| pools.adopt_addresses(*addresses).is_ok());
            leavers.push(Leaver {
                id,
                link: index,
                limited: false,
                addresses: addresses.filter(held),
                tracked: Vec::new(),
                since: Instant::now(),
            });
        }
        Ok(leavers)
    }

    /// Limits links again whose limits an earlier life did not come to, and removes the intermediate links of nobody.
    fn adopt_limits(&self, networks: &mut HashMap<ContainerId, Entry>, leavers: &mut [Leaver]) -> Result<()> {
        for id in self.links.limited()? {
            if let Some(entry) = networks.get_mut(&id) {
                entry.limited = true;
            } else if let Some(leaver) = leavers.iter_mut().find(|leaver| leaver.id == id) {
                leaver.limited = true;
            } else {
                self.links.remove_intermediate(&id)?;
            }
        }
        for (id, entry) in networks.iter_mut() {
            let Some(link) = entry.link else { continue };
            match (entry.reservation.is_limited(), entry.limited) {
                (true, _) => self.links.limit(id, link, entry.reservation.bandwidth)?,
                (false, true) => self.links.unlimit(id, link)?,
                (false, false) => {}
            }
            entry.limited = entry.reservation.is_limited();
        }
        Ok(())
    }

    /// An engine whose range is somebody else's does not start.
    fn refuse_overlap(&self) -> Result<()> {
        self.firewall.refuse_shared()?;
        let pool = self.config.pool;
        self.links.refuse_taken(pool.base().into(), pool.prefix_length())?;
        match self.config.pool6 {
            Some((range, _)) => self.links.refuse_taken(range.base().into(), range.length()),
            None => Ok(()),
        }
    }

    /// After an operator's change ends what containers began under the former rules; also what they began without any,
    /// where somebody took the table away while no engine ran.
    fn judge_anew(&self, networks: &HashMap<ContainerId, Entry>, was_there: bool) -> Result<()> {
        let policy = self.firewall.policy();
        let before = self.ledger.policy();
        if was_there && before.as_ref() == Some(&policy) {
            return Ok(());
        }
        let tracked = networks.values().filter(|entry| entry.tracked);
        self.firewall.judge_anew(tracked.map(|entry| &entry.reservation))?;
        self.ledger.set_policy(&policy)
    }
}
