//! An open gate, and raw connections to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gardener_core::{Components, Config, EventHub, Gardener};
use gdn_http::{Gate, HttpConfig, UnixListenerSpec};
use gdn_testkit::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// For how long anything is waited for: far more than it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gate that serves.
pub(crate) struct Open {
    pub(crate) world: World,
    pub(crate) stop: CancellationToken,
    socket: PathBuf,
    serving: JoinHandle<()>,
    _place: tempfile::TempDir,
}

impl Open {
    pub(crate) async fn new() -> Self {
        Open::with(HttpConfig::default()).await
    }

    /// A gate with these choices, and a socket.
    pub(crate) async fn with(config: HttpConfig) -> Self {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("garden.sock");
        let (world, events) = (World::new(), EventHub::new());
        let components = Components {
            containerizer: world.containerizer(events.clone()),
            networker: world.networker(),
            volumizer: world.volumizer(),
            properties: world.properties(),
        };
        let orchestrator = Config { memory_bytes: 1000, max_containers: 5, ..Config::default() };
        let gardener = Gardener::new(orchestrator, components, events);
        gardener.start().await.unwrap();
        let unix = Some(UnixListenerSpec::new(&socket));
        let gate = Gate::open(HttpConfig { unix, ..config }).await.unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(gate.serve(Arc::clone(&gardener), stop.clone()));
        Open { world, stop, socket, serving, _place: place }
    }

    pub(crate) async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).await.unwrap()
    }

    /// Everything that is answered to these bytes, until the end of file; the date is taken out.
    pub(crate) async fn exchange(&self, request: &str) -> String {
        let mut connection = self.connect().await;
        connection.write_all(request.as_bytes()).await.unwrap();
        rest(&mut connection).await
    }

    /// What comes of these bytes from a client that then says no more: the statuses of all responses, and everything.
    pub(crate) async fn hostile(&self, request: &[u8]) -> (Vec<u16>, String) {
        let (mut answers, mut requests) = self.connect().await.into_split();
        let request = request.to_vec();
        let sending = tokio::spawn(async move {
            // The gate need not listen to all of it.
            let _ = requests.write_all(&request).await;
            drop(requests);
        });
        let mut bytes = Vec::new();
        // What was not read may turn the end into a reset.
        let _ = tokio::time::timeout(PATIENCE, answers.read_to_end(&mut bytes)).await.unwrap();
        drop(answers);
        sending.await.unwrap();
        let text = undated(&String::from_utf8_lossy(&bytes));
        let status = |rest: &str| rest.get(..3)?.parse().ok();
        (text.split("HTTP/1.1 ").skip(1).filter_map(status).collect(), text)
    }

    pub(crate) async fn close(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.serving).await.unwrap().unwrap();
        assert!(!self.socket.exists());
    }
}

/// What comes until the end of file, without dates.
pub(crate) async fn rest(connection: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    tokio::time::timeout(PATIENCE, connection.read_to_end(&mut bytes)).await.unwrap().unwrap();
    undated(&String::from_utf8(bytes).unwrap())
}

/// What comes until this text does, without dates.
pub(crate) async fn until(connection: &mut UnixStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let byte = tokio::time::timeout(PATIENCE, connection.read_u8()).await.unwrap();
        bytes.push(
            byte.unwrap_or_else(|error| panic!("{error} behind {:?}", String::from_utf8_lossy(&bytes))),
        );
    }
    undated(&String::from_utf8(bytes).unwrap())
}

fn undated(text: &str) -> String {
    text.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: ")).collect()
}
