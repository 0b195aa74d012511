//! Changes of a container's network: mapped ports, rules and limits.
//!
//! Each is written down first and put in force then; what cannot be put in force is taken back from where it was written.
//! Rules that are added are put in force while the disk is busy with them: until both is done nobody was told that they hold,
//! and a life that finds them written or not makes the table anew by what it finds.

use std::collections::BTreeSet;

use gdn_links::LinkIndex;
use gdn_types::{BandwidthLimits, ContainerId, Error, ErrorKind, NetIn, NetOutRule, PortMapping, Result};

use super::{MOST_PORTS, Shared, handed_out, no_port, no_rate, too_many_ports};
use crate::netout::{Added, Destinations, SetKind};
use crate::record::Reservation;
use crate::store::LastPorts;

impl Shared {
    pub(super) fn net_in(&self, id: &ContainerId, request: NetIn) -> Result<NetIn> {
        let _changing = self.firewall.changes();
        let before = self.networks().get(id).map(|entry| (entry.reservation.clone(), entry.guarded));
        let (mut reservation, guarded) = before.ok_or_else(|| no_port(request))?;
        if reservation.ports.len() >= MOST_PORTS {
            return Err(too_many_ports());
        }
        let mapping = self.pools.with(|pools| pools.take_port(request))?;
        reservation.ports.push(mapping);
        let last = handed_out(&[request], &[mapping]);
        let mapped = self
            .ledger
            .reserve(id, &reservation, &[], last)
            .and_then(|()| if guarded { self.firewall.map_port(id, &reservation, mapping) } else { Ok(()) });
        if let Err(error) = mapped {
            reservation.ports.pop();
            let undone = self.ledger.reserve(id, &reservation, &[], LastPorts::default());
            if let Err(error) = undone {
                tracing::error!(%id, %error, "a port that could not be mapped stays written down");
            }
            self.pools.with(|pools| pools.give_back_ports(&[mapping]));
            return Err(error);
        }
        if guarded {
            self.firewall.lead_here(id, &[mapping]);
        }
        self.change(id, |entry| entry.reservation = reservation);
        let PortMapping { host_port, container_port, transport } = mapping;
        Ok(NetIn { host_port, container_port, transport })
    }

    pub(super) fn unmap(&self, id: &ContainerId, mapping: NetIn) -> Result<()> {
        let _changing = self.firewall.changes();
        let known = self.networks().get(id).map(|entry| (entry.reservation.clone(), entry.guarded));
        let Some((earlier, guarded)) = known else { return Ok(()) };
        let NetIn { host_port, container_port, transport } = mapping;
        let mapping = PortMapping { host_port, container_port, transport };
        if !earlier.ports.contains(&mapping) {
            return Ok(());
        }
        let ports = earlier.ports.iter().copied().filter(|port| *port != mapping).collect();
        let reservation = Reservation { ports, ..earlier.clone() };
        self.ledger.reserve(id, &reservation, &[], LastPorts::default())?;
        if guarded && let Err(error) = self.firewall.unmap_port(id, &reservation, mapping) {
            let undone = self.ledger.reserve(id, &earlier, &[], LastPorts::default());
            if let Err(error) = undone {
                tracing::error!(%id, %error, "a port that is mapped is not written down");
            }
            return Err(error);
        }
        self.change(id, |entry| entry.reservation = reservation);
        self.pools.with(|pools| pools.give_back_ports(&[mapping]));
        Ok(())
    }

    pub(super) fn net_out(&self, id: &ContainerId, rules: &[NetOutRule]) -> Result<()> {
        let _changing = self.firewall.changes();
        let taken = self.networks().get_mut(id).map(|entry| {
            let number = entry.next_rules;
            entry.next_rules += 1;
            let destinations = std::mem::take(&mut entry.destinations);
            (entry.reservation.clone(), entry.guarded, destinations, number)
        });
        let Some((reservation, guarded, mut destinations, number)) = taken else {
            // Rules that allow more than nothing change nothing where nothing can leave.
            return Destinations::default().add(rules).map(drop);
        };
        // Without the lock: many rules take a while, and others ask for other containers.
        let before = destinations.kinds();
        let done = destinations.add(rules).and_then(|added| {
            let done = self.allow(id, &reservation, guarded, (number, rules), (&before, &added));
            done.inspect_err(|_| destinations.take_back(&added)).map(|()| !added.is_empty())
        });
        self.change(id, |entry| {
            entry.destinations = destinations;
            entry.added_rules += u64::from(matches!(done, Ok(true)));
        });
        done.map(drop)
    }

    /// Writes rules down and puts what they add in force.
    fn allow(
        &self,
        id: &ContainerId,
        reservation: &Reservation,
        guarded: bool,
        (number, rules): (u32, &[NetOutRule]),
        (before, added): (&BTreeSet<SetKind>, &Added),
    ) -> Result<()> {
        if added.is_empty() {
            return Ok(());
        }
        let written = self.ledger.begin_rules(id, number, rules)?;
        let set = if guarded { self.firewall.allow(id, reservation, before, added) } else { Ok(()) };
        match (written.end(), set) {
            (Ok(()), Ok(())) => Ok(()),
            (Ok(()), Err(error)) => {
                if let Err(error) = self.ledger.take_back_rules(id, number) {
                    tracing::error!(%id, %error, "rules that could not be set stay written down");
                }
                Err(error)
            }
            (Err(error), Ok(())) => {
                if guarded && let Err(error) = self.firewall.forbid(id, reservation, before, added) {
                    tracing::error!(%id, %error, "rules that could not be written down stay in force for a moment");
                }
                Err(error)
            }
            (Err(error), Err(_)) => Err(error),
        }
    }

    pub(super) fn net_replace(
        &self,
        id: &ContainerId,
        rules: &[NetOutRule],
        expected: Option<u64>,
    ) -> Result<u64> {
        let _changing = self.firewall.changes();
        let (earlier, generation, guarded, sets, number) = {
            let mut networks = self.networks();
            let entry = networks.get_mut(id).ok_or_else(|| {
                Error::new(ErrorKind::FailedPrecondition, "a container without a network has no rules")
            })?;
            let number = entry.next_rules;
            entry.next_rules += 1;
            let sets = entry.destinations.kinds();
            (entry.reservation.clone(), entry.generation(), entry.guarded, sets, number)
        };
        if let Some(expected) = expected.filter(|expected| *expected != generation) {
            return Err(Error::new(
                ErrorKind::FailedPrecondition,
                format!("rules of generation {generation} are in force, not {expected}"),
            ));
        }
        let mut destinations = Destinations::default();
        destinations.add(rules)?;
        let reservation = Reservation { generation: generation + 1, ..earlier.clone() };
        let before = self.ledger.rules(id)?;
        self.ledger.replace_rules(id, &reservation, number, rules)?;
        if guarded
            && let Err(error) = self.firewall.replace(id, (&earlier, &sets), (&reservation, &destinations))
        {
            // They are written down as rules that came together, of the generation that they are.
            let earlier = Reservation { generation, ..earlier };
            let undone = self.ledger.replace_rules(id, &earlier, number, &before);
            if let Err(error) = undone {
                tracing::error!(%id, %error, "rules that could not be set stay written down");
            }
            return Err(error);
        }
        let generation = reservation.generation;
        self.change(id, |entry| {
            entry.reservation = reservation;
            entry.destinations = destinations;
            entry.added_rules = 0;
        });
        Ok(generation)
    }

    pub(super) fn limit_bandwidth(&self, id: &ContainerId, limits: BandwidthLimits) -> Result<()> {
        let known = self.networks().get(id).map(|entry| (entry.reservation.clone(), entry.link));
        let Some((earlier, link)) = known else {
            // No limit is what it has.
            return if limits.rate == 0 { Ok(()) } else { Err(no_rate(limits)) };
        };
        let reservation = Reservation { bandwidth: limits, ..earlier.clone() };
        self.ledger.reserve(id, &reservation, &[], LastPorts::default())?;
        if let Some(link) = link
            && let Err(error) = self.put_in_force(id, link, &reservation)
        {
            let undone = self
                .ledger
                .reserve(id, &earlier, &[], LastPorts::default())
                .and(self.put_in_force(id, link, &earlier));
            if let Err(error) = undone {
                tracing::error!(%id, %error, "the limits of a container are not what they were");
            }
            return Err(error);
        }
        self.change(id, |entry| entry.reservation = reservation);
        Ok(())
    }

    /// Limits a link as a reservation has it.
    fn put_in_force(&self, id: &ContainerId, link: LinkIndex, reservation: &Reservation) -> Result<()> {
        if reservation.is_limited() {
            // Noted first: what is begun has to be taken away too.
            self.change(id, |entry| entry.limited = true);
            return self.links.limit(id, link, reservation.bandwidth);
        }
        self.links.unlimit(id, link)?;
        self.change(id, |entry| entry.limited = false);
        Ok(())
    }
}
