//! A client of the engine over gRPC.
//!
//! What it is: one async method per call of the API, in the words of [`gdn_types`], errors included: the kind a server chose
//! arrives as the same [`gdn_types::ErrorKind`].
//!
//! What it is not: no retries, no pool, no reconnecting of a process's streams; a lost connection is an `Unavailable` error,
//! and [`Client::attach`] finds the process again.
//!
//! Start with [`Client::connect`].
//!
//! # Invariants
//!
//! * A client is a handle on one HTTP/2 connection: cloning is cheap, and clones may be used from many tasks.
//! * Dropping a [`ProcessStream`] only detaches; the process goes on.
//! * A tar from [`Client::stream_out`] is complete only when [`TarStream::next`] has answered `Ok(None)`.
//!
//! # Limitations
//!
//! A server is a socket of this host, or `https://` with certificates on both sides; plain `http://` is refused.
//!
//! ```no_run
//! # async fn example() -> gdn_types::Result<()> {
//! use gdn_client::{Client, ProcessEvent};
//! use gdn_types::{ContainerSpec, ImageRef, ProcessSpec};
//!
//! let client = Client::connect("/run/gdn/grpc.sock").await?;
//! let spec = ContainerSpec { image: ImageRef::uri("builtin:hello"), ..ContainerSpec::default() };
//! let handle = client.create(spec).await?;
//! let mut process = client.run(&handle, ProcessSpec::default()).await?;
//! while let Some(event) = process.next().await? {
//!     match event {
//!         ProcessEvent::Stdout(bytes) | ProcessEvent::Stderr(bytes) => print!("{}", String::from_utf8_lossy(&bytes)),
//!         ProcessEvent::StdoutLost(lost) | ProcessEvent::StderrLost(lost) => println!("[{lost} bytes were lost here]"),
//!         ProcessEvent::Exited(status) => println!("{status}"),
//!     }
//! }
//! client.destroy(&handle).await
//! # }
//! ```
//!
//! What cannot be an address is refused before anything is tried:
//!
//! ```
//! use gdn_client::Address;
//! assert!(Address::parse("unix:/run/gdn/grpc.sock").is_ok());
//! assert!(Address::parse("ftp://host").unwrap_err().message().contains("ftp://host"));
//! ```

mod address;
mod calls;
mod connect;
mod events;
mod process;
mod tar;

pub use address::{Address, TlsFiles};
pub use calls::Ping;
pub use connect::Client;
pub use events::{EventStream, Watched};
pub use process::{ProcessEvent, ProcessInput, ProcessStream};
pub use tar::TarStream;
