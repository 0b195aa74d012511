//! The calls with one question and one answer.

use std::time::Duration;

use gdn_proto::garden::{self, bulk_info_entry, bulk_metrics_entry};
use gdn_proto::status::error_of_detail;
use gdn_types::{
    Capacity, ContainerInfo, ContainerMetrics, ContainerSpec, Error, ErrorKind, ExitStatus, Handle,
    LimitChange, Limits, NetIn, NetOutRule, NetRules, ProcessId, ProcessState, Properties, Result, Signal,
};
use tonic::{Code, Response, Status};

use crate::Client;

/// What a server tells about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Version of the API it speaks.
    pub api_version: u32,
    /// Version of the engine.
    pub engine_version: String,
}

/// Makes one call: the request's message, and what to do with the response's.
macro_rules! call {
    ($client:expr, $method:ident, $request:expr) => {
        answer($client.service.clone().$method($request).await)
    };
}

/// Every method answers with the error the server chose, and with `Unavailable` when the connection is lost.
impl Client {
    /// Whether the engine answers. `Unavailable` while it starts or stops.
    pub async fn ping(&self) -> Result<Ping> {
        let answer = call!(self, ping, garden::PingRequest {})?;
        Ok(Ping { api_version: answer.api_version, engine_version: answer.engine_version })
    }

    /// What the engine can hold.
    pub async fn capacity(&self) -> Result<Capacity> {
        let answer = call!(self, capacity, garden::CapacityRequest {})?;
        Ok(answer.into())
    }

    /// Makes a container. Dropping the future before the answer leaves nothing behind.
    pub async fn create(&self, spec: ContainerSpec) -> Result<Handle> {
        let answer = call!(self, create, garden::CreateRequest { spec: Some(spec.try_into()?) })?;
        Handle::parse(&answer.handle)
    }

    /// Removes a container with everything in it.
    pub async fn destroy(&self, handle: &Handle) -> Result<()> {
        call!(self, destroy, garden::DestroyRequest { handle: handle.to_string() })?;
        Ok(())
    }

    /// The handles of all containers that have every given property; `garden.state` = `all` shows those that are not, or no
    /// longer, acknowledged too.
    pub async fn list(&self, properties: impl IntoIterator<Item = (String, String)>) -> Result<Vec<Handle>> {
        let answer = call!(self, list, garden::ListRequest { properties: properties.into_iter().collect() })?;
        answer.handles.iter().map(|handle| Handle::parse(handle)).collect()
    }

    /// What the engine knows about a container.
    pub async fn info(&self, handle: &Handle) -> Result<ContainerInfo> {
        let answer = call!(self, info, garden::InfoRequest { handle: handle.to_string() })?;
        present("info", answer.info)?.try_into()
    }

    /// The same for many containers, in the order asked for.
    pub async fn bulk_info(&self, handles: &[Handle]) -> Result<Vec<(Handle, Result<ContainerInfo>)>> {
        let answer = call!(self, bulk_info, garden::BulkInfoRequest { handles: texts(handles) })?;
        let read = |entry: garden::BulkInfoEntry| {
            let result = match entry.result {
                Some(bulk_info_entry::Result::Info(info)) => info.try_into(),
                Some(bulk_info_entry::Result::Error(error)) => Err(error_of_detail(error)),
                None => Err(missing("result")),
            };
            Ok((Handle::parse(&entry.handle)?, result))
        };
        answer.entries.into_iter().map(read).collect()
    }

    /// The figures of a container.
    pub async fn metrics(&self, handle: &Handle) -> Result<ContainerMetrics> {
        let answer = call!(self, metrics, garden::MetricsRequest { handle: handle.to_string() })?;
        present("metrics", answer.metrics)?.try_into()
    }

    /// The same for many containers, in the order asked for.
    pub async fn bulk_metrics(&self, handles: &[Handle]) -> Result<Vec<(Handle, Result<ContainerMetrics>)>> {
        let answer = call!(self, bulk_metrics, garden::BulkMetricsRequest { handles: texts(handles) })?;
        let read = |entry: garden::BulkMetricsEntry| {
            let result = match entry.result {
                Some(bulk_metrics_entry::Result::Metrics(metrics)) => metrics.try_into(),
                Some(bulk_metrics_entry::Result::Error(error)) => Err(error_of_detail(error)),
                None => Err(missing("result")),
            };
            Ok((Handle::parse(&entry.handle)?, result))
        };
        answer.entries.into_iter().map(read).collect()
    }

    /// Waits until a process has ended.
    pub async fn wait(&self, handle: &Handle, process: &ProcessId) -> Result<ExitStatus> {
        let request = garden::WaitRequest { handle: handle.to_string(), process_id: process.to_string() };
        let answer = call!(self, wait, request)?;
        present("status", answer.status)?.try_into()
    }

    /// Sends a signal to a process; to one that has ended, nothing, successfully.
    pub async fn signal(&self, handle: &Handle, process: &ProcessId, signal: Signal) -> Result<()> {
        let (handle, process_id) = (handle.to_string(), process.to_string());
        call!(self, signal, garden::SignalRequest { handle, process_id, signal: signal.number() })?;
        Ok(())
    }

    /// The processes of a container, those that ended and are still remembered included.
    pub async fn processes(&self, handle: &Handle) -> Result<Vec<(ProcessId, ProcessState)>> {
        let answer = call!(self, processes, garden::ProcessesRequest { handle: handle.to_string() })?;
        answer.processes.into_iter().map(TryInto::try_into).collect()
    }

    /// Ends every process of a container: at once with `kill`, else asking first.
    pub async fn stop(&self, handle: &Handle, kill: bool) -> Result<()> {
        call!(self, stop, garden::StopRequest { handle: handle.to_string(), kill })?;
        Ok(())
    }

    /// All properties of a container.
    pub async fn properties(&self, handle: &Handle) -> Result<Properties> {
        let answer =
            call!(self, get_properties, garden::GetPropertiesRequest { handle: handle.to_string() })?;
        Properties::from_pairs(answer.properties)
    }

    /// One property of a container.
    pub async fn property(&self, handle: &Handle, key: &str) -> Result<String> {
        let request = garden::GetPropertyRequest { handle: handle.to_string(), key: key.to_owned() };
        Ok(call!(self, get_property, request)?.value)
    }

    /// Sets a property, durably.
    pub async fn set_property(&self, handle: &Handle, key: &str, value: &str) -> Result<()> {
        let (handle, key, value) = (handle.to_string(), key.to_owned(), value.to_owned());
        call!(self, set_property, garden::SetPropertyRequest { handle, key, value })?;
        Ok(())
    }

    /// Removes a property, durably.
    pub async fn remove_property(&self, handle: &Handle, key: &str) -> Result<()> {
        let (handle, key) = (handle.to_string(), key.to_owned());
        call!(self, remove_property, garden::RemovePropertyRequest { handle, key })?;
        Ok(())
    }

    /// Changes for how long a container may go without a request; zero = for ever.
    pub async fn set_grace_time(&self, handle: &Handle, grace_time: Duration) -> Result<()> {
        let grace_time_ns = u64::try_from(grace_time.as_nanos()).unwrap_or(u64::MAX);
        call!(
            self,
            set_grace_time,
            garden::SetGraceTimeRequest { handle: handle.to_string(), grace_time_ns }
        )?;
        Ok(())
    }

    /// The limits of a container as the kernel has them now.
    pub async fn limits(&self, handle: &Handle) -> Result<Limits> {
        let answer = call!(self, limits, garden::LimitsRequest { handle: handle.to_string() })?;
        present("limits", answer.limits)?.try_into()
    }

    /// Changes limits of a container in use, and tells all of them as the kernel has them then.
    pub async fn change_limits(&self, handle: &Handle, change: LimitChange) -> Result<Limits> {
        let request = garden::ChangeLimitsRequest { handle: handle.to_string(), ..change.into() };
        present("limits", call!(self, change_limits, request)?.limits)?.try_into()
    }

    /// Maps a port of the host into a container and tells both ports.
    pub async fn net_in(&self, handle: &Handle, port: NetIn) -> Result<NetIn> {
        let request = garden::NetInRequest { handle: handle.to_string(), port: Some(port.into()) };
        present("port", call!(self, net_in, request)?.port)?.try_into()
    }

    /// Allows a container further destinations: all of the rules, or none of them.
    pub async fn net_out(&self, handle: &Handle, rules: &[NetOutRule]) -> Result<()> {
        let rules = rules.iter().map(Into::into).collect();
        call!(self, net_out, garden::NetOutRequest { handle: handle.to_string(), rules })?;
        Ok(())
    }

    /// Puts rules in the place of all that were added, in one step, and answers their generation.
    ///
    /// # Errors
    /// As for [`net_out`](Self::net_out); `FailedPrecondition` when `expected` is given and others are in force.
    pub async fn net_replace(
        &self,
        handle: &Handle,
        rules: &[NetOutRule],
        expected: Option<u64>,
    ) -> Result<u64> {
        let request = garden::ReplaceNetOutRequest {
            handle: handle.to_string(),
            rules: rules.iter().map(Into::into).collect(),
            expected_generation: expected,
        };
        Ok(call!(self, replace_net_out, request)?.generation)
    }

    /// The rules in force.
    ///
    /// # Errors
    /// `ContainerNotFound`.
    pub async fn net_rules(&self, handle: &Handle) -> Result<NetRules> {
        let told = call!(self, net_out_rules, garden::NetOutRulesRequest { handle: handle.to_string() })?;
        let rules = told.rules.into_iter().map(TryInto::try_into).collect::<Result<_>>()?;
        Ok(NetRules { generation: told.generation, rules })
    }
}

/// The message of a response, or the error its status carries.
pub(crate) fn answer<T>(response: Result<Response<T>, Status>) -> Result<T> {
    response.map(Response::into_inner).map_err(|status| failed(&status))
}

/// The error that a status carries.
pub(crate) fn failed(status: &Status) -> Error {
    if is_lost_connection(status) {
        return Error::new(
            ErrorKind::Unavailable,
            format!("the connection to the server is lost: {}", status.message()),
        );
    }
    gdn_proto::status::from_status(status)
}

/// Whether this side made the status because its connection broke: what came from a server has no source.
fn is_lost_connection(status: &Status) -> bool {
    let says_nothing = matches!(status.code(), Code::Unknown | Code::Internal | Code::Cancelled);
    says_nothing && std::error::Error::source(status).is_some()
}

/// A field that the API says is always there.
pub(crate) fn present<T>(field: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| missing(field))
}

/// The error for an answer without a field that the API says is always there.
pub(crate) fn missing(field: &str) -> Error {
    Error::internal(format!("the server's answer has no {field}"))
}

fn texts(handles: &[Handle]) -> Vec<String> {
    handles.iter().map(Handle::to_string).collect()
}
