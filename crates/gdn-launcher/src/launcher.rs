//! The process that forks keepers.

use std::future::Future;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use gdn_keeper::program::LAUNCHER;
use gdn_keeper::protocol::{Call, Launch, UserNamespace};
use gdn_namespaces::IdMap;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with, socketpair,
};

use crate::connection::Connection;
use crate::{Error, Keeper, News, PROGRAM, Result};

/// Connections that may wait for a keeper to accept them: the engine opens one at a time.
const BACKLOG: i32 = 16;

/// A running launcher.
pub struct Launcher {
    connection: Connection,
    child: Mutex<Child>,
    pid: u32,
}

impl Launcher {
    /// Execs the launcher. It ends when this value is dropped, or with this process.
    ///
    /// # Errors
    /// [`Error::Io`] when memory or processes are short.
    pub fn start() -> Result<Self> {
        let program = sealed_program().map_err(Error::io("put the launcher's program into memory"))?;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|errno| Error::io("connect to the launcher")(errno.into()))?;
        let child = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
            .arg0(LAUNCHER)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            // A terminal's signals are for the engine, not for what outlives it.
            .process_group(0)
            .spawn()
            .map_err(Error::io("start the launcher"))?;
        let connection = Connection::new(ours, "launcher", |news| {
            if news == News::Gone {
                tracing::debug!("the launcher has ended");
            }
        })?;
        let pid = child.id();
        Ok(Launcher { connection, child: Mutex::new(child), pid })
    }

    /// The launcher's pid, so that it can be put into the cgroup in which keepers are to live.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends the launcher's process and reaps it; keepers stay. Blocks for the moment that takes.
    ///
    /// # Errors
    /// [`Error::Io`] when it was reaped by somebody else.
    pub fn stop(&self) -> Result<()> {
        self.connection.hang_up();
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.wait().map(drop).map_err(Error::io("wait for the launcher's end"))
    }

    /// Has a keeper listen on the socket `directory/keeper` and write exits to `directory/exits`. Returns its pid.
    ///
    /// The directory is reached by descriptor, so its path may be longer than a socket address.
    ///
    /// # Errors
    /// [`Error::Io`] when the files cannot be made, [`Error::Failed`] when the fork failed.
    pub async fn launch(&self, directory: &Path) -> Result<u32> {
        let (listener, exits) = keeper_files(directory)?;
        self.launch_with(&[listener.as_fd(), exits.as_fd()]).await
    }

    /// As [`Launcher::launch`], with a connection to the keeper, which can be used at once: calls wait in it until the keeper
    /// runs. They answer [`Error::Gone`] when the returned launch fails, or is dropped before it was first polled.
    ///
    /// `news` is as in [`Keeper::connect`].
    ///
    /// # Errors
    /// [`Error::Io`] when the files or the connection cannot be made; the launch has the errors of [`Launcher::launch`].
    pub fn launch_connected(
        &self,
        directory: &Path,
        news: impl FnMut(News) + Send + 'static,
    ) -> Result<(Keeper, impl Future<Output = Result<u32>> + Send + '_)> {
        let (listener, exits) = keeper_files(directory)?;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|errno| Error::io("connect to a keeper")(errno.into()))?;
        let keeper = Keeper::connected(ours, news)?;
        // What the keeper gets is closed on this side with the answer, so that a connection nobody serves hangs up.
        let launch =
            async move { self.launch_with(&[listener.as_fd(), exits.as_fd(), theirs.as_fd()]).await };
        Ok((keeper, launch))
    }

    async fn launch_with(&self, descriptors: &[BorrowedFd<'_>]) -> Result<u32> {
        let (reply, _) = self.connection.call(Call::Launch(Launch {}), descriptors).await?;
        Ok(reply.pid)
    }

    /// A user namespace with this map, to show files with mapped ids.
    ///
    /// # Errors
    /// [`Error::Failed`] when the kernel has no more namespaces, or refuses the map.
    pub async fn user_namespace(&self, map: &IdMap) -> Result<OwnedFd> {
        let call = Call::UserNamespace(UserNamespace { map: map.triples() });
        let (_, descriptors) = self.connection.call(call, &[]).await?;
        descriptors.into_iter().next().ok_or(Error::Gone { peer: "launcher" })
    }
}

/// The program as an executable file that nobody can change.
fn sealed_program() -> std::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know EXEC; there every memfd is executable.
    let memfd = memfd_create("gdn-keeper", flags | MemfdFlags::EXEC)
        .or_else(|_| memfd_create("gdn-keeper", flags))?;
    let mut rest = PROGRAM;
    while !rest.is_empty() {
        let written = rustix::io::write(&memfd, rest)?;
        rest = &rest[written..];
    }
    fcntl_add_seals(&memfd, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(memfd)
}

/// The socket on which a keeper will listen, and its exit log.
fn keeper_files(directory: &Path) -> Result<(OwnedFd, OwnedFd)> {
    let listener = listen_in(directory).map_err(Error::io("make a keeper's socket"))?;
    let exits = std::fs::File::options()
        .append(true)
        .create(true)
        .open(directory.join("exits"))
        .map_err(Error::io("make a keeper's exit log"))?;
    Ok((listener, exits.into()))
}

fn listen_in(directory: &Path) -> std::io::Result<OwnedFd> {
    let directory = rustix::fs::open(
        directory,
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &address_in(&directory)?)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// The address of the socket `keeper` in an open directory: short however long the directory's path is.
pub(crate) fn address_in(directory: &OwnedFd) -> std::io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new(format!("/proc/self/fd/{}/keeper", directory.as_raw_fd()))?)
}
