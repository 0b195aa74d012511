//! Side streams: a process's output on connections of its own.
//!
//! A conversation (Run, Attach) gets a number, at random; with it and the names of container and process a client opens one
//! connection for each output it wants, once. Each output has a task of its own, which copies it to that connection from the
//! moment it comes.
//!
//! Output that nobody came for must not hold the process back for ever: after a while it is read into memory as far as there
//! is room, and what comes behind that is thrown away. A client that was late gets what was kept. When the process has ended,
//! only as much is read as shows whether there is any: an output without a byte leaves nothing behind.
//!
//! A client that has come and does not read holds the process back, but not for ever when it waits for the other output
//! meanwhile: then it would wait for itself. What there is no room for is lost, and the log is told how much.

use std::collections::HashMap;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use gdn_types::{Error, ErrorKind, Result};
use rustix::rand::GetRandomFlags;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::connection::{Connection, Framing, response_head};
use crate::output::{Forwarded, Output, Target, Which};
use crate::route::Route;
use crate::socket::{self, Socket};

/// How long a process waits, when its pipe is full, for a client that has not come for its output.
const CLAIM_PATIENCE: Duration = Duration::from_secs(5);

/// How long a client may take to come for the output of a process that has ended.
const LATE: Duration = Duration::from_secs(60);

/// The most that is kept of one output for a client to come.
const MAX_KEPT: usize = 256 * 1024;

/// The most that is kept of all outputs together.
const MAX_KEPT_OF_ALL: usize = 64 * 1024 * 1024;

/// How long a client that does not read is written to once its conversation is over.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// How long a client may leave one output unread while it waits for more of the other.
const ONE_SIDED: Duration = Duration::from_secs(15);

/// How much is read at once of what clients say that nobody listens to.
const IGNORED: usize = 256;

/// Between two looks at a client that does not read.
const LOOK: Duration = Duration::from_secs(1);

/// What a side stream is known by: a number that nobody can guess, and which output it is.
type Place = (u128, Which);

/// The side streams that wait for their clients.
#[derive(Debug, Default)]
pub(crate) struct SideStreams {
    /// Cancelled when the engine stops.
    stop: CancellationToken,
    waiting: Mutex<HashMap<Place, Waiting>>,
    kept: AtomicUsize,
}

/// An output that nobody has come for yet.
#[derive(Debug)]
struct Waiting {
    process: Arc<Target>,
    output: oneshot::Sender<Connection>,
}

impl SideStreams {
    /// None yet, until that stop.
    pub(crate) fn until(stop: CancellationToken) -> Self {
        SideStreams { stop, ..SideStreams::default() }
    }

    /// A number for a conversation, at random: who has not been told it does not find its outputs.
    ///
    /// # Errors
    /// The kernel's, which has no randomness to give.
    pub(crate) fn number() -> Result<u128> {
        let mut bytes = [0; 16];
        let read = rustix::io::retry_on_intr(|| rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty()));
        match read {
            Ok(16) => Ok(u128::from_ne_bytes(bytes)),
            Ok(_) => Err(Error::internal("the kernel gave less randomness than it was asked for")),
            Err(errno) => Err(Error::caused(ErrorKind::Internal, "get randomness", io::Error::from(errno))),
        }
    }

    /// Hands a connection to the output it is for. One that nobody waits for comes back, and so does one that names another
    /// process than the conversation's.
    pub(crate) fn claim(
        &self,
        route: &Route,
        which: Which,
        connection: Connection,
    ) -> Result<(), Box<Connection>> {
        let Ok(number) = route.stream.parse() else { return Err(Box::new(connection)) };
        let mut waiting = self.waiting();
        let its_own = |waiting: &Waiting| {
            waiting.process.handle.as_str() == route.handle && waiting.process.id.as_str() == route.process
        };
        if !waiting.get(&(number, which)).is_some_and(its_own) {
            return Err(Box::new(connection));
        }
        match waiting.remove(&(number, which)) {
            Some(waiting) => waiting.output.send(connection).map_err(Box::new),
            None => Err(Box::new(connection)),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Place, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an output's task and its conversation know of each other.
#[derive(Clone, Debug)]
pub(crate) struct Ties {
    /// The process has ended.
    pub(crate) ended: CancellationToken,
    /// The conversation is over, and the process goes on; or the engine stops.
    pub(crate) detached: CancellationToken,
    /// A client has come.
    pub(crate) claimed: CancellationToken,
    /// The task is done.
    pub(crate) finished: CancellationToken,
    /// How many of the conversation's outputs have a client that waits for more.
    hungry: Arc<AtomicUsize>,
}

impl Ties {
    /// Those of a conversation's outputs, which all end by these two.
    pub(crate) fn of_conversation(
        ended: &CancellationToken,
        detached: &CancellationToken,
    ) -> impl FnMut() -> Ties {
        let hungry = Arc::new(AtomicUsize::new(0));
        move || Ties {
            ended: ended.clone(),
            detached: detached.clone(),
            claimed: CancellationToken::new(),
            finished: CancellationToken::new(),
            hungry: Arc::clone(&hungry),
        }
    }
}

/// An output that waits for its client, or has one.
#[derive(Debug)]
pub(crate) struct Side {
    streams: Arc<SideStreams>,
    place: Place,
    output: Output,
    claims: oneshot::Receiver<Connection>,
    kept: Kept,
    ties: Ties,
    _finished: DropGuard,
}

impl Side {
    /// Lets clients come for an output from now on.
    pub(crate) fn open(streams: &Arc<SideStreams>, number: u128, output: Output, ties: Ties) -> Self {
        let (place, (sender, claims)) = ((number, output.which()), oneshot::channel());
        let waiting = Waiting { process: Arc::clone(output.target()), output: sender };
        streams.waiting().insert(place, waiting);
        let finished = ties.finished.clone().drop_guard();
        let kept = Kept::new(streams);
        Side { streams: Arc::clone(streams), place, output, claims, kept, ties, _finished: finished }
    }

    /// What it shares with its conversation.
    pub(crate) fn ties(&self) -> Ties {
        self.ties.clone()
    }

    /// Brings the output to its client, if one comes in time.
    pub(crate) async fn serve(mut self) {
        let in_time = self.client().await;
        let Some(connection) = in_time.or_else(|| self.last_comer()) else { return };
        self.ties.claimed.cancel();
        if let Err(error) = self.copy(connection).await {
            tracing::debug!(output = ?self.output, %error, "a client left its side stream");
        }
        if self.kept.lost > 0 {
            tracing::info!(output = ?self.output, lost = self.kept.lost, "a client came late or left an output unread");
        }
    }

    /// Waits for the client, keeping what it will want.
    async fn client(&mut self) -> Option<Connection> {
        tokio::select! {
            biased;
            claim = &mut self.claims => return claim.ok(),
            () = self.ties.detached.cancelled() => return None,
            () = self.ties.ended.cancelled() => {}
            () = tokio::time::sleep(CLAIM_PATIENCE) => {}
        }
        let (ended, detached) = (self.ties.ended.clone(), self.ties.detached.clone());
        let mut late = pin!(async {
            ended.cancelled().await;
            tokio::time::sleep(LATE).await;
        });
        let mut open = true;
        while open || !self.kept.bytes.is_empty() {
            // A process that has ended waits for nothing: once there is something for the client, the rest may stay in its pipe.
            let reads = open && (self.kept.bytes.is_empty() || !ended.is_cancelled());
            tokio::select! {
                biased;
                claim = &mut self.claims => return claim.ok(),
                () = detached.cancelled() => return None,
                () = &mut late => return None,
                piece = self.output.next(), if reads => match piece {
                    Ok(Some(piece)) => self.kept.keep(piece),
                    Ok(None) => open = false,
                    Err(error) => {
                        tracing::warn!(error = error.report(), "an output cannot be read");
                        open = false;
                    }
                },
            }
        }
        None
    }

    /// The client that came while its output was being given up. Nobody comes after that: who would is told by
    /// [`SideStreams::claim`].
    fn last_comer(&mut self) -> Option<Connection> {
        self.claims.close();
        self.claims.try_recv().ok()
    }

    /// Writes all of the output, and closes.
    async fn copy(&mut self, mut connection: Connection) -> io::Result<()> {
        // What the client said beyond its request means nothing.
        connection.buffer = BytesMut::new();
        let head = response_head(200, Framing::Raw, true, None);
        connection.socket.write_all(head.as_bytes()).await?;
        let detached = self.ties.detached.clone();
        let mut open = true;
        let end = {
            let mut writing = pin!(self.write(&mut connection, &mut open));
            tokio::select! {
                end = &mut writing => end,
                // What was read of the process is its client's, if it takes that.
                () = detached.cancelled() => tokio::time::timeout(LAST_WRITE, writing).await.unwrap_or(Ok(End::Over)),
            }
        };
        match end? {
            End::Left => return Ok(()),
            End::Over => {}
        }
        let mut socket = connection.socket;
        // A client has nothing to say here; one that does so just now finds an error behind the last byte, and not the end. Not
        // to wait for its close saves both of us a turn.
        if socket.can_go() {
            drop(socket);
            self.ties.finished.cancel();
            return Ok(());
        }
        socket.shutdown().await?;
        // The conversation waits for nothing but the last byte.
        self.ties.finished.cancel();
        socket::part(socket).await;
        Ok(())
    }

    /// Writes what was kept and what comes, until the output ends, its client goes, or the conversation is over.
    async fn write(&mut self, connection: &mut Connection, open: &mut bool) -> io::Result<End> {
        let mut ignored = BytesMut::new();
        // Whether the client was ever seen to read.
        let mut reads = false;
        loop {
            while !self.kept.bytes.is_empty() {
                let number = connection.socket.write(&self.kept.bytes).await?;
                self.kept.forget(number);
            }
            if !*open || self.ties.detached.is_cancelled() {
                return Ok(End::Over);
            }
            let hungry = Hungry::new(&self.ties.hungry);
            ignored.clear();
            let said = connection.socket.read_beside(&mut ignored, IGNORED);
            let forwarded = tokio::select! {
                biased;
                () = self.ties.detached.cancelled() => return Ok(End::Over),
                read = said => {
                    if read? == 0 {
                        return Ok(End::Left);
                    }
                    continue;
                }
                forwarded = self.output.forward(&connection.socket) => forwarded,
            };
            drop(hungry);
            let piece = match forwarded {
                Ok(Forwarded::Led) => continue,
                Ok(Forwarded::Full) if waited_for(&connection.socket).await? => {
                    reads = true;
                    continue;
                }
                // What is not read now is there for the next engine.
                Ok(Forwarded::Full) if self.ties.detached.is_cancelled() => return Ok(End::Over),
                // Unless the client waits for another output, it can stay in its pipe, where a kill does not reach it.
                Ok(Forwarded::Full) if reads || self.ties.hungry.load(Ordering::Relaxed) == 0 => continue,
                Ok(Forwarded::Full) => self.output.next().await,
                Ok(Forwarded::Piece(piece)) => Ok(piece),
                Err(error) => Err(error),
            };
            match piece {
                Ok(Some(piece)) => {
                    let written =
                        write_unless_one_sided(&mut connection.socket, piece, &self.ties.hungry, &mut reads)
                            .await?;
                    if let Some(rest) = piece.get(written..).filter(|rest| !rest.is_empty()) {
                        self.kept.keep(rest);
                        self.keep_while_writing(connection, open).await?;
                    }
                }
                Ok(None) => *open = false,
                Err(error) => {
                    tracing::warn!(error = error.report(), "an output cannot be read");
                    *open = false;
                }
            }
        }
    }

    /// Lets the process go on while its client does not read: it waits for the process's other output, which the process
    /// might never come to.
    async fn keep_while_writing(&mut self, connection: &mut Connection, open: &mut bool) -> io::Result<()> {
        let detached = self.ties.detached.clone();
        while !self.kept.bytes.is_empty() {
            tokio::select! {
                biased;
                written = connection.socket.write(&self.kept.bytes) => {
                    let number = written?;
                    self.kept.forget(number);
                }
                // What is not read now is there for the next engine.
                () = detached.cancelled() => return Ok(()),
                piece = self.output.next(), if *open => match piece {
                    Ok(Some(piece)) => self.kept.keep(piece),
                    Ok(None) => *open = false,
                    Err(error) => {
                        tracing::warn!(error = error.report(), "an output cannot be read");
                        *open = false;
                    }
                },
            }
        }
        Ok(())
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.streams.waiting().remove(&self.place);
        if self.streams.stop.is_cancelled() {
            self.output.leave();
        }
    }
}

/// How the writing to a client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// There is no more for it.
    Over,
    /// The client has gone.
    Left,
}

/// A client that waits for more.
struct Hungry<'a>(&'a AtomicUsize);

impl<'a> Hungry<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Hungry(count)
    }
}

impl Drop for Hungry<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether a client that took nothing takes something again soon.
async fn waited_for(socket: &Socket) -> io::Result<bool> {
    tokio::time::timeout(LOOK, socket.writable()).await.map_or(Ok(false), |writable| writable.map(|()| true))
}

/// Writes a piece, and tells how much of it: less than all when a client that was never seen to read takes nothing for long,
/// while it waits for another output of the same process. One that reads is only slow, and the process waits for it.
async fn write_unless_one_sided(
    socket: &mut Socket,
    piece: &[u8],
    hungry: &AtomicUsize,
    reads: &mut bool,
) -> io::Result<usize> {
    let mut written = 0;
    let mut since = None;
    let mut stalled = false;
    while written < piece.len() {
        match tokio::time::timeout(LOOK, socket.write(&piece[written..])).await {
            Ok(number) => {
                written += number?;
                *reads |= stalled;
                since = None;
            }
            Err(_) if *reads => {}
            Err(_) if hungry.load(Ordering::Relaxed) == 0 => (since, stalled) = (None, true),
            Err(_) => {
                stalled = true;
                if since.get_or_insert_with(Instant::now).elapsed() >= ONE_SIDED {
                    break;
                }
            }
        }
    }
    Ok(written)
}

/// Output that waits in memory, as far as there is room.
#[derive(Debug)]
struct Kept {
    streams: Arc<SideStreams>,
    bytes: BytesMut,
    /// How much there was no room for.
    lost: u64,
}

impl Kept {
    fn new(streams: &Arc<SideStreams>) -> Self {
        Kept { streams: Arc::clone(streams), bytes: BytesMut::new(), lost: 0 }
    }

    /// Keeps a piece as far as there is room.
    fn keep(&mut self, piece: &[u8]) {
        let room = MAX_KEPT.saturating_sub(self.bytes.len());
        let kept = &piece[..piece.len().min(room)];
        let of_all = &self.streams.kept;
        if of_all.fetch_add(kept.len(), Ordering::Relaxed) + kept.len() > MAX_KEPT_OF_ALL {
            of_all.fetch_sub(kept.len(), Ordering::Relaxed);
            self.lost += piece.len() as u64;
            return;
        }
        self.lost += (piece.len() - kept.len()) as u64;
        self.bytes.extend_from_slice(kept);
    }

    /// Lets go of the first bytes, which are the client's now.
    fn forget(&mut self, number: usize) {
        self.bytes.advance(number);
        self.streams.kept.fetch_sub(number, Ordering::Relaxed);
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.streams.kept.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}
