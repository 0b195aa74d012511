//! The calls that answer once: parse, ask the engine, say what it says.

use std::collections::BTreeMap;
use std::sync::Arc;

use gardener_core::Gardener;
use gdn_types::{Error, ErrorKind, Handle, PropertyFilter, Result};
use serde::Serialize;

use crate::answer::{Fault, Subject, no_container};
use crate::json::{
    self, BulkInfo, BulkMetrics, Capacity, CpuLimit, Created, Fields, Handles, Info, MappedPort, MemoryLimit,
    Metrics, Nothing, Property,
};
use crate::route::{Call, Route, parameter, parameters};

/// Answers a call, with the document of its answer. The subject learns which container a create is about.
pub(crate) async fn answer(
    gardener: &Arc<Gardener>,
    subject: &mut Subject,
    route: &Route,
    query: &str,
    body: &[u8],
) -> Result<Vec<u8>> {
    let done = |()| json::document(&Nothing {});
    Ok(match route.call {
        Call::Ping => done(gardener.ping().await?),
        Call::Capacity => json::document(&Capacity::from(gardener.capacity().await?)),
        Call::List => json::document(&Handles::new(&gardener.list(&filter(query))?)),
        Call::Create => {
            let spec = json::container_spec(Fields::parse(body)?)?;
            if let Some(handle) = &spec.handle {
                subject.handle = handle.to_string();
            }
            let created = Box::pin(gardener.create(spec)).await;
            let handle = created.map_err(|error| as_clients_compare(error, &subject.handle))?;
            json::document(&Created { handle: handle.to_string() })
        }
        Call::BulkInfo => bulk_info(gardener, query).await,
        Call::BulkMetrics => bulk_metrics(gardener, query).await,
        _ => of_container(gardener, &subject.handle()?, route, body).await?,
    })
}

/// Clients compare the whole text where a handle is taken, which begins with a capital, and of one container too many.
fn as_clients_compare(error: Error, handle: &str) -> Error {
    if error.is_too_many_containers() {
        return Error::new(error.kind(), "max containers reached");
    }
    let taken = format!("andle '{handle}' already in use");
    match error.kind() {
        ErrorKind::AlreadyExists if error.message() == format!("h{taken}") => {
            Error::new(ErrorKind::AlreadyExists, format!("H{taken}"))
        }
        _ => error,
    }
}

/// Answers a call about one container.
async fn of_container(
    gardener: &Arc<Gardener>,
    handle: &Handle,
    route: &Route,
    body: &[u8],
) -> Result<Vec<u8>> {
    match route.call {
        Call::Info => return Ok(json::document(&Info::from(gardener.info(handle).await?))),
        Call::Metrics => return Ok(json::document(&Metrics::from(gardener.metrics(handle).await?))),
        Call::BandwidthLimits | Call::DiskLimits => {
            gardener.info(handle).await?;
        }
        Call::CpuLimits => {
            let shares = gardener.limits(handle).await?.cpu.shares;
            let limit_in_shares = shares.map_or(0, gdn_types::CpuShares::get);
            return Ok(json::document(&CpuLimit { limit_in_shares }));
        }
        Call::MemoryLimits => {
            let limit_in_bytes = gardener.limits(handle).await?.memory.bytes;
            return Ok(json::document(&MemoryLimit { limit_in_bytes }));
        }
        Call::Properties => {
            return Ok(json::document(&json::properties(&gardener.properties(handle)?)));
        }
        Call::Property => {
            return Ok(json::document(&Property { value: gardener.property(handle, &route.key)? }));
        }
        Call::NetIn => {
            let mapped = gardener.net_in(handle, json::net_in(Fields::parse(body)?)?).await?;
            return Ok(json::document(&MappedPort::from(mapped)));
        }
        Call::NetOut => gardener.net_out(handle, vec![json::net_out(body)?]).await?,
        Call::BulkNetOut => gardener.net_out(handle, json::net_out_rules(body)?).await?,
        Call::Destroy => Box::pin(gardener.destroy(handle)).await?,
        Call::Stop => gardener.stop(handle, json::kill(body)?).await?,
        Call::SetGraceTime => gardener.set_grace_time(handle, json::grace_time(body)?).await?,
        Call::SetProperty => {
            gardener.set_property(handle, &route.key, &json::property(body)?).await?;
        }
        Call::RemoveProperty => match gardener.remove_property(handle, &route.key).await {
            // Clients do not expect to be told.
            Err(error) if error.kind() == ErrorKind::PropertyNotFound => {}
            removed => removed?,
        },
        other => return Err(Error::internal(format!("{} is no call about a container", other.name()))),
    }
    Ok(json::document(&Nothing {}))
}

/// The filter of a list: of a key that is repeated only the first value counts.
fn filter(query: &str) -> PropertyFilter {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (key, value) in parameters(query) {
        if !pairs.iter().any(|(known, _)| *known == key) {
            pairs.push((key, value));
        }
    }
    PropertyFilter::new(pairs)
}

async fn bulk_info(gardener: &Gardener, query: &str) -> Vec<u8> {
    let (handles, strange) = handles(query);
    let entries = gardener.bulk_info(&handles).await;
    bulk(entries, strange, |outcome| match outcome {
        Ok(info) => BulkInfo { info: info.into(), err: None },
        Err(fault) => BulkInfo { err: Some(fault), ..BulkInfo::default() },
    })
}

async fn bulk_metrics(gardener: &Gardener, query: &str) -> Vec<u8> {
    let (handles, strange) = handles(query);
    let entries = gardener.bulk_metrics(&handles).await;
    bulk(entries, strange, |outcome| match outcome {
        Ok(metrics) => BulkMetrics { metrics: metrics.into(), err: None },
        Err(fault) => BulkMetrics { err: Some(fault), ..BulkMetrics::default() },
    })
}

/// The handles that a bulk call names, and the texts among them that no container can have for a name.
fn handles(query: &str) -> (Vec<Handle>, Vec<String>) {
    let (mut handles, mut strange) = (Vec::new(), Vec::new());
    for text in parameter(query, "handles").split(',').filter(|text| !text.is_empty()) {
        match Handle::parse(text) {
            Ok(handle) => handles.push(handle),
            Err(_) => strange.push(text.to_owned()),
        }
    }
    (handles, strange)
}

fn bulk<T, E: Serialize>(
    entries: Vec<(Handle, Result<T>)>,
    strange: Vec<String>,
    entry: impl Fn(Result<T, Fault>) -> E,
) -> Vec<u8> {
    let known = entries.into_iter().map(|(handle, outcome)| {
        let outcome = outcome.map_err(|error| Fault::of(&error, handle.as_str(), ""));
        (handle.to_string(), entry(outcome))
    });
    let unknown = strange.into_iter().map(|text| {
        let fault = Fault::of(&no_container(&text), &text, "");
        (text, entry(Err(fault)))
    });
    json::document(&known.chain(unknown).collect::<BTreeMap<_, _>>())
}
