//! An engine's whole environment in memory: what exists on the host, what is durable, and a clock of faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gdn_traits::{ContainerRecord, Containerizer, EventSink, Networker, PropertyManager, Volumizer};
use gdn_types::{ContainerId, Handle, NetIn, PortMapping};

use crate::faults::FaultClock;
use crate::processes::FakeProcess;

mod containerizer;
mod networker;
mod properties;
mod volumizer;

/// The world. Clones share it.
#[derive(Clone, Default)]
pub struct World {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    host: Mutex<Host>,
    clock: FaultClock,
    /// Counts engine lives: a call of an earlier one never returns.
    life: AtomicU64,
}

/// What exists. Survives the engine; a reboot takes the kernel's part of it.
#[derive(Default)]
pub(crate) struct Host {
    pub(crate) cgroups: BTreeSet<ContainerId>,
    pub(crate) sandboxes: BTreeMap<ContainerId, FakeContainer>,
    pub(crate) volumes: BTreeSet<gdn_traits::VolumeId>,
    pub(crate) addresses: BTreeMap<ContainerId, u8>,
    pub(crate) ports: BTreeMap<ContainerId, Vec<PortMapping>>,
    pub(crate) links: BTreeSet<ContainerId>,
    pub(crate) bandwidths: BTreeMap<ContainerId, gdn_types::BandwidthLimits>,
    pub(crate) rules: BTreeSet<ContainerId>,
    pub(crate) durable: BTreeMap<Handle, ContainerRecord>,
    pub(crate) memory: BTreeMap<Handle, ContainerRecord>,
    pub(crate) events: Option<Arc<dyn EventSink>>,
    pub(crate) pids: u32,
    pub(crate) max_addresses: Option<u64>,
}

/// A sandbox and what runs in it.
#[derive(Default)]
pub(crate) struct FakeContainer {
    pub(crate) pid: u32,
    pub(crate) complete: bool,
    pub(crate) processes: BTreeMap<gdn_types::ProcessId, FakeProcess>,
    pub(crate) files: Vec<u8>,
    pub(crate) limits: gdn_types::Limits,
    pub(crate) cpu_usage: Duration,
    /// What is left of its processor weight, while it is demoted.
    pub(crate) part: Option<f64>,
}

impl World {
    /// An empty host.
    pub fn new() -> Self {
        World::default()
    }

    /// The fault clock.
    pub fn clock(&self) -> &FaultClock {
        &self.shared.clock
    }

    /// A containerizer of the present engine life, which reports to `events`.
    pub fn containerizer(&self, events: Arc<dyn EventSink>) -> Arc<dyn Containerizer> {
        self.host().events = Some(events);
        Arc::new(containerizer::FakeContainerizer(self.life()))
    }

    /// A networker of the present engine life.
    pub fn networker(&self) -> Arc<dyn Networker> {
        Arc::new(networker::FakeNetworker(self.life()))
    }

    /// A volumizer of the present engine life.
    pub fn volumizer(&self) -> Arc<dyn Volumizer> {
        Arc::new(volumizer::FakeVolumizer(self.life()))
    }

    /// A property manager of the present engine life.
    pub fn properties(&self) -> Arc<dyn PropertyManager> {
        Arc::new(properties::FakeProperties(self.life()))
    }

    /// Kills the engine: its calls never return, its memory is gone; containers and durable records stay.
    pub fn crash(&self) {
        self.shared.life.fetch_add(1, Ordering::SeqCst);
        let mut host = self.host();
        host.memory = host.durable.clone();
        host.events = None;
        self.shared.clock.revive();
    }

    /// Restarts the host: every kernel object is gone too; volumes and durable records stay.
    pub fn reboot(&self) {
        self.crash();
        let mut host = self.host();
        host.cgroups.clear();
        host.sandboxes.clear();
        host.links.clear();
        host.bandwidths.clear();
        host.rules.clear();
        host.addresses.clear();
        host.ports.clear();
    }

    /// Everything that exists on the host and in the store, for a person; empty when nothing is left.
    pub fn leftovers(&self) -> Vec<String> {
        let host = self.host();
        let mut left = Vec::new();
        left.extend(host.cgroups.iter().map(|id| format!("cgroup {id}")));
        left.extend(host.sandboxes.keys().map(|id| format!("sandbox {id}")));
        left.extend(host.volumes.iter().map(|id| format!("volume {id}")));
        left.extend(host.addresses.keys().map(|id| format!("address of {id}")));
        left.extend(host.ports.keys().map(|id| format!("ports of {id}")));
        left.extend(host.links.iter().map(|id| format!("link {id}")));
        left.extend(host.bandwidths.keys().map(|id| format!("bandwidth of {id}")));
        left.extend(host.rules.iter().map(|id| format!("rules of {id}")));
        left.extend(host.durable.keys().map(|handle| format!("record {handle}")));
        left.extend(
            host.memory.keys().filter(|h| !host.durable.contains_key(*h)).map(|h| format!("memory of {h}")),
        );
        left
    }

    /// Whether every part of a container exists: what an acknowledged create promises.
    pub fn is_whole(&self, handle: &Handle) -> bool {
        let host = self.host();
        host.durable.get(handle).is_some_and(|record| {
            let id = &record.id;
            host.cgroups.contains(id)
                && host.sandboxes.get(id).is_some_and(|sandbox| sandbox.complete)
                && host.volumes.contains(&(*id).into())
                && host.addresses.contains_key(id)
                && host.links.contains(id)
                && host.rules.contains(id)
        })
    }

    /// Limits how many addresses the networker has.
    pub fn set_max_addresses(&self, most: u64) {
        self.host().max_addresses = Some(most);
    }

    /// Ends a process from outside, as if by itself.
    pub fn exit_process(
        &self,
        handle: &Handle,
        process: &gdn_types::ProcessId,
        status: gdn_types::ExitStatus,
    ) {
        let Some(id) = self.id(handle) else { return };
        self.end(&id, process, status);
    }

    /// The kernel ends a process for want of memory: first the event, then the exit.
    pub fn out_of_memory(&self, handle: &Handle, process: &gdn_types::ProcessId) {
        let Some(id) = self.id(handle) else { return };
        let events = self.host().events.clone();
        if let Some(events) = events {
            let want = gdn_types::WantOfMemory { sidecar: None, ended: Some(process.clone()) };
            events.out_of_memory(&id, &want, 1);
        }
        self.end(&id, process, gdn_types::ExitStatus::Signal(9));
    }

    /// The container has used so much processor time by now.
    pub fn use_processors(&self, handle: &Handle, usage: Duration) {
        let Some(id) = self.id(handle) else { return };
        if let Some(container) = self.host().sandboxes.get_mut(&id) {
            container.cpu_usage = usage;
        }
    }

    /// The part of its processor weight that a demoted container keeps.
    pub fn demoted(&self, handle: &Handle) -> Option<f64> {
        let id = self.id(handle)?;
        self.host().sandboxes.get(&id)?.part
    }

    /// A container's keeper dies.
    pub fn lose(&self, handle: &Handle, reason: &str) {
        let Some(id) = self.id(handle) else { return };
        let events = {
            let mut host = self.host();
            host.sandboxes.remove(&id);
            host.events.clone()
        };
        if let Some(events) = events {
            events.container_lost(&id, reason);
        }
    }

    /// The internal name of a handle's container.
    pub fn id(&self, handle: &Handle) -> Option<ContainerId> {
        self.host().durable.get(handle).map(|record| record.id)
    }

    pub(crate) fn end(
        &self,
        id: &ContainerId,
        process: &gdn_types::ProcessId,
        status: gdn_types::ExitStatus,
    ) {
        let events = {
            let mut host = self.host();
            let ended = host
                .sandboxes
                .get_mut(id)
                .and_then(|container| container.processes.get_mut(process))
                .is_some_and(|process| process.end(status));
            if !ended {
                return;
            }
            host.events.clone()
        };
        if let Some(events) = events {
            events.process_exited(id, process, status);
        }
    }

    pub(crate) fn host(&self) -> MutexGuard<'_, Host> {
        self.shared.host.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn life(&self) -> Life {
        Life { world: self.clone(), number: self.shared.life.load(Ordering::SeqCst) }
    }
}

impl Host {
    /// The next host port, or the one asked for; absent when that is taken.
    pub(crate) fn map_port(&mut self, id: &ContainerId, request: NetIn) -> Option<PortMapping> {
        let of_kind = |mapping: &&PortMapping| mapping.transport == request.transport;
        let mapped = self.ports.values().flatten().filter(of_kind);
        let taken: BTreeSet<u16> = mapped.map(|mapping| mapping.host_port).collect();
        let host_port = match request.host_port {
            0 => (61001..=65534).find(|port| !taken.contains(port))?,
            asked if taken.contains(&asked) => return None,
            asked => asked,
        };
        let container_port = if request.container_port == 0 { host_port } else { request.container_port };
        let mapping = PortMapping { host_port, container_port, transport: request.transport };
        self.ports.entry(*id).or_default().push(mapping);
        Some(mapping)
    }
}

/// One engine life's access to the world.
#[derive(Clone)]
pub(crate) struct Life {
    pub(crate) world: World,
    number: u64,
}

impl Life {
    /// One point of a call: where a fault may strike, and where a call of a dead engine ends.
    pub(crate) async fn point(&self, call: &'static str, point: crate::Point) -> gdn_types::Result<()> {
        self.must_live().await;
        let outcome = self.world.shared.clock.strike(call, point).await;
        self.must_live().await;
        outcome
    }

    async fn must_live(&self) {
        let dead =
            self.world.shared.clock.is_dead() || self.world.shared.life.load(Ordering::SeqCst) != self.number;
        if dead {
            std::future::pending::<()>().await;
        }
    }
}
