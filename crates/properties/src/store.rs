//! The component.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gdn_state::{Batch, Commit, Store};
use gdn_traits::{ContainerRecord, NotedEvent, PropertyManager};
use gdn_types::{
    ContainerId, ContainerState, EngineId, Error, ErrorKind, Handle, Limits, Properties, Result,
};

use crate::decode::decode;
use crate::encode::encode;
use crate::entry::{Content, Entry, Table, Turn};
use crate::errors::translate;

/// Keys of container records; the handle follows.
const PREFIX: &str = "container/";

/// What a change has to survive before it is acknowledged.
#[derive(Clone, Copy)]
enum Promise {
    /// A loss of power, and all that is less.
    SurvivesPowerLoss,
    /// The end of this process, however it comes.
    SurvivesKill,
}

/// Container records over a durable store.
#[derive(Debug)]
pub struct PropertyStore {
    state: Arc<Store>,
    table: Arc<Table>,
}

impl PropertyStore {
    /// Opens the store in a directory, making it at the first start.
    ///
    /// # Errors
    /// `FailedPrecondition` when another process holds it (the cause names the process), when a later version wrote it, or
    /// when something else is where its files belong; `PermissionDenied` when its files belong to another user;
    /// `ResourceExhausted` and `Unavailable` when the disk is full or fails.
    pub fn open(dir: &Path) -> Result<PropertyStore> {
        let state = Store::open(dir)
            .map_err(|error| translate(format!("open state store {}", dir.display()), error))?;
        Ok(PropertyStore::on(Arc::new(state)))
    }

    /// The records in a store that others use too: their keys begin with `container/`.
    pub fn on(state: Arc<Store>) -> PropertyStore {
        let table = Table::default();
        for (key, value) in state.scan(PREFIX) {
            let name = String::from_utf8_lossy(&key[PREFIX.len()..]);
            let Ok(handle) = Handle::parse(&name) else {
                tracing::warn!(%name, "a record has a name that is no handle");
                continue;
            };
            let content = match decode(&name, &value) {
                Ok(record) => Content::Record(Arc::new(record)),
                Err(error) => Content::Unreadable(error.report()),
            };
            table.lock().insert(handle, Entry::new(content));
        }
        PropertyStore { state, table: Arc::new(table) }
    }

    /// The store, for others that keep records in it: one commit makes durable what all of them handed over before.
    pub fn state(&self) -> &Arc<Store> {
        &self.state
    }

    /// The name of this store, minted at its first start.
    pub fn engine_id(&self) -> EngineId {
        EngineId::from_bits(self.state.engine())
    }

    /// Writes the record, and shows it when what was promised is so; `turn` ends then.
    fn write(&self, record: ContainerRecord, promise: Promise, turn: Turn) -> Result<Commit> {
        let mut batch = Batch::new();
        batch
            .put(key(&record.handle), encode(&record))
            .map_err(|error| translate(format!("store container {}", record.handle), error))?;
        let table = Arc::clone(&self.table);
        let done = move |outcome: &gdn_state::Result<()>| {
            if outcome.is_ok() {
                let handle = record.handle.clone();
                table.put(&handle, Content::Record(Arc::new(record)));
            }
            drop(turn);
        };
        Ok(match promise {
            Promise::SurvivesPowerLoss => self.state.commit_then(batch, done),
            Promise::SurvivesKill => self.state.commit_written_then(batch, done),
        })
    }

    /// Reads a record, lets it be changed and writes it durably; nothing is written when `change` fails.
    async fn change(
        &self,
        handle: &Handle,
        change: impl FnOnce(&mut ContainerRecord) -> Result<()> + Send,
    ) -> Result<()> {
        self.change_as(Promise::SurvivesPowerLoss, handle, change).await
    }

    async fn change_as(
        &self,
        promise: Promise,
        handle: &Handle,
        change: impl FnOnce(&mut ContainerRecord) -> Result<()> + Send,
    ) -> Result<()> {
        let not_found = || Error::container_not_found(handle);
        let (turn, content) = self.table.turn(handle).await.ok_or_else(not_found)?;
        let Content::Record(record) = content else { return Err(not_found()) };
        let mut record = ContainerRecord::clone(&record);
        change(&mut record)?;
        self.answered(handle, self.write(record, promise, turn)?).await
    }

    async fn answered(&self, handle: &Handle, commit: Commit) -> Result<()> {
        commit.await.map_err(|error| translate(format!("store container {handle}"), error))
    }

    /// Takes the handle in memory, at once, so that of concurrent claims only one goes to the disk.
    fn hold(&self, handle: &Handle, max_containers: u64) -> Result<Turn> {
        let mut entries = self.table.lock();
        if entries.contains_key(handle) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("handle '{handle}' already in use")));
        }
        if max_containers > 0 && entries.len() as u64 >= max_containers {
            return Err(Error::too_many_containers(max_containers));
        }
        let entry = Entry::new(Content::Pending);
        let guard = Arc::clone(&entry.turn).try_lock_owned().expect("nobody else has seen this entry yet");
        entries.insert(handle.clone(), entry);
        Ok(Turn { _guard: guard })
    }
}

fn key(handle: &Handle) -> String {
    format!("{PREFIX}{handle}")
}

#[async_trait]
impl PropertyManager for PropertyStore {
    async fn claim(&self, record: ContainerRecord, max_containers: u64) -> Result<()> {
        let record = ContainerRecord { state: ContainerState::Claimed, ..without_password(record) };
        let handle = record.handle.clone();
        let mut batch = Batch::new();
        batch
            .put(key(&handle), encode(&record))
            .map_err(|error| translate(format!("store container {handle}"), error))?;
        let turn = self.hold(&handle, max_containers)?;
        let table = Arc::clone(&self.table);
        let commit = self.state.commit_then(batch, move |outcome| {
            let handle = record.handle.clone();
            match outcome {
                Ok(()) => table.put(&handle, Content::Record(Arc::new(record))),
                Err(_) => table.remove(&handle),
            }
            drop(turn);
        });
        self.answered(&handle, commit).await
    }

    async fn commit(&self, record: ContainerRecord) -> Result<()> {
        let handle = record.handle.clone();
        let last = ContainerRecord { state: ContainerState::Created, ..without_password(record) };
        self.change(&handle, |record| {
            // A record that was forgotten and claimed anew meanwhile is another container's.
            if record.id != last.id {
                return Err(Error::container_not_found(&last.handle));
            }
            *record = last;
            Ok(())
        })
        .await
    }

    async fn mark(&self, handle: &Handle, state: ContainerState) -> Result<()> {
        // The intent to destroy is for the engine that comes after a kill. After a loss of power nothing of the container
        // runs, and nobody was told that it is destroyed: the sync that `forget` makes is the one that counts.
        let promise = match state {
            ContainerState::Destroying => Promise::SurvivesKill,
            ContainerState::Claimed | ContainerState::Created => Promise::SurvivesPowerLoss,
        };
        self.change_as(promise, handle, |record| {
            record.state = state;
            Ok(())
        })
        .await
    }

    async fn mark_stopped(&self, handle: &Handle) -> Result<()> {
        self.change(handle, |record| {
            record.stopped = true;
            Ok(())
        })
        .await
    }

    async fn forget(&self, handle: &Handle) -> Result<()> {
        let Some((turn, _)) = self.table.turn(handle).await else { return Ok(()) };
        let mut batch = Batch::new();
        batch.delete(key(handle)).map_err(|error| translate(format!("forget container {handle}"), error))?;
        let (table, gone) = (Arc::clone(&self.table), handle.clone());
        let commit = self.state.commit_then(batch, move |outcome| {
            if outcome.is_ok() {
                table.remove(&gone);
            }
            drop(turn);
        });
        commit.await.map_err(|error| translate(format!("forget container {handle}"), error))
    }

    fn records(&self) -> Vec<ContainerRecord> {
        let records: Vec<Arc<ContainerRecord>> =
            self.table.lock().values().filter_map(Entry::record).cloned().collect();
        records.iter().map(|record| ContainerRecord::clone(record)).collect()
    }

    fn record(&self, handle: &Handle) -> Option<ContainerRecord> {
        let record = self.table.lock().get(handle).and_then(Entry::record).cloned()?;
        Some(ContainerRecord::clone(&record))
    }

    fn get(&self, handle: &Handle, key: &str) -> Result<String> {
        let record = self.table.lock().get(handle).and_then(Entry::record).cloned();
        let record = record.ok_or_else(|| Error::container_not_found(handle))?;
        record.properties.get(key).map(str::to_owned).ok_or_else(|| property_not_found(key))
    }

    async fn set(&self, handle: &Handle, key: &str, value: &str) -> Result<()> {
        self.change(handle, |record| record.properties.set(key, value)).await
    }

    async fn remove(&self, handle: &Handle, key: &str) -> Result<()> {
        self.change(handle, |record| {
            record.properties.remove(key).map(drop).ok_or_else(|| property_not_found(key))
        })
        .await
    }

    async fn set_grace_time(&self, handle: &Handle, grace_time: Duration) -> Result<()> {
        self.change(handle, |record| {
            record.grace_time = grace_time;
            Ok(())
        })
        .await
    }

    async fn set_limits(&self, handle: &Handle, limits: Limits) -> Result<()> {
        self.change(handle, |record| {
            record.spec.limits = limits;
            Ok(())
        })
        .await
    }

    async fn set_events(&self, handle: &Handle, id: ContainerId, events: Vec<NotedEvent>) -> Result<()> {
        self.change(handle, |record| {
            if record.id != id {
                return Err(Error::container_not_found(handle));
            }
            record.events = events;
            Ok(())
        })
        .await
    }

    fn quarantined(&self) -> Vec<String> {
        let entries = self.table.lock();
        let mut told: Vec<String> = entries
            .iter()
            .filter_map(|(handle, entry)| match &entry.content {
                Content::Unreadable(reason) => Some(format!("container {handle}: {reason}")),
                Content::Pending | Content::Record(_) => None,
            })
            .collect();
        told.sort_unstable();
        told.extend(self.state.damages().iter().filter(|damage| damage.loses_data()).map(tell));
        told
    }
}

fn property_not_found(key: &str) -> Error {
    Error::new(ErrorKind::PropertyNotFound, format!("property does not exist: {}", Properties::shown(key)))
}

/// The password is for pulling only: not even memory keeps it.
fn without_password(mut record: ContainerRecord) -> ContainerRecord {
    record.spec.image.password.clear();
    record
}

fn tell(damage: &gdn_state::Damage) -> String {
    let keys: Vec<_> = damage.keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
    let whom = if keys.is_empty() { "unknown containers".to_owned() } else { keys.join(", ") };
    let kept =
        damage.quarantined.as_ref().map_or(String::new(), |path| format!(", kept in {}", path.display()));
    format!("{}: {:?} damaged, affecting {whom}{kept}", damage.path.display(), damage.kind)
}
