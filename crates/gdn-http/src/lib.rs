//! The Garden HTTP front door: the wire protocol of Cloud Foundry's Garden, for its existing clients.
//!
//! What it is: one wire format. It parses requests into words of the engine, asks [`gardener_core::Gardener`], and copies
//! bytes between connections and the pipes that the engine hands out; neither the orchestrator nor the property store sees
//! those bytes.
//!
//! What it is not: no decision about containers is taken here, and no client is in here. It is no HTTP server for anything
//! else either: the protocol writes raw bytes behind a head that promises chunks, which no HTTP library does, so heads and
//! bodies are read here, with `httparse`.
//!
//! Start with [`Gate::open`], then [`Gate::serve`].
//!
//! # Invariants
//!
//! * There is no authentication in the protocol: who may write to the socket may call. A TCP address has no protection.
//! * A client that goes away detaches; it never ends a process and never closes its standard input.
//! * The connections of a process end by an orderly end of file, also when the engine stops: clients attach again then.
//! * All output written before the exit reaches the side streams, if a client comes for it within a minute after the exit.
//! * A process whose output no client comes for is held back for 5 s at most. A client that comes and does not read holds
//!   it back, but for 5 s at most while it waits for the other output.
//! * A side stream is opened once, by who knows its number (128 bits at random) and names its container and process.
//! * A tar that was not wholly read or written is an error, never a success.
//! * Bodies and messages of all clients together have 256 MiB of memory, and 256 KiB each beside that; the bytes that wait for
//!   a process to read them (4 MiB for each conversation) do not count.
//! * Two answers about the length of a body, and a head or a JSON body that is too long or too slow, refuse the request.
//! * A failed call is logged once, with handle, operation and the client's request id, never with environment, properties or
//!   credentials.
//!
//! # Limitations
//!
//! * A signal in a conversation waits behind more than 4 MiB of input that the process does not read.
//! * What a client lost because it read more slowly than others is told in the log only: the stream has no place for it.
//! * A client that ends its sending side has gone.
//!
//! ```
//! use gdn_http::{Gate, HttpConfig, UnixListenerSpec};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let dir = tempfile::tempdir().unwrap();
//! let unix = UnixListenerSpec::new(dir.path().join("garden.sock"));
//! let gate = Gate::open(HttpConfig { unix: Some(unix), ..HttpConfig::default() }).await.unwrap();
//! // gate.serve(gardener, shutdown).await
//! assert!(gate.tcp_addr().is_none());
//! # });
//! ```

mod answer;
mod calls;
mod config;
mod connection;
mod files;
#[cfg(test)]
mod fuzz;
mod head;
mod inherited;
mod json;
mod output;
mod payload;
mod pipes;
mod requests;
mod room;
mod route;
mod serve;
mod session;
mod sides;
mod socket;
mod unix;

pub use config::{HttpConfig, OpenError, UnixListenerSpec};
pub use serve::Gate;
