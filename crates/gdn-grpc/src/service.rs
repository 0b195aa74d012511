//! The calls of `garden.v1.Garden`: parse, ask the engine, answer.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use gardener_core::Gardener;
use gdn_proto::garden::garden_server::Garden;
use gdn_proto::garden::{
    self, attach_request, attach_response, run_request, run_response, stream_in_request,
};
use gdn_proto::{API_VERSION, MAX_MESSAGE_BYTES, convert, status};
use gdn_types::{
    AttachFrom, ContainerSpec, Error, ErrorKind, Handle, NetIn, NetRules, ProcessId, ProcessSpec,
    PropertyFilter, Result, Signal, StreamInSpec, StreamOutSpec,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::answer::{Subject, answer, deadline};
use crate::dialect::{self, Attach, Inputs, Run, responses};
use crate::pipes::MAX_CHUNK;
use crate::session::Session;
use crate::{events, tar};

/// The engine behind the gate.
#[derive(Clone)]
pub(crate) struct GardenService {
    gardener: Arc<Gardener>,
    shutdown: CancellationToken,
}

impl GardenService {
    pub(crate) fn new(gardener: Arc<Gardener>, shutdown: CancellationToken) -> Self {
        GardenService { gardener, shutdown }
    }

    fn session(
        &self,
        subject: Subject,
        handle: Handle,
        process: gardener_core::RunningProcess,
        stdin: bool,
    ) -> Session {
        let (gardener, shutdown) = (self.gardener.clone(), self.shutdown.clone());
        Session { gardener, subject, handle, process, takes_stdin: stdin, shutdown }
    }
}

/// A call that answers once: its name, what it is about, and the work on the request's own fields.
macro_rules! unary {
    ($self:ident, $operation:literal, $request:ident, |$wire:ident| ($handle:expr, $process:expr), $work:expr) => {{
        let deadline = deadline($request.metadata());
        let $wire = $request.into_inner();
        let subject = Subject::new($operation, $handle, $process);
        answer(subject, deadline, async { $work }).await
    }};
}

#[tonic::async_trait]
impl Garden for GardenService {
    async fn ping(
        &self,
        request: Request<garden::PingRequest>,
    ) -> Result<Response<garden::PingResponse>, Status> {
        unary!(self, "Ping", request, |_wire| ("", ""), {
            self.gardener.ping().await?;
            let features = garden::Features {
                max_message_bytes: MAX_MESSAGE_BYTES as u32,
                max_chunk_bytes: MAX_CHUNK as u32,
            };
            Ok(garden::PingResponse {
                api_version: API_VERSION,
                engine_version: env!("CARGO_PKG_VERSION").to_owned(),
                features: Some(features),
            })
        })
    }

    async fn capacity(
        &self,
        request: Request<garden::CapacityRequest>,
    ) -> Result<Response<garden::CapacityResponse>, Status> {
        unary!(self, "Capacity", request, |_wire| ("", ""), Ok(self.gardener.capacity().await?.into()))
    }

    async fn create(
        &self,
        request: Request<garden::CreateRequest>,
    ) -> Result<Response<garden::CreateResponse>, Status> {
        unary!(self, "Create", request, |wire| (wire.spec.as_ref().map_or("", |spec| &spec.handle), ""), {
            let spec = ContainerSpec::try_from(wire.spec.unwrap_or_default())?;
            let handle = Box::pin(self.gardener.create(spec)).await?;
            Ok(garden::CreateResponse { handle: handle.to_string() })
        })
    }

    async fn destroy(
        &self,
        request: Request<garden::DestroyRequest>,
    ) -> Result<Response<garden::DestroyResponse>, Status> {
        unary!(self, "Destroy", request, |wire| (&wire.handle, ""), {
            Box::pin(self.gardener.destroy(&Handle::parse(&wire.handle)?)).await?;
            Ok(garden::DestroyResponse {})
        })
    }

    async fn list(
        &self,
        request: Request<garden::ListRequest>,
    ) -> Result<Response<garden::ListResponse>, Status> {
        unary!(self, "List", request, |wire| ("", ""), {
            let handles = self.gardener.list(&PropertyFilter::new(wire.properties))?;
            Ok(garden::ListResponse { handles: handles.iter().map(Handle::to_string).collect() })
        })
    }

    async fn info(
        &self,
        request: Request<garden::InfoRequest>,
    ) -> Result<Response<garden::InfoResponse>, Status> {
        unary!(self, "Info", request, |wire| (&wire.handle, ""), {
            let info = self.gardener.info(&Handle::parse(&wire.handle)?).await?;
            Ok(garden::InfoResponse { info: Some(info.into()) })
        })
    }

    async fn bulk_info(
        &self,
        request: Request<garden::BulkInfoRequest>,
    ) -> Result<Response<garden::BulkInfoResponse>, Status> {
        unary!(self, "BulkInfo", request, |wire| ("", ""), {
            let entries = self.gardener.bulk_info(&parse_handles(&wire.handles)?).await;
            Ok(garden::BulkInfoResponse { entries: entries.into_iter().map(Into::into).collect() })
        })
    }

    async fn metrics(
        &self,
        request: Request<garden::MetricsRequest>,
    ) -> Result<Response<garden::MetricsResponse>, Status> {
        unary!(self, "Metrics", request, |wire| (&wire.handle, ""), {
            let metrics = self.gardener.metrics(&Handle::parse(&wire.handle)?).await?;
            Ok(garden::MetricsResponse { metrics: Some(metrics.into()) })
        })
    }

    async fn bulk_metrics(
        &self,
        request: Request<garden::BulkMetricsRequest>,
    ) -> Result<Response<garden::BulkMetricsResponse>, Status> {
        unary!(self, "BulkMetrics", request, |wire| ("", ""), {
            let entries = self.gardener.bulk_metrics(&parse_handles(&wire.handles)?).await;
            Ok(garden::BulkMetricsResponse { entries: entries.into_iter().map(Into::into).collect() })
        })
    }

    type RunStream = BoxStream<'static, Result<garden::RunResponse, Status>>;

    async fn run(
        &self,
        request: Request<Streaming<garden::RunRequest>>,
    ) -> Result<Response<Self::RunStream>, Status> {
        let deadline = deadline(request.metadata());
        let mut requests = request.into_inner();
        let Some(run_request::Message::Start(start)) =
            first::<Run>(&mut requests).await?.and_then(|first| first.message)
        else {
            return Err(
                Subject::new("Run", "", "").refuse(&Error::invalid("the first message of Run is not start"))
            );
        };
        let wire = start.process.unwrap_or_default();
        let subject = Subject::new("Run", &start.handle, &wire.process_id);
        answer(subject.clone(), deadline, async {
            let handle = Handle::parse(&start.handle)?;
            let spec = ProcessSpec::try_from(wire)?;
            let process = Box::pin(self.gardener.run(&handle, spec)).await?;
            let subject = Subject { process: process.id.to_string(), ..subject };
            let started = garden::RunStarted { process_id: process.id.to_string() };
            let first = garden::RunResponse { message: Some(run_response::Message::Started(started)) };
            let answers = self.session(subject, handle, process, true).begin(Inputs::<Run>::new(requests))?;
            Ok(responses::<Run>(first, answers))
        })
        .await
    }

    type AttachStream = BoxStream<'static, Result<garden::AttachResponse, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<garden::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let deadline = deadline(request.metadata());
        let mut requests = request.into_inner();
        let Some(attach_request::Message::Start(start)) =
            first::<Attach>(&mut requests).await?.and_then(|first| first.message)
        else {
            let error = Error::invalid("the first message of Attach is not start");
            return Err(Subject::new("Attach", "", "").refuse(&error));
        };
        let subject = Subject::new("Attach", &start.handle, &start.process_id);
        answer(subject.clone(), deadline, async {
            let (handle, id) = parse_names(&start.handle, &start.process_id)?;
            let from = AttachFrom { stdout: start.stdout_from, stderr: start.stderr_from };
            let process = Box::pin(self.gardener.attach(&handle, &id, from)).await?;
            let started = garden::AttachStarted {
                process_id: id.to_string(),
                stdout_first: process.attachment.stdout_first,
                stderr_first: process.attachment.stderr_first,
            };
            let first = garden::AttachResponse { message: Some(attach_response::Message::Started(started)) };
            let answers =
                self.session(subject, handle, process, start.stdin).begin(Inputs::<Attach>::new(requests))?;
            Ok(responses::<Attach>(first, answers))
        })
        .await
    }

    async fn wait(
        &self,
        request: Request<garden::WaitRequest>,
    ) -> Result<Response<garden::WaitResponse>, Status> {
        unary!(self, "Wait", request, |wire| (&wire.handle, &wire.process_id), {
            let (handle, id) = parse_names(&wire.handle, &wire.process_id)?;
            let status = tokio::select! {
                () = self.shutdown.cancelled() => return Err(Error::new(ErrorKind::Unavailable, "the engine stops")),
                status = self.gardener.wait(&handle, &id) => status?,
            };
            Ok(garden::WaitResponse { status: Some(status.into()) })
        })
    }

    async fn signal(
        &self,
        request: Request<garden::SignalRequest>,
    ) -> Result<Response<garden::SignalResponse>, Status> {
        unary!(self, "Signal", request, |wire| (&wire.handle, &wire.process_id), {
            let (handle, id) = parse_names(&wire.handle, &wire.process_id)?;
            self.gardener.signal(&handle, &id, Signal::new(wire.signal)?).await?;
            Ok(garden::SignalResponse {})
        })
    }

    async fn processes(
        &self,
        request: Request<garden::ProcessesRequest>,
    ) -> Result<Response<garden::ProcessesResponse>, Status> {
        unary!(self, "Processes", request, |wire| (&wire.handle, ""), {
            let processes = self.gardener.processes(&Handle::parse(&wire.handle)?).await?;
            Ok(garden::ProcessesResponse { processes: processes.into_iter().map(Into::into).collect() })
        })
    }

    async fn stop(
        &self,
        request: Request<garden::StopRequest>,
    ) -> Result<Response<garden::StopResponse>, Status> {
        unary!(self, "Stop", request, |wire| (&wire.handle, ""), {
            self.gardener.stop(&Handle::parse(&wire.handle)?, wire.kill).await?;
            Ok(garden::StopResponse {})
        })
    }

    async fn stream_in(
        &self,
        request: Request<Streaming<garden::StreamInRequest>>,
    ) -> Result<Response<garden::StreamInResponse>, Status> {
        let deadline = deadline(request.metadata());
        let mut requests = request.into_inner();
        let Some(stream_in_request::Message::Start(start)) =
            requests.message().await?.and_then(|first| first.message)
        else {
            let error = Error::invalid("the first message of StreamIn is not start");
            return Err(Subject::new("StreamIn", "", "").refuse(&error));
        };
        answer(Subject::new("StreamIn", &start.handle, ""), deadline, async {
            let handle = Handle::parse(&start.handle)?;
            let spec = StreamInSpec { path: start.path, user: start.user };
            tar::stream_in(&self.gardener, &handle, &spec, requests).await?;
            Ok(garden::StreamInResponse {})
        })
        .await
    }

    type StreamOutStream = ReceiverStream<Result<garden::StreamOutResponse, Status>>;

    async fn stream_out(
        &self,
        request: Request<garden::StreamOutRequest>,
    ) -> Result<Response<Self::StreamOutStream>, Status> {
        unary!(self, "StreamOut", request, |wire| (&wire.handle, ""), {
            let subject = Subject::new("StreamOut", &wire.handle, "");
            let spec = StreamOutSpec { path: wire.path, user: wire.user };
            let tar = self.gardener.stream_out(&Handle::parse(&wire.handle)?, &spec).await?;
            Ok(tar::stream_out(subject, tar, self.gardener.clone()))
        })
    }

    async fn get_property(
        &self,
        request: Request<garden::GetPropertyRequest>,
    ) -> Result<Response<garden::GetPropertyResponse>, Status> {
        unary!(self, "GetProperty", request, |wire| (&wire.handle, ""), {
            let value = self.gardener.property(&Handle::parse(&wire.handle)?, &wire.key)?;
            Ok(garden::GetPropertyResponse { value })
        })
    }

    async fn get_properties(
        &self,
        request: Request<garden::GetPropertiesRequest>,
    ) -> Result<Response<garden::GetPropertiesResponse>, Status> {
        unary!(self, "GetProperties", request, |wire| (&wire.handle, ""), {
            let properties = self.gardener.properties(&Handle::parse(&wire.handle)?)?;
            Ok(garden::GetPropertiesResponse { properties: convert::property_map(&properties) })
        })
    }

    async fn set_property(
        &self,
        request: Request<garden::SetPropertyRequest>,
    ) -> Result<Response<garden::SetPropertyResponse>, Status> {
        unary!(self, "SetProperty", request, |wire| (&wire.handle, ""), {
            self.gardener.set_property(&Handle::parse(&wire.handle)?, &wire.key, &wire.value).await?;
            Ok(garden::SetPropertyResponse {})
        })
    }

    async fn remove_property(
        &self,
        request: Request<garden::RemovePropertyRequest>,
    ) -> Result<Response<garden::RemovePropertyResponse>, Status> {
        unary!(self, "RemoveProperty", request, |wire| (&wire.handle, ""), {
            self.gardener.remove_property(&Handle::parse(&wire.handle)?, &wire.key).await?;
            Ok(garden::RemovePropertyResponse {})
        })
    }

    async fn set_grace_time(
        &self,
        request: Request<garden::SetGraceTimeRequest>,
    ) -> Result<Response<garden::SetGraceTimeResponse>, Status> {
        unary!(self, "SetGraceTime", request, |wire| (&wire.handle, ""), {
            let grace_time = Duration::from_nanos(wire.grace_time_ns);
            self.gardener.set_grace_time(&Handle::parse(&wire.handle)?, grace_time).await?;
            Ok(garden::SetGraceTimeResponse {})
        })
    }

    async fn limits(
        &self,
        request: Request<garden::LimitsRequest>,
    ) -> Result<Response<garden::LimitsResponse>, Status> {
        unary!(self, "Limits", request, |wire| (&wire.handle, ""), {
            let limits = self.gardener.limits(&Handle::parse(&wire.handle)?).await?;
            Ok(garden::LimitsResponse { limits: Some(limits.into()) })
        })
    }

    async fn change_limits(
        &self,
        request: Request<garden::ChangeLimitsRequest>,
    ) -> Result<Response<garden::ChangeLimitsResponse>, Status> {
        unary!(self, "ChangeLimits", request, |wire| (&wire.handle, ""), {
            let handle = Handle::parse(&wire.handle)?;
            let limits = self.gardener.change_limits(&handle, wire.try_into()?).await?;
            Ok(garden::ChangeLimitsResponse { limits: Some(limits.into()) })
        })
    }

    async fn net_in(
        &self,
        request: Request<garden::NetInRequest>,
    ) -> Result<Response<garden::NetInResponse>, Status> {
        unary!(self, "NetIn", request, |wire| (&wire.handle, ""), {
            let port = NetIn::try_from(wire.port.unwrap_or_default())?;
            let mapped = self.gardener.net_in(&Handle::parse(&wire.handle)?, port).await?;
            Ok(garden::NetInResponse { port: Some(mapped.into()) })
        })
    }

    async fn net_out(
        &self,
        request: Request<garden::NetOutRequest>,
    ) -> Result<Response<garden::NetOutResponse>, Status> {
        unary!(self, "NetOut", request, |wire| (&wire.handle, ""), {
            let rules = convert::all(wire.rules)?;
            self.gardener.net_out(&Handle::parse(&wire.handle)?, rules).await?;
            Ok(garden::NetOutResponse {})
        })
    }

    async fn replace_net_out(
        &self,
        request: Request<garden::ReplaceNetOutRequest>,
    ) -> Result<Response<garden::ReplaceNetOutResponse>, Status> {
        unary!(self, "ReplaceNetOut", request, |wire| (&wire.handle, ""), {
            let rules = convert::all(wire.rules)?;
            let handle = Handle::parse(&wire.handle)?;
            let generation = self.gardener.net_replace(&handle, rules, wire.expected_generation).await?;
            Ok(garden::ReplaceNetOutResponse { generation })
        })
    }

    async fn net_out_rules(
        &self,
        request: Request<garden::NetOutRulesRequest>,
    ) -> Result<Response<garden::NetOutRulesResponse>, Status> {
        unary!(self, "NetOutRules", request, |wire| (&wire.handle, ""), {
            let NetRules { generation, rules } =
                self.gardener.net_rules(&Handle::parse(&wire.handle)?).await?;
            Ok(garden::NetOutRulesResponse { generation, rules: rules.into_iter().map(Into::into).collect() })
        })
    }

    type WatchEventsStream = ReceiverStream<Result<garden::WatchEventsResponse, Status>>;

    async fn watch_events(
        &self,
        request: Request<garden::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        unary!(self, "WatchEvents", request, |wire| ("", ""), {
            let subject = Subject::new("WatchEvents", "", "");
            let handles = wire.handles.into_iter().collect();
            Ok(events::watch(subject, handles, self.gardener.subscribe(), self.shutdown.clone()))
        })
    }
}

/// The first message of a conversation; none when the client ended it before.
async fn first<D: dialect::Dialect>(
    requests: &mut Streaming<D::Request>,
) -> Result<Option<D::Request>, Status> {
    requests
        .message()
        .await
        .map_err(|status| Subject::new("first message", "", "").refuse(&status::from_status(&status)))
}

fn parse_handles(handles: &[String]) -> Result<Vec<Handle>> {
    handles.iter().map(|handle| Handle::parse(handle)).collect()
}

fn parse_names(handle: &str, process: &str) -> Result<(Handle, ProcessId)> {
    Ok((Handle::parse(handle)?, ProcessId::parse(process)?))
}
