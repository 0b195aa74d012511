//! Requests and replies over one socket, many at a time.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use gdn_keeper::protocol::{Body, Call, Failure, FailureKind, Message, Reply, Request};
use gdn_keeper::wire::{self, Received};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::{Error, News, Result};

type Waiting = HashMap<u64, oneshot::Sender<(Reply, Vec<OwnedFd>)>>;

/// One connection; its reader task ends with it.
pub(crate) struct Connection {
    socket: Arc<AsyncFd<OwnedFd>>,
    /// The same socket, watched for room to write since there was none.
    room: OnceLock<AsyncFd<OwnedFd>>,
    /// Who waits for which reply. `None` once the other side is gone.
    waiting: Arc<Mutex<Option<Waiting>>>,
    next: AtomicU64,
    reader: JoinHandle<()>,
    peer: &'static str,
}

impl Connection {
    /// Takes over a connected socket. `news` is called, in order, for what comes unasked; [`News::Gone`] is the last.
    pub(crate) fn new(
        socket: OwnedFd,
        peer: &'static str,
        news: impl FnMut(News) + Send + 'static,
    ) -> Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)
            .map_err(|errno| Error::io("set a socket non-blocking")(errno.into()))?;
        // Not for room to write: the other side would wake us whenever it has read something.
        let socket = watch(socket, Interest::READABLE).map_err(Error::io("watch a socket"))?;
        let socket = Arc::new(socket);
        let waiting = Arc::new(Mutex::new(Some(Waiting::new())));
        let reader = tokio::spawn(read(Arc::clone(&socket), Arc::clone(&waiting), news));
        Ok(Connection { socket, room: OnceLock::new(), waiting, next: AtomicU64::new(1), reader, peer })
    }

    /// Makes a call and waits for its reply.
    pub(crate) async fn call(
        &self,
        call: Call,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(Reply, Vec<OwnedFd>)> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        match lock(&self.waiting).as_mut() {
            Some(waiting) => drop(waiting.insert(id, sender)),
            None => return Err(Error::Gone { peer: self.peer }),
        }
        let request = Request { id, call: Some(call) };
        if let Err(error) = self.send(&request, descriptors).await {
            if let Some(waiting) = lock(&self.waiting).as_mut() {
                waiting.remove(&id);
            }
            return Err(match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Error::Gone { peer: self.peer },
                _ => Error::Io { op: "send a request", source: error },
            });
        }
        let (mut reply, descriptors) = receiver.await.map_err(|_| Error::Gone { peer: self.peer })?;
        match reply.failure.take() {
            Some(failure) => Err(failure.into()),
            None => Ok((reply, descriptors)),
        }
    }

    /// Hangs up: the other side sees the end, calls under way answer [`Error::Gone`].
    pub(crate) fn hang_up(&self) {
        // It fails only when the connection is gone already.
        let _ = rustix::net::shutdown(self.socket.get_ref(), rustix::net::Shutdown::Both);
    }

    async fn send(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        // At once as a rule.
        match wire::send(self.socket.get_ref().as_fd(), request, descriptors) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return sent,
        }
        self.room()?
            .async_io(Interest::WRITABLE, |socket| wire::send(socket.as_fd(), request, descriptors))
            .await
    }

    fn room(&self) -> io::Result<&AsyncFd<OwnedFd>> {
        match self.room.get() {
            Some(room) => Ok(room),
            None => {
                let watched = watch(self.socket.get_ref().try_clone()?, Interest::WRITABLE)?;
                Ok(self.room.get_or_init(|| watched))
            }
        }
    }
}

/// Has the runtime tell of a descriptor.
fn watch(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by the value that is registered, which nothing takes out before it is dropped.
    #[allow(unsafe_code, reason = "tokio asks for the promise that a watched descriptor stays the same")]
    let watched = unsafe { AsyncFd::register_with_interest(descriptor, interest) };
    Ok(watched?)
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(
    socket: Arc<AsyncFd<OwnedFd>>,
    waiting: Arc<Mutex<Option<Waiting>>>,
    mut news: impl FnMut(News) + Send + 'static,
) {
    // Ends at the other side's end; a message that cannot be read is taken as that too, since replies may be missing.
    while let Ok(Some(Received { message, descriptors, complete })) =
        socket.async_io(Interest::READABLE, |socket| wire::receive_any::<Message>(socket.as_fd())).await
    {
        match message.body {
            Some(Body::Reply(mut reply)) => {
                if !complete {
                    reply.failure = Some(out_of_descriptors());
                }
                let waiter = lock(&waiting).as_mut().and_then(|waiting| waiting.remove(&reply.id));
                if let Some(waiter) = waiter {
                    // Who no longer waits does not need it; the descriptors close themselves.
                    let _ = waiter.send((reply, descriptors));
                }
            }
            Some(Body::Exited(exited)) => news(News::Exited(exited)),
            Some(Body::Started(started)) => news(News::Started(started)),
            None => {}
        }
    }
    // Dropping the senders tells everyone who waits.
    lock(&waiting).take();
    news(News::Gone);
}

/// The call was done, but its descriptors found no room here.
fn out_of_descriptors() -> Failure {
    let what = "the engine has no file descriptor free (RLIMIT_NOFILE)".to_owned();
    Failure { kind: FailureKind::Exhausted.into(), what, errno: 0 }
}

fn lock(waiting: &Mutex<Option<Waiting>>) -> MutexGuard<'_, Option<Waiting>> {
    waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use gdn_keeper::protocol::Hello;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    /// Many more than fit into a socket.
    const CALLS: usize = 3_000;

    #[tokio::test(flavor = "multi_thread")]
    async fn calls_wait_for_a_peer_that_does_not_read_and_none_is_lost() {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let full = ours.try_clone().unwrap();
        let connection = Arc::new(Connection::new(ours, "the peer", |_| {}).unwrap());
        let calls: Vec<_> = (0..CALLS)
            .map(|_| {
                let connection = Arc::clone(&connection);
                tokio::spawn(
                    async move { connection.call(Call::Hello(Hello::default()), &[]).await.map(drop) },
                )
            })
            .collect();
        let request = Request { id: 0, call: Some(Call::Hello(Hello::default())) };
        while wire::send(full.as_fd(), &request, &[]).is_ok() {
            tokio::task::yield_now().await;
        }
        let peer = tokio::task::spawn_blocking(move || {
            let mut answered = 0;
            while answered < CALLS {
                let request = wire::receive_any::<Request>(theirs.as_fd()).unwrap().unwrap().message;
                if request.id > 0 {
                    let body = Some(Body::Reply(Reply { id: request.id, ..Reply::default() }));
                    wire::send(theirs.as_fd(), &Message { body }, &[]).unwrap();
                    answered += 1;
                }
            }
        });
        for call in calls {
            call.await.unwrap().unwrap();
        }
        peer.await.unwrap();
    }
}
