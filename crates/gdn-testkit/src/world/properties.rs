//! The property manager of the in-memory world: each change reaches memory first and the durable half second.

use std::time::Duration;

use async_trait::async_trait;
use gdn_traits::{ContainerRecord, NotedEvent, PropertyManager};
use gdn_types::{ContainerId, ContainerState, Error, ErrorKind, Handle, Limits, Result, keys};

use super::{Host, Life};
use crate::Point::{After, Before, Halfway};

pub(crate) struct FakeProperties(pub(crate) Life);

impl FakeProperties {
    /// One change: all of it or nothing; a fault halfway strikes before it is durable and takes it back.
    async fn change<T>(
        &self,
        call: &'static str,
        handle: &Handle,
        change: impl FnOnce(&mut Host) -> Result<T> + Send,
    ) -> Result<T> {
        self.0.point(call, Before).await?;
        let (before, outcome) = {
            let mut host = self.0.world.host();
            (host.memory.get(handle).cloned(), change(&mut host)?)
        };
        if let Err(error) = self.0.point(call, Halfway).await {
            restore(&mut self.0.world.host(), handle, before);
            return Err(error);
        }
        {
            let mut host = self.0.world.host();
            let now = host.memory.get(handle).cloned();
            match now {
                Some(record) => drop(host.durable.insert(handle.clone(), record)),
                None => drop(host.durable.remove(handle)),
            }
        }
        self.0.point(call, After).await?;
        Ok(outcome)
    }

    async fn edit(
        &self,
        call: &'static str,
        handle: &Handle,
        edit: impl FnOnce(&mut ContainerRecord) -> Result<()> + Send,
    ) -> Result<()> {
        let edit = |host: &mut Host| {
            edit(host.memory.get_mut(handle).ok_or_else(|| Error::container_not_found(handle))?)
        };
        self.change(call, handle, edit).await
    }
}

fn restore(host: &mut Host, handle: &Handle, before: Option<ContainerRecord>) {
    match before {
        Some(record) => drop(host.memory.insert(handle.clone(), record)),
        None => drop(host.memory.remove(handle)),
    }
}

#[async_trait]
impl PropertyManager for FakeProperties {
    async fn claim(&self, record: ContainerRecord, max_containers: u64) -> Result<()> {
        let handle = record.handle.clone();
        let claim = |host: &mut Host| {
            if host.memory.contains_key(&record.handle) {
                let text = format!("handle '{}' already in use", record.handle);
                return Err(Error::new(ErrorKind::AlreadyExists, text));
            }
            if max_containers > 0 && host.memory.len() as u64 >= max_containers {
                return Err(Error::too_many_containers(max_containers));
            }
            host.memory
                .insert(record.handle.clone(), ContainerRecord { state: ContainerState::Claimed, ..record });
            Ok(())
        };
        self.change("properties.claim", &handle, claim).await
    }

    async fn commit(&self, record: ContainerRecord) -> Result<()> {
        let handle = record.handle.clone();
        let commit = |kept: &mut ContainerRecord| {
            *kept = ContainerRecord { state: ContainerState::Created, ..record };
            Ok(())
        };
        self.edit("properties.commit", &handle, commit).await
    }

    async fn mark(&self, handle: &Handle, state: ContainerState) -> Result<()> {
        let mark = |record: &mut ContainerRecord| {
            record.state = state;
            Ok(())
        };
        self.edit("properties.mark", handle, mark).await
    }

    async fn mark_stopped(&self, handle: &Handle) -> Result<()> {
        let mark = |record: &mut ContainerRecord| {
            record.stopped = true;
            Ok(())
        };
        self.edit("properties.mark_stopped", handle, mark).await
    }

    async fn set_events(&self, handle: &Handle, id: ContainerId, events: Vec<NotedEvent>) -> Result<()> {
        let set = |record: &mut ContainerRecord| {
            if record.id != id {
                return Err(Error::container_not_found(handle));
            }
            record.events = events;
            Ok(())
        };
        self.edit("properties.set_events", handle, set).await
    }

    async fn forget(&self, handle: &Handle) -> Result<()> {
        let forget = |host: &mut Host| {
            host.memory.remove(handle);
            Ok(())
        };
        self.change("properties.forget", handle, forget).await
    }

    fn records(&self) -> Vec<ContainerRecord> {
        self.0.world.host().memory.values().cloned().collect()
    }

    fn record(&self, handle: &Handle) -> Option<ContainerRecord> {
        self.0.world.host().memory.get(handle).cloned()
    }

    fn get(&self, handle: &Handle, key: &str) -> Result<String> {
        let record = self.record(handle).ok_or_else(|| Error::container_not_found(handle))?;
        record.properties.get(key).map(str::to_owned).ok_or_else(|| missing(key))
    }

    async fn set(&self, handle: &Handle, key: &str, value: &str) -> Result<()> {
        self.edit("properties.set", handle, |record| record.properties.set(key, value)).await
    }

    async fn remove(&self, handle: &Handle, key: &str) -> Result<()> {
        let remove = |record: &mut ContainerRecord| {
            record.properties.remove(key).map(drop).ok_or_else(|| missing(key))
        };
        self.edit("properties.remove", handle, remove).await
    }

    async fn set_grace_time(&self, handle: &Handle, grace_time: Duration) -> Result<()> {
        let set = |record: &mut ContainerRecord| {
            record.grace_time = grace_time;
            record.properties.set(keys::GRACE_TIME, grace_time.as_nanos().to_string())
        };
        self.edit("properties.set_grace_time", handle, set).await
    }

    async fn set_limits(&self, handle: &Handle, limits: Limits) -> Result<()> {
        let set = |record: &mut ContainerRecord| {
            record.spec.limits = limits;
            Ok(())
        };
        self.edit("properties.set_limits", handle, set).await
    }

    fn quarantined(&self) -> Vec<String> {
        Vec::new()
    }
}

fn missing(key: &str) -> Error {
    Error::new(ErrorKind::PropertyNotFound, format!("property does not exist: {key}"))
}
