//! Side streams: a process's output on connections of its own.
//!
//! A conversation (Run, Attach) gets a number; with it a client opens one connection for each output it wants. Each output has
//! a task of its own, which copies it to that connection from the moment it comes.
//!
//! Output that nobody came for must not hold the process back for ever: after a while, or when the process has ended, it is
//! read into memory as far as there is room, and what comes behind that is thrown away. A client that was late gets what was
//! kept. So an output without a byte leaves nothing behind, and a process that a client never looks at goes on.

use std::collections::HashMap;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gdn_types::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::connection::{Connection, Framing, response_head};
use crate::output::{Output, Which};
use crate::socket;

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

/// The side streams that wait for their clients.
#[derive(Debug, Default)]
pub(crate) struct SideStreams {
    last: AtomicU64,
    waiting: Mutex<HashMap<(u64, Which), oneshot::Sender<Connection>>>,
    kept: AtomicUsize,
}

impl SideStreams {
    /// A number that no other conversation of this gate has.
    pub(crate) fn number(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Hands a connection to the output it is for. One that nobody waits for comes back.
    pub(crate) fn claim(
        &self,
        stream: &str,
        which: Which,
        connection: Connection,
    ) -> Result<(), Box<Connection>> {
        let claimed = stream.parse().ok().and_then(|number| self.waiting().remove(&(number, which)));
        match claimed {
            Some(output) => output.send(connection).map_err(Box::new),
            None => Err(Box::new(connection)),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<(u64, Which), oneshot::Sender<Connection>>> {
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
}

impl Ties {
    /// Of an output whose conversation has these two.
    pub(crate) fn new(ended: &CancellationToken, detached: &CancellationToken) -> Self {
        Ties {
            ended: ended.clone(),
            detached: detached.clone(),
            claimed: CancellationToken::new(),
            finished: CancellationToken::new(),
        }
    }
}

/// An output that waits for its client, or has one.
#[derive(Debug)]
pub(crate) struct Side {
    streams: Arc<SideStreams>,
    place: (u64, Which),
    output: Output,
    claims: oneshot::Receiver<Connection>,
    kept: Vec<u8>,
    ties: Ties,
    _finished: DropGuard,
}

impl Side {
    /// Lets clients come for an output from now on.
    pub(crate) fn open(streams: &Arc<SideStreams>, number: u64, output: Output, ties: Ties) -> Self {
        let (place, (sender, claims)) = ((number, output.which()), oneshot::channel());
        streams.waiting().insert(place, sender);
        let finished = ties.finished.clone().drop_guard();
        Side {
            streams: Arc::clone(streams),
            place,
            output,
            claims,
            kept: Vec::new(),
            ties,
            _finished: finished,
        }
    }

    /// Brings the output to its client, if one comes in time.
    pub(crate) async fn serve(mut self) {
        let in_time = self.client().await;
        let Some(connection) = in_time.or_else(|| self.last_comer()) else { return };
        self.ties.claimed.cancel();
        if let Err(error) = self.copy(connection).await {
            tracing::debug!(stream = self.place.0, %error, "a client left its side stream");
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
        while open || !self.kept.is_empty() {
            tokio::select! {
                biased;
                claim = &mut self.claims => return claim.ok(),
                () = detached.cancelled() => return None,
                () = &mut late => return None,
                piece = self.output.next(), if open => match piece {
                    Ok(Some(piece)) => keep(&self.streams.kept, &mut self.kept, piece),
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
        let head = response_head(200, Framing::Raw, true, None);
        connection.socket.write_all(head.as_bytes()).await?;
        let kept = std::mem::take(&mut self.kept);
        self.streams.kept.fetch_sub(kept.len(), Ordering::Relaxed);
        connection.socket.write_all(&kept).await?;
        drop(kept);
        let mut ignored = [0; 256];
        loop {
            tokio::select! {
                biased;
                () = self.ties.detached.cancelled() => break,
                read = connection.socket.read(&mut ignored) => if read? == 0 {
                    return Ok(());
                },
                piece = self.output.next() => match piece {
                    Ok(Some(piece)) => {
                        let mut writing = pin!(connection.socket.write_all(piece));
                        tokio::select! {
                            written = &mut writing => written?,
                            () = self.ties.detached.cancelled() => {
                                tokio::time::timeout(LAST_WRITE, writing).await??;
                            }
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(error = error.report(), "an output cannot be read");
                        break;
                    }
                },
            }
        }
        connection.socket.shutdown().await?;
        // The conversation waits for nothing but the last byte.
        self.ties.finished.cancel();
        socket::close(connection.socket).await;
        Ok(())
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.streams.waiting().remove(&self.place);
        self.streams.kept.fetch_sub(self.kept.len(), Ordering::Relaxed);
    }
}

/// Keeps a piece as far as there is room.
fn keep(of_all: &AtomicUsize, kept: &mut Vec<u8>, piece: &[u8]) {
    let room = MAX_KEPT.saturating_sub(kept.len());
    let piece = &piece[..piece.len().min(room)];
    if of_all.fetch_add(piece.len(), Ordering::Relaxed) + piece.len() > MAX_KEPT_OF_ALL {
        of_all.fetch_sub(piece.len(), Ordering::Relaxed);
        return;
    }
    kept.extend_from_slice(piece);
}
