//! An engine behind the gate, and a client of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gardener_core::{Components, Config, EventHub, Gardener};
use gdn_grpc::{Gate, GrpcConfig, ServeError, TlsConfig, UnixListenerSpec};
use gdn_proto::garden;
use gdn_proto::garden::garden_client::GardenClient;
use gdn_testkit::World;
use gdn_types::{ContainerSpec, Handle};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::host::HostProcesses;

/// No condition of these tests takes longer on a machine under load.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running engine with its gate.
pub(crate) struct Engine {
    pub(crate) world: World,
    pub(crate) gardener: Arc<Gardener>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) shutdown: CancellationToken,
    pub(crate) tcp: Option<std::net::SocketAddr>,
    pub(crate) served: JoinHandle<Result<(), ServeError>>,
}

impl Engine {
    pub(crate) async fn start() -> Self {
        Engine::start_with(|spec| spec, None).await
    }

    pub(crate) async fn start_with(
        unix: impl FnOnce(UnixListenerSpec) -> UnixListenerSpec,
        tcp: Option<TlsConfig>,
    ) -> Self {
        let world = World::new();
        let events = EventHub::new();
        let components = Components {
            containerizer: Arc::new(HostProcesses::new(world.containerizer(events.clone()))),
            networker: world.networker(),
            volumizer: world.volumizer(),
            properties: world.properties(),
        };
        let gardener = Gardener::new(Config::default(), components, events);
        gardener.start().await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let unix = unix(UnixListenerSpec::new(dir.path().join("g.sock")));
        let gate = Gate::open(GrpcConfig { unix: Some(unix), tcp }).await.unwrap();
        let (tcp, shutdown) = (gate.tcp_addr(), CancellationToken::new());
        let served = tokio::spawn(gate.serve(gardener.clone(), shutdown.clone()));
        Engine { world, gardener, dir, shutdown, tcp, served }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("g.sock")
    }

    pub(crate) async fn channel(&self) -> Channel {
        let socket = self.socket();
        let connect = move |_: Uri| {
            let socket = socket.clone();
            async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
        };
        let endpoint = Endpoint::from_static("http://localhost")
            .initial_stream_window_size(4 * 1024 * 1024)
            .initial_connection_window_size(16 * 1024 * 1024);
        endpoint.connect_with_connector(tower::service_fn(connect)).await.unwrap()
    }

    pub(crate) async fn client(&self) -> GardenClient<Channel> {
        GardenClient::new(self.channel().await)
    }

    /// A container made without the gate.
    pub(crate) async fn container(&self, handle: &str) {
        let spec = ContainerSpec { handle: Some(Handle::parse(handle).unwrap()), ..ContainerSpec::default() };
        self.gardener.create(spec).await.unwrap();
    }
}

/// Waits until the condition holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits for work that must end.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("work ends within the patience of these tests")
}

/// A request for a shell script.
pub(crate) fn script(handle: &str, id: &str, text: &str) -> garden::RunRequest {
    let process = garden::ProcessSpec {
        process_id: id.to_owned(),
        path: "/bin/sh".to_owned(),
        args: vec!["-c".to_owned(), text.to_owned()],
        ..Default::default()
    };
    let start = garden::RunStart { handle: handle.to_owned(), process: Some(process) };
    garden::RunRequest { message: Some(garden::run_request::Message::Start(start)) }
}
