//! A connection to one keeper.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use gdn_keeper::protocol::{Call, Exited, Hello, Kill, Reply, Shutdown, Started, Status, VERSION};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use crate::connection::Connection;
use crate::launcher::address_in;
use crate::{Error, Result};

/// A keeper, as one engine sees it.
pub struct Keeper {
    connection: Connection,
    /// The protocol it speaks.
    version: u32,
}

/// The first version of the protocol that has [`Kill::leave`].
const LEAVES: u32 = 2;

/// What a keeper tells unasked.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// A process ended (the empty name: init). Its status is written down already.
    Exited(Exited),
    /// A process was started for an engine that hung up before it could be told.
    Started(Started),
    /// The keeper is gone, or has dropped this connection.
    Gone,
}

impl Keeper {
    /// Connects to the keeper that listens in `directory` and exchanges versions. Returns how its container is, with the
    /// container's root directory if there is one.
    ///
    /// `news` is called, in order, from a task of its own; it must not block.
    ///
    /// # Errors
    /// [`Error::Io`] with `ENOENT` or `ECONNREFUSED` when there is no keeper (any more); [`Error::Version`].
    pub async fn connect(
        directory: &Path,
        news: impl FnMut(News) + Send + 'static,
    ) -> Result<(Self, Status, Option<OwnedFd>)> {
        let socket = connect_in(directory).map_err(Error::io("connect to the keeper"))?;
        let connection = Connection::new(socket, "keeper", news)?;
        let (reply, descriptors) = connection.call(Call::Hello(Hello { version: VERSION }), &[]).await?;
        let status = reply.status.ok_or(Error::Version { theirs: 0, ours: VERSION })?;
        if status.version == 0 || status.version > VERSION {
            return Err(Error::Version { theirs: status.version, ours: VERSION });
        }
        Ok((Keeper { connection, version: status.version }, status, descriptors.into_iter().next()))
    }

    /// Takes over a connection that a keeper of this engine's own version serves, or is going to.
    pub(crate) fn connected(socket: OwnedFd, news: impl FnMut(News) + Send + 'static) -> Result<Self> {
        Ok(Keeper { connection: Connection::new(socket, "keeper", news)?, version: VERSION })
    }

    /// Makes a call; see [`Call`] for which descriptors go along and come back.
    ///
    /// # Errors
    /// [`Error::Failed`] with the keeper's own words, [`Error::Gone`] when it is no more.
    pub async fn call(&self, call: Call, descriptors: &[BorrowedFd<'_>]) -> Result<(Reply, Vec<OwnedFd>)> {
        self.connection.call(call, descriptors).await
    }

    /// Ends every process of the container. Returns when all are reaped.
    ///
    /// # Errors
    /// As [`Keeper::call`].
    pub async fn kill(&self) -> Result<()> {
        self.call(Call::Kill(Kill { leave: false }), &[]).await.map(drop)
    }

    /// Ends every process of the container, and then the keeper. Returns when all processes are reaped.
    ///
    /// # Errors
    /// As [`Keeper::call`].
    pub async fn end(&self) -> Result<()> {
        self.call(Call::Kill(Kill { leave: true }), &[]).await?;
        if self.version < LEAVES { self.shut_down().await } else { Ok(()) }
    }

    /// Ends the keeper.
    ///
    /// # Errors
    /// As [`Keeper::call`].
    pub async fn shut_down(&self) -> Result<()> {
        self.call(Call::Shutdown(Shutdown {}), &[]).await.map(drop)
    }
}

fn connect_in(directory: &Path) -> std::io::Result<OwnedFd> {
    let directory = rustix::fs::open(
        directory,
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    // A keeper that takes no connections is one that does not answer: nobody waits for its queue.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    connect(&socket, &address_in(&directory)?)?;
    Ok(socket)
}
