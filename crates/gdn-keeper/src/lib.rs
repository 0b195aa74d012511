//! The process that holds one container: its protocol ([`protocol`], [`wire`]) and the program ([`program`]).
//!
//! # The processes
//!
//! * The **launcher** is exec'd by the engine before anything else. It is single-threaded, forks on request, and ends with
//!   the engine.
//! * A **keeper** is a fork of the launcher. It lives in the host's namespaces, outside the engine's and the container's
//!   cgroups, and outlives the engine. It holds the container's pipes and terminals, forks every process of the container
//!   as its own waitable child, and writes each exit status down before it tells anyone.
//! * **Init** is the keeper's first child: it sets up the container from inside, then execs `garden-init`, which reaps
//!   orphans and nothing else. If the keeper dies, init dies, and with it the pid namespace.
//!
//! All of them run one static program from one sealed memfd, so the file that a container sees as `/proc/PID/exe` cannot be
//! written by anyone.
//!
//! # What it is not
//! It knows no image, no network and no handle. It trusts the engine, which reaches it through a socket in a directory that
//! only root can enter; it trusts nothing inside the container.
//!
//! # Versions
//! [`protocol::VERSION`] is sent in both directions at the start of a connection. Messages are protobuf, so members can be
//! added; a change that an older keeper would misunderstand raises the version, and the engine speaks this one and the last.

pub mod program;
pub mod protocol;
pub mod wire;
