//! The operators' port of an engine: figures for Prometheus, variables as Garden's suites read them, and the level of the log.
//!
//! What it is: four answers over plain HTTP, made of what the orchestrator counts and of what the kernel tells about this
//! process. What it is not: no API of containers, and no profiler.
//!
//! Start with [`DebugServer::open`], then [`DebugServer::serve`].
//!
//! # Invariants
//!
//! * No answer names a container, a property, an environment or a credential; of the command line only names of options are
//!   told, not their values.
//! * Only a client of this host can change the level of the log, whatever address is listened on, and never a page that a
//!   browser shows.
//! * A client that is slow, large or one of many costs no more than 16 connections of 10 s and 16 KiB each.
//! * Nothing is executed and no container is asked: an answer takes less than a millisecond, also with a thousand containers.
//!
//! # Limitations
//!
//! * There is neither TLS nor authentication: whoever reaches the port may read the figures.
//! * `memstats.Alloc` is the anonymous memory of the process that is resident, since there is no collector to ask.
//!
//! ```
//! use gdn_debug::DebugServer;
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let server = DebugServer::open("127.0.0.1:0".parse().unwrap()).await.unwrap();
//! assert_ne!(server.addr().port(), 0);
//! // server.serve(DebugSources { .. }, shutdown).await
//! # });
//! ```

mod answer;
mod exposition;
mod metrics;
mod process;
mod serve;
mod vars;

pub use serve::{DebugServer, DebugSources, LogLevels, OpenError};
