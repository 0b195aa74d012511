//! The gRPC front door: `garden.v1` over a socket in the file system, and over TCP with mutual TLS.
//!
//! What it is: one wire format. It parses requests into words of the engine, asks [`gardener_core::Gardener`], and copies
//! bytes between the client's messages and the pipes that the engine hands out; neither the orchestrator nor the property
//! store sees those bytes.
//!
//! What it is not: no decision about containers is taken here, and no client is in here (see `gdn-client`).
//!
//! Start with [`serve`], or with [`Gate`] where the port is needed before the serving begins.
//!
//! # Invariants
//!
//! * A unix client is looked at by its user id at each connection, a TCP client must have a certificate of the configured
//!   authority. There is no plaintext TCP.
//! * A client that goes away detaches; it never ends a process and never closes its standard input.
//! * `exited` is sent after the last byte of output. A tar that was not wholly read or written is an error, never a success.
//! * Memory per stream is bounded: three chunks of output of at most 256 KiB, sixteen messages of input.
//! * A failed call is logged once, with handle and operation, never with environment, properties or credentials.
//!
//! # Limitations
//!
//! * A signal in a Run stream waits behind more than sixteen chunks of input that the process does not read; the call Signal
//!   does not.
//! * A TLS certificate is read once; a new one needs a restart of the gate.
//!
//! ```
//! use gdn_grpc::{Gate, GrpcConfig, UnixListenerSpec};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let dir = tempfile::tempdir().unwrap();
//! let unix = UnixListenerSpec::new(dir.path().join("grpc.sock"));
//! let gate = Gate::open(GrpcConfig { unix: Some(unix), tcp: None }).await.unwrap();
//! // gate.serve(gardener, shutdown).await
//! assert!(gate.tcp_addr().is_none());
//! # });
//! ```

mod answer;
mod clients;
mod config;
mod dialect;
mod events;
mod pipes;
mod serve;
mod service;
mod session;
mod tar;
mod tls;
mod unix;

pub use clients::Clients;
pub use config::{GrpcConfig, ServeError, TlsConfig, UnixListenerSpec};
pub use serve::{Gate, serve};
