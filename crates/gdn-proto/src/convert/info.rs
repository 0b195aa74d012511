//! What the engine tells about containers and itself.

use gdn_types::{Capacity, ContainerInfo, Error, Handle, HostIds, LifeState, PoolUsage, Result};

use super::{all, enumeration, missing, properties, property_map};
use crate::garden::{self, bulk_info_entry, bulk_metrics_entry};
use crate::status;

impl From<Capacity> for garden::CapacityResponse {
    fn from(capacity: Capacity) -> Self {
        garden::CapacityResponse {
            memory_bytes: capacity.memory_bytes,
            disk_bytes: capacity.disk_bytes,
            schedulable_disk_bytes: capacity.schedulable_disk_bytes,
            max_containers: (capacity.max_containers != u64::MAX).then_some(capacity.max_containers),
            pools: capacity.pools.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<PoolUsage> for garden::PoolUsage {
    fn from(pool: PoolUsage) -> Self {
        let PoolUsage { name, size, in_use, exhausted } = pool;
        garden::PoolUsage { name, size, in_use, exhausted }
    }
}

impl From<garden::PoolUsage> for PoolUsage {
    fn from(wire: garden::PoolUsage) -> Self {
        let garden::PoolUsage { name, size, in_use, exhausted } = wire;
        PoolUsage { name, size, in_use, exhausted }
    }
}

impl From<garden::CapacityResponse> for Capacity {
    fn from(wire: garden::CapacityResponse) -> Self {
        Capacity {
            memory_bytes: wire.memory_bytes,
            disk_bytes: wire.disk_bytes,
            schedulable_disk_bytes: wire.schedulable_disk_bytes,
            max_containers: wire.max_containers.unwrap_or(u64::MAX),
            pools: wire.pools.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<ContainerInfo> for garden::ContainerInfo {
    fn from(info: ContainerInfo) -> Self {
        let state = match info.state {
            LifeState::Active => garden::LifeState::Active,
            LifeState::Stopped => garden::LifeState::Stopped,
            LifeState::Lost => garden::LifeState::Lost,
            LifeState::Destroying => garden::LifeState::Destroying,
        };
        garden::ContainerInfo {
            state: state.into(),
            reason: info.reason,
            events: info.events,
            host_ip: info.host_ip,
            container_ip: info.container_ip,
            container_ipv6: info.container_ipv6,
            external_ip: info.external_ip,
            container_path: info.container_path,
            process_ids: info.process_ids,
            properties: property_map(&info.properties),
            mapped_ports: info.mapped_ports.into_iter().map(Into::into).collect(),
            image_command: info.image_command,
            init_pid: info.init_pid,
            created_at_ms: info.created_at_ms,
            host_ids: info.host_ids.map(|ids| garden::HostIds { first: ids.first(), count: ids.count() }),
        }
    }
}

impl TryFrom<garden::ContainerInfo> for ContainerInfo {
    type Error = Error;

    fn try_from(wire: garden::ContainerInfo) -> Result<Self> {
        Ok(ContainerInfo {
            state: match enumeration("container state", wire.state)? {
                garden::LifeState::Unspecified => return Err(missing("the container's state")),
                garden::LifeState::Active => LifeState::Active,
                garden::LifeState::Stopped => LifeState::Stopped,
                garden::LifeState::Lost => LifeState::Lost,
                garden::LifeState::Destroying => LifeState::Destroying,
            },
            reason: wire.reason,
            events: wire.events,
            host_ip: wire.host_ip,
            container_ip: wire.container_ip,
            container_ipv6: wire.container_ipv6,
            external_ip: wire.external_ip,
            container_path: wire.container_path,
            process_ids: wire.process_ids,
            properties: properties(wire.properties)?,
            mapped_ports: all(wire.mapped_ports)?,
            image_command: wire.image_command,
            init_pid: wire.init_pid,
            created_at_ms: wire.created_at_ms,
            host_ids: wire.host_ids.map(|ids| HostIds::new(ids.first, ids.count)).transpose()?,
        })
    }
}

/// One kind of bulk entry: a handle with an answer or an error.
macro_rules! bulk_entry {
    ($entry:ident, $module:ident, $member:ident, $answer:ty) => {
        impl From<(Handle, Result<$answer>)> for garden::$entry {
            fn from((handle, result): (Handle, Result<$answer>)) -> Self {
                let result = match result {
                    Ok(answer) => $module::Result::$member(answer.into()),
                    Err(error) => $module::Result::Error(status::error_detail(&error, handle.as_str(), "")),
                };
                garden::$entry { handle: handle.to_string(), result: Some(result) }
            }
        }

        impl TryFrom<garden::$entry> for (Handle, Result<$answer>) {
            type Error = Error;

            fn try_from(wire: garden::$entry) -> Result<Self> {
                let result = match wire.result.ok_or_else(|| missing("a container's result"))? {
                    $module::Result::$member(answer) => Ok(answer.try_into()?),
                    $module::Result::Error(detail) => Err(status::error_of_detail(detail)),
                };
                Ok((Handle::parse(&wire.handle)?, result))
            }
        }
    };
}

bulk_entry!(BulkInfoEntry, bulk_info_entry, Info, ContainerInfo);
bulk_entry!(BulkMetricsEntry, bulk_metrics_entry, Metrics, gdn_types::ContainerMetrics);

#[cfg(test)]
mod tests {
    use super::*;
    use gdn_types::{PortMapping, Properties};

    fn info(state: LifeState) -> ContainerInfo {
        ContainerInfo {
            state,
            reason: "r".into(),
            events: vec!["Out of memory".into()],
            host_ip: "10.0.0.1".into(),
            container_ip: "10.0.0.2".into(),
            container_ipv6: "fd00::2".into(),
            external_ip: "192.0.2.1".into(),
            container_path: "/p".into(),
            process_ids: vec!["a".into()],
            properties: Properties::from_pairs([("k", "v")]).unwrap(),
            mapped_ports: vec![PortMapping {
                host_port: 60_000,
                container_port: 80,
                ..PortMapping::default()
            }],
            image_command: vec!["/hello".into()],
            init_pid: 7,
            created_at_ms: 8,
            host_ids: Some(HostIds::new(100_000, 1000).unwrap()),
        }
    }

    #[test]
    fn an_info_reads_back_in_every_state() {
        for state in [LifeState::Active, LifeState::Stopped, LifeState::Lost, LifeState::Destroying] {
            let sent = info(state);
            assert_eq!(ContainerInfo::try_from(garden::ContainerInfo::from(sent.clone())).unwrap(), sent);
        }
        assert!(ContainerInfo::try_from(garden::ContainerInfo::default()).is_err());
    }

    #[test]
    fn capacity_without_a_bound_is_absent_on_the_wire() {
        for max_containers in [0, 5, u64::MAX] {
            let pools = vec![PoolUsage { name: "subnets".into(), size: 4, in_use: 5, exhausted: 6 }];
            let capacity =
                Capacity { memory_bytes: 1, disk_bytes: 2, schedulable_disk_bytes: 3, max_containers, pools };
            let wire = garden::CapacityResponse::from(capacity.clone());
            assert_eq!(wire.max_containers.is_none(), max_containers == u64::MAX);
            assert_eq!(Capacity::from(wire), capacity);
        }
    }

    #[test]
    fn a_bulk_entry_carries_the_answer_or_the_error() {
        let handle = Handle::parse("h").unwrap();
        let good = garden::BulkInfoEntry::from((handle.clone(), Ok(info(LifeState::Active))));
        assert_eq!(
            <(Handle, Result<ContainerInfo>)>::try_from(good).unwrap().1.unwrap(),
            info(LifeState::Active)
        );
        let bad = garden::BulkInfoEntry::from((handle.clone(), Err(Error::container_not_found(&handle))));
        let error = <(Handle, Result<ContainerInfo>)>::try_from(bad).unwrap().1.unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (gdn_types::ErrorKind::ContainerNotFound, "unknown handle: h")
        );
    }
}
