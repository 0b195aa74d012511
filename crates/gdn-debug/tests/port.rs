//! The port over a real connection, with an engine in memory.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use gardener_core::{Components, Config, EventHub, Gardener};
use gdn_debug::{DebugServer, DebugSources, LogLevels};
use gdn_types::ContainerSpec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing::Level;

/// A log that remembers its level.
struct Log(Mutex<Level>);

impl LogLevels for Log {
    fn level(&self) -> Level {
        *self.0.lock().unwrap()
    }

    fn set_level(&self, level: Level) {
        *self.0.lock().unwrap() = level;
    }
}

/// A port, and what ends it.
struct Port {
    addr: SocketAddr,
    gardener: Arc<Gardener>,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl Port {
    async fn open() -> Port {
        let (world, events) = (gdn_testkit::World::new(), EventHub::new());
        let components = Components {
            containerizer: world.containerizer(events.clone()),
            networker: world.networker(),
            volumizer: world.volumizer(),
            properties: world.properties(),
        };
        let gardener = Gardener::new(Config::default(), components, events);
        let sources = DebugSources {
            gardener: gardener.clone(),
            log: Arc::new(Log(Mutex::new(Level::INFO))),
            version: "1.2.3",
            command_line: ["gdn", "server", "--tag", "hunter2"].map(String::from).into(),
        };
        let server = DebugServer::open("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (addr, stop) = (server.addr(), CancellationToken::new());
        let serving = tokio::spawn(server.serve(sources, stop.clone()));
        Port { addr, gardener, stop, serving }
    }

    /// Sends this and tells all that comes.
    async fn raw(&self, request: &str) -> String {
        let mut connection = TcpStream::connect(self.addr).await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn get(&self, path: &str) -> String {
        self.raw(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
    }

    async fn put(&self, path: &str, header: &str, body: &str) -> String {
        let length = body.len();
        self.raw(&format!("PUT {path} HTTP/1.1\r\nHost: x\r\n{header}Content-Length: {length}\r\n\r\n{body}"))
            .await
    }

    async fn close(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
        assert!(TcpStream::connect(self.addr).await.is_err());
    }
}

#[tokio::test]
async fn figures_follow_what_happens() {
    let port = Port::open().await;
    let before = port.get("/metrics").await;
    assert!(before.contains("gdn_containers{state=\"active\"} 0\n"), "{before}");
    port.gardener.start().await.unwrap();
    let handle = port.gardener.create(ContainerSpec::default()).await.unwrap();
    port.gardener.destroy(&gdn_types::Handle::parse("none").unwrap()).await.unwrap_err();
    let figures = port.get("/metrics").await;
    assert!(figures.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4"), "{figures}");
    for line in [
        "gdn_build_info{version=\"1.2.3\"} 1",
        "gdn_containers{state=\"active\"} 1",
        "gdn_operations_total{operation=\"create\",outcome=\"succeeded\"} 1",
        "gdn_operations_total{operation=\"destroy\",outcome=\"failed\"} 1",
        "gdn_operation_seconds_bucket{operation=\"create\",le=\"+Inf\"} 1",
        "gdn_operation_seconds_count{operation=\"create\"} 1",
        "gdn_panics_total 0",
    ] {
        assert!(figures.contains(&format!("\n{line}\n")), "{line}: {figures}");
    }
    assert!(!figures.contains(handle.as_str()), "{figures}");
    let vars = port.get("/debug/vars").await;
    let (head, body) = vars.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{head}");
    let vars: serde_json::Value = serde_json::from_str(body).unwrap();
    assert!(vars["memstats"]["Alloc"].as_u64().unwrap() > 0, "{vars}");
    assert_eq!((vars["depotDirs"].as_u64(), vars["numGoRoutines"].is_u64()), (Some(1), true), "{vars}");
    assert_eq!(vars["cmdline"], serde_json::json!(["gdn", "server", "--tag"]));
    port.close().await;
}

#[tokio::test]
async fn the_level_is_read_and_changed_and_nonsense_is_refused() {
    let port = Port::open().await;
    assert!(port.get("/log-level").await.ends_with("\r\n\r\ninfo\n"));
    assert!(port.put("/log-level", "", "debug\n").await.ends_with("\r\n\r\ndebug\n"));
    assert!(port.get("/log-level").await.ends_with("\r\n\r\ndebug\n"));
    let long = "debug".repeat(20);
    for (header, body, status) in
        [("", "loud", "400"), ("", &long, "400"), ("Origin: http://example.com\r\n", "trace", "403")]
    {
        let answer = port.put("/log-level", header, body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{body}: {answer}");
    }
    assert!(port.get("/log-level").await.ends_with("\r\n\r\ndebug\n"));
    assert!(port.put("/metrics", "", "x").await.starts_with("HTTP/1.1 405 "));
    assert!(port.put("/metrics", "", "x").await.contains("allow: GET\r\n"));
    for path in ["/", "/debug/pprof/", "/debug/vars/x"] {
        assert!(port.get(path).await.starts_with("HTTP/1.1 404 "), "{path}");
    }
    let huge = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    // What was not read may turn the end of the connection into a reset.
    let mut connection = TcpStream::connect(port.addr).await.unwrap();
    let _ = connection.write_all(huge.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "), "{answer:?}");
    port.close().await;
}
