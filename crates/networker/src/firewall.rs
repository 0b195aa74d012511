//! The engine's firewall: one nftables table, changed by one atomic batch for each create, change and destroy.

mod claims;
mod guest;
mod older;
mod skeleton;
mod strangers;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use gdn_nft::{Batch, Conntrack, Element, Family as TableFamily, Features, Socket, Table};
use gdn_types::{ContainerId, EngineId, Error, ErrorKind, IpRange, PortMapping, Result, Transport};

use crate::config::NetworkerConfig;
use crate::netout::{Added, Destinations, Family, SetKind, span_of};
use crate::record::Reservation;
use claims::Claim;
use guest::Guest;
use older::Older;
use skeleton::{Policy, Shared};

/// The table of an engine.
#[derive(Debug)]
pub(crate) struct Firewall {
    engine: EngineId,
    prefix: String,
    allow_host_access: bool,
    deny: Vec<IpRange>,
    resolvers: Vec<IpAddr>,
    six: bool,
    claim: Claim,
    state: Mutex<Option<Open>>,
    /// What the kernel tracks of connections, once it was asked for.
    connections: Mutex<Option<Conntrack>>,
    /// Apart from the table, so that nobody who changes that waits for programs of others.
    older: Mutex<Older>,
    /// Held by whoever changes a container's part of the table, until its record tells of it too.
    calm: RwLock<()>,
    /// Whether the table is to be this process's own where the kernel has that.
    may_own: bool,
    /// Set when the table is known to hold what it should not.
    distrusted: AtomicBool,
}

/// The connection, once there is one.
#[derive(Debug)]
struct Open {
    /// An owned table is this socket's: it stays open.
    socket: Socket,
    features: Features,
    /// Whether the table is there, with what does not depend on containers.
    ready: bool,
    /// The kernel's count of changes to any firewall, as it would be if nobody else changed one.
    generation: u32,
}

impl Open {
    /// # Errors
    /// `FailedPrecondition` when the kernel has not what this needs.
    fn new(may_own: bool) -> Result<Self> {
        let mut socket = Socket::open().map_err(|error| failed("open the kernel's firewall", error))?;
        let features = socket.features().map_err(|error| failed("ask for the kernel's firewall", error))?;
        if !features.inet {
            return Err(Error::new(
                ErrorKind::FailedPrecondition,
                "this kernel has no nftables for IP (CONFIG_NF_TABLES_INET): only containers without a network can be \
                 made",
            ));
        }
        let features = Features { owner: features.owner && may_own, ..features };
        Ok(Open { socket, features, ready: false, generation: 0 })
    }

    fn commit(&mut self, batch: &Batch) -> gdn_nft::Result<()> {
        self.socket.commit(batch)?;
        self.generation = self.generation.wrapping_add(1);
        Ok(())
    }
}

impl Firewall {
    pub(crate) fn new(config: &NetworkerConfig, prefix: String) -> Self {
        Firewall {
            engine: config.engine,
            prefix,
            allow_host_access: config.allow_host_access,
            deny: config.deny_networks.clone(),
            resolvers: config.dns.servers.iter().chain(&config.dns.additional).copied().collect(),
            six: config.pool6.is_some(),
            claim: Claim::of(config),
            state: Mutex::new(None),
            connections: Mutex::new(None),
            older: Mutex::default(),
            calm: RwLock::new(()),
            may_own: true,
            distrusted: AtomicBool::new(false),
        }
    }

    /// Held from before a change of a container's rules until they are among its records: what is put back then is what is
    /// in force.
    pub(crate) fn changes(&self) -> RwLockReadGuard<'_, ()> {
        self.calm.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held while nobody may change any.
    pub(crate) fn no_changes(&self) -> RwLockWriteGuard<'_, ()> {
        self.calm.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the kernel has what this needs.
    ///
    /// # Errors
    /// `FailedPrecondition` when it has not: containers without a network can be made all the same.
    pub(crate) fn must_work(&self) -> Result<()> {
        self.with(|_| Ok(()))
    }

    /// Refuses to hand out what another engine of this host does.
    ///
    /// # Errors
    /// `FailedPrecondition` naming it.
    pub(crate) fn refuse_shared(&self) -> Result<()> {
        if self.must_work().is_err() {
            // Containers without a network can be made all the same.
            return Ok(());
        }
        self.with(|open| claims::refuse_shared(&mut open.socket, &self.name(), &self.claim))
    }

    /// Makes the table out of what is known, whatever was there: in one batch, so that no packet passes meanwhile. Answers
    /// whether it was there.
    pub(crate) fn rebuild<'a>(
        &self,
        containers: impl Iterator<Item = (&'a ContainerId, &'a Reservation, &'a Destinations)>,
    ) -> Result<bool> {
        let containers: Vec<_> = containers.collect();
        if containers.is_empty() {
            return self.remove().map(|()| true);
        }
        self.with(|open| {
            let table = self.table(open.features);
            let mut batch = Batch::new();
            let was_there = self.clear(&mut batch, &table, open)?;
            self.fill(&mut batch, &table)?;
            for (id, reservation, destinations) in containers {
                let link = self.link(id);
                let guest = self.guest(&table, id, &link, reservation);
                guest.add(&mut batch, destinations);
            }
            crate::host::forward_packets(self.six)?;
            open.commit(&batch).map_err(|error| failed("restore the firewall", error))?;
            self.distrusted.store(false, Ordering::Relaxed);
            self.begin(open, &table);
            Ok(was_there)
        })
    }

    /// Puts a container's rules in force, before it has a link.
    pub(crate) fn guard(
        &self,
        id: &ContainerId,
        reservation: &Reservation,
        destinations: &Destinations,
    ) -> Result<()> {
        self.change(&format!("guard container {id}"), id, reservation, |guest, batch| {
            guest.add(batch, destinations);
        })
    }

    /// Withdraws a container's rules.
    pub(crate) fn release(
        &self,
        id: &ContainerId,
        reservation: &Reservation,
        sets: &BTreeSet<SetKind>,
    ) -> Result<()> {
        self.change(&format!("withdraw the rules of container {id}"), id, reservation, |guest, batch| {
            guest.remove(batch, sets);
        })
    }

    /// Adds what rules added to a container's destinations; `before` are the sets it had.
    pub(crate) fn allow(
        &self,
        id: &ContainerId,
        reservation: &Reservation,
        before: &BTreeSet<SetKind>,
        added: &Added,
    ) -> Result<()> {
        if added.is_empty() {
            return Ok(());
        }
        self.change(&format!("open destinations of container {id}"), id, reservation, |guest, batch| {
            guest.allow(batch, before, added);
        })
    }

    /// Takes back what [`allow`](Self::allow) added, with what was begun since.
    pub(crate) fn forbid(
        &self,
        id: &ContainerId,
        reservation: &Reservation,
        before: &BTreeSet<SetKind>,
        added: &Added,
    ) -> Result<()> {
        self.change(&format!("close destinations of container {id}"), id, reservation, |guest, batch| {
            guest.forbid(batch, before, added);
        })
        // The table is made anew by what is known, the next time that somebody looks.
        .inspect_err(|_| self.distrusted.store(true, Ordering::Relaxed))?;
        if let Err(error) = self.judge_anew([reservation]) {
            tracing::warn!(%id, %error, "connections under rules that were taken back go on");
        }
        Ok(())
    }

    /// Puts a container's destinations in the place of those of an earlier generation, and ends what it began under them
    /// so that it is judged anew.
    pub(crate) fn replace(
        &self,
        id: &ContainerId,
        (earlier, sets): (&Reservation, &BTreeSet<SetKind>),
        (reservation, destinations): (&Reservation, &Destinations),
    ) -> Result<()> {
        self.change(&format!("replace the rules of container {id}"), id, reservation, |guest, batch| {
            let earlier = Guest { reservation: earlier, ..*guest };
            guest.replace(batch, destinations, &earlier, sets);
        })?;
        // The new rules are in force; what cannot be ended goes on until its own end.
        if let Err(error) = self.judge_anew([reservation]) {
            tracing::warn!(%id, %error, "connections under the rules that were replaced go on");
        }
        Ok(())
    }

    /// Ends what containers began, so that their next packets are judged by the rules in force.
    pub(crate) fn judge_anew<'a>(
        &self,
        reservations: impl IntoIterator<Item = &'a Reservation>,
    ) -> Result<()> {
        let addresses: Vec<IpAddr> = reservations.into_iter().flat_map(Reservation::addresses).collect();
        self.forget(&addresses, Conntrack::delete_begun_by_any)
    }

    /// What an operator may tighten from one start to the next, as text.
    pub(crate) fn policy(&self) -> String {
        format!("{:?} {} {:?}", self.deny, self.allow_host_access, self.resolvers)
    }

    /// Maps a port.
    pub(crate) fn map_port(
        &self,
        id: &ContainerId,
        reservation: &Reservation,
        port: PortMapping,
    ) -> Result<()> {
        self.change(&format!("map host port {}", port.host_port), id, reservation, |guest, batch| {
            guest.add_port(batch, port);
        })
    }

    /// Takes a mapped port away, and ends what came by it.
    pub(crate) fn unmap_port(
        &self,
        id: &ContainerId,
        reservation: &Reservation,
        port: PortMapping,
    ) -> Result<()> {
        self.change(&format!("unmap host port {}", port.host_port), id, reservation, |guest, batch| {
            guest.remove_port(batch, port);
        })?;
        let number = skeleton::number_of(port.transport);
        reservation.addresses().try_for_each(|address| {
            self.tracked(&format!("forget the connections of {address}"), |connections| {
                connections.delete_of_port(address, number, port.host_port)
            })
        })
    }

    /// Lets those find ports that were just mapped who sent to them before. UDP has no connections that would end: to the
    /// kernel, all that comes from one port of theirs is one, and where it goes was decided with its first packet.
    pub(crate) fn lead_here(&self, id: &ContainerId, ports: &[PortMapping]) {
        for port in ports.iter().filter(|port| port.transport == Transport::Udp) {
            let number = skeleton::number_of(port.transport);
            let doing = format!("look who sent to host port {} before", port.host_port);
            let told =
                self.tracked(&doing, |connections| connections.delete_untranslated(number, port.host_port));
            if let Err(error) = told {
                tracing::warn!(%id, %error, "who sent to a port before it was mapped may go on doing so in vain");
            }
        }
    }

    /// Ends the connections of addresses, so that nobody who gets them later is taken for their last holder. Takes the kernel
    /// milliseconds, for many addresses hardly more than for one.
    pub(crate) fn forget_connections(&self, addresses: &[IpAddr]) -> Result<()> {
        self.forget(addresses, Conntrack::delete_of_any)
    }

    fn forget(
        &self,
        addresses: &[IpAddr],
        forget: impl FnOnce(&mut Conntrack, &[IpAddr]) -> gdn_nft::Result<usize>,
    ) -> Result<()> {
        if addresses.is_empty() {
            return Ok(());
        }
        self.tracked("forget the connections of containers", |connections| forget(connections, addresses))
    }

    /// Does something with what the kernel tracks of connections.
    fn tracked(
        &self,
        doing: &str,
        work: impl FnOnce(&mut Conntrack) -> gdn_nft::Result<usize>,
    ) -> Result<()> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match connections.take() {
            Some(open) => open,
            None => Conntrack::open().map_err(|error| failed(doing, error))?,
        };
        work(connections.insert(open)).map(drop).map_err(|error| failed(doing, error))
    }

    /// Removes the table, if there is one.
    pub(crate) fn remove(&self) -> Result<()> {
        let doing = |error| failed("remove the firewall", error);
        let removed = self.with(|open| {
            let table = self.table(open.features);
            let found = open.socket.tables(Some(table.name())).map_err(doing)?;
            if found.iter().any(|found| found.family == TableFamily::Inet) {
                let mut batch = Batch::new();
                // Adding it first makes it this socket's.
                batch.add_table(&table).delete_table(&table);
                open.commit(&batch).map_err(doing)?;
            }
            open.ready = false;
            strangers::withdraw(&mut open.socket, table.name()).map_err(doing)
        });
        match removed {
            // Where there can be no table there is none.
            Err(error) if error.kind() == ErrorKind::FailedPrecondition => Ok(()),
            other => other.and_then(|()| {
                let mark = self.name();
                let doing =
                    |error| Error::caused(ErrorKind::Internal, "leave the tables of iptables-legacy", error);
                self.older().withdraw(&mark).map_err(doing)
            }),
        }
    }

    fn change(
        &self,
        doing: &str,
        id: &ContainerId,
        reservation: &Reservation,
        change: impl FnOnce(&Guest<'_>, &mut Batch),
    ) -> Result<()> {
        self.with(|open| {
            let table = self.table(open.features);
            let mut batch = Batch::new();
            if !open.ready {
                claims::refuse_shared(&mut open.socket, table.name(), &self.claim)?;
                self.clear(&mut batch, &table, open)?;
                self.fill(&mut batch, &table)?;
                crate::host::forward_packets(self.six)?;
            }
            let link = self.link(id);
            change(&self.guest(&table, id, &link, reservation), &mut batch);
            let committed = open.commit(&batch);
            if committed.as_ref().is_err_and(gdn_nft::Error::leaves_in_doubt) {
                // Nobody is told that it holds, and it may: the table is made anew by what is known.
                self.distrusted.store(true, Ordering::Relaxed);
            }
            committed.map_err(|error| failed(doing, error))?;
            if !open.ready {
                self.begin(open, &table);
            }
            Ok(())
        })
    }

    fn guest<'a>(
        &'a self,
        table: &'a Table,
        id: &'a ContainerId,
        link: &'a str,
        reservation: &'a Reservation,
    ) -> Guest<'a> {
        Guest { table, id, link, prefix: &self.prefix, denies: !self.deny.is_empty(), reservation }
    }

    /// What is done once, when the table is there. What is in force then stays so.
    fn begin(&self, open: &mut Open, table: &Table) {
        open.ready = true;
        self.older().begin();
        let now = open.socket.generation().map_err(|error| failed("ask for the firewall's changes", error));
        let minded = now.and_then(|now| self.mind_strangers(open, table, now));
        if let Err(error) = minded.and_then(|()| self.mind_older()) {
            tracing::warn!(%error, "others' firewalls may keep containers from others; it will be looked at again");
        }
    }

    /// Looks whether anybody else changed a firewall, and sees to it that containers' packets still pass. Costs some questions
    /// to the kernel when nobody did. Answers whether somebody took the table away, or it holds what could not be taken back:
    /// it is then to be [made anew](Self::rebuild).
    pub(crate) fn look(&self) -> Result<bool> {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(open) = state.as_mut().filter(|open| open.ready) else { return Ok(false) };
            if self.distrusted.load(Ordering::Relaxed) {
                return Ok(true);
            }
            let doing = |error| failed("ask for the firewall's changes", error);
            let now = open.socket.generation().map_err(doing)?;
            if now != open.generation {
                let table = self.table(open.features);
                // Nobody takes away what is this process's own.
                if !owns(open.features) && !self.is_whole(open, &table)? {
                    return Ok(true);
                }
                self.mind_strangers(open, &table, now)?;
            }
        }
        self.mind_older()?;
        Ok(false)
    }

    /// Whether the table has what every packet meets: chains at hooks, with rules in them.
    fn is_whole(&self, open: &mut Open, table: &Table) -> Result<bool> {
        let doing = |error| failed("read the firewall", error);
        for (chain, ..) in skeleton::HOOKS {
            if open.socket.rules(table, chain).map_err(doing)?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn mind_older(&self) -> Result<()> {
        let doing = |error| Error::caused(ErrorKind::Internal, "look for tables of iptables-legacy", error);
        self.older().let_pass(&self.prefix, &self.name()).map_err(doing)
    }

    fn older(&self) -> MutexGuard<'_, Older> {
        self.older.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets containers' packets pass others' firewalls. `now` is the count of changes from before anything was looked at: what
    /// somebody changes meanwhile, or this does itself, is seen by the next look.
    fn mind_strangers(&self, open: &mut Open, table: &Table, now: u32) -> Result<()> {
        let doing = |error| failed("look for others' firewalls", error);
        strangers::let_pass(&mut open.socket, table, &self.prefix, table.name()).map_err(doing)?;
        open.generation = now;
        Ok(())
    }

    /// Empties a table that is there, so that it can be filled anew in the same batch. The chains of hooks stay: taking
    /// them away and back would let packets pass untranslated for a moment. Answers whether it is there.
    fn clear(&self, batch: &mut Batch, table: &Table, open: &mut Open) -> Result<bool> {
        let doing = |error| failed("read the firewall", error);
        skeleton::make(batch, table);
        let found = open.socket.tables(Some(table.name())).map_err(doing)?;
        if !found.iter().any(|found| found.family == TableFamily::Inet) {
            return Ok(false);
        }
        let sets = open.socket.sets(table).map_err(doing)?;
        let chains = open.socket.chains(Some(table)).map_err(doing)?;
        for set in sets.iter().filter(|name| !name.contains('-')) {
            batch.flush_set(table, set);
        }
        batch.flush_table(table);
        for chain in chains.iter().filter(|chain| chain.name.starts_with("c-")) {
            batch.delete_chain(table, &chain.name);
        }
        for set in sets.iter().filter(|name| name.contains('-')) {
            batch.delete_set(table, set);
        }
        Ok(true)
    }

    fn fill(&self, batch: &mut Batch, table: &Table) -> Result<()> {
        let policy = Policy {
            host_allowed: self.allow_host_access,
            // A host that asks only itself for names is asked by containers through their gateway.
            host_resolves: self.resolvers.is_empty(),
            denies: !self.deny.is_empty(),
        };
        skeleton::rules(batch, table, &self.prefix, &policy);
        let mut denied = Destinations::default();
        let ranges = self.deny.iter().map(|range| gdn_types::NetOutRule {
            networks: vec![*range],
            ..gdn_types::NetOutRule::default()
        });
        // Merged, because a set refuses ranges that overlap.
        denied.add(&ranges.collect::<Vec<_>>())?;
        for (kind, pieces) in denied.sets() {
            let elements: Vec<Element> = pieces
                .iter()
                .map(|piece| Element::range([guest::addresses_of(kind.traffic.family, piece.addresses)]))
                .collect();
            batch.add_new_elements(table, &Shared::of(kind.traffic.family).denied, &elements);
        }
        let mut resolvers = self.resolvers.clone();
        resolvers.sort_unstable();
        resolvers.dedup();
        for address in resolvers {
            let element = Element::new([address.into()]);
            batch.add_elements(table, &Shared::of(Family::of(address)).resolvers, &[element]);
        }
        Ok(())
    }

    fn table(&self, features: Features) -> Table {
        let table = Table::new(TableFamily::Inet, &self.name()).comment(&self.claim.text());
        if owns(features) { table.owned().persistent() } else { table }
    }

    /// The table's name, which is also the comment of rules in the chains of others.
    fn name(&self) -> String {
        format!("gdn-{}", self.engine)
    }

    fn link(&self, id: &ContainerId) -> String {
        format!("{}{id}", self.prefix)
    }

    /// Does something with the kernel's firewall, one caller at a time; the first opens it.
    fn with<T>(&self, work: impl FnOnce(&mut Open) -> Result<T>) -> Result<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.as_mut() {
            Some(open) => work(open),
            None => work(state.insert(Open::new(self.may_own)?)),
        }
    }
}

/// Checks a list of networks that the operator denies.
///
/// # Errors
/// `InvalidArgument` naming the range.
pub(crate) fn check_ranges(ranges: &[IpRange]) -> Result<()> {
    ranges.iter().try_for_each(|range| span_of(*range).map(drop))
}

/// Whether the table is this process's own, and outlives it. Owned alone it would end with this process.
fn owns(features: Features) -> bool {
    features.owner && features.persist
}

fn failed(doing: &str, error: gdn_nft::Error) -> Error {
    let kind = match error {
        // A part of nftables that the kernel was built without.
        gdn_nft::Error::Unsupported { .. } => ErrorKind::FailedPrecondition,
        _ => ErrorKind::Internal,
    };
    Error::caused(kind, doing, error)
}
