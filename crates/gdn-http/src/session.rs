//! Run and Attach: one client's conversation with one process.
//!
//! The connection carries messages: the client's input, signals and window sizes one way, the exit status the other. Output
//! travels on [side streams](crate::sides). A conversation ends when the process has ended, when the client goes away, or when
//! the engine stops; in each case but the first the process goes on, and its standard input stays open.
//!
//! The status is told once the outputs that a client has come for are wholly written, or after a short while: clients wait for
//! both in either order, and one that reads the status first must get it.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, future};
use gardener_core::{Gardener, RunningProcess};
use gdn_types::{Error, ErrorKind, ExitStatus, Handle, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::Subject;
use crate::connection::{Connection, Framing, response_head};
use crate::json;
use crate::output::{Output, Target, Which};
use crate::payload::{Exited, Failed, Input, Messages, Started};
use crate::pipes::{Writer, Written};
use crate::room::Share;
use crate::sides::{Side, SideStreams, Ties};
use crate::socket::{self, Socket};

/// Input that waits for the process to read, in bytes. Signals and sizes overtake it; behind more than this they wait.
const MAX_INPUT: u32 = 4 * 1024 * 1024;

/// What a piece of input costs besides its bytes: people type one at a time.
const PIECE: usize = 128;

/// How much is read of a client's messages at once.
const READ: usize = 64 * 1024;

/// How long the exit status waits for outputs that a client is still reading.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// How long a process may take to read what its client said before it went away.
const LAST_INPUT: Duration = Duration::from_secs(2);

/// How long a client may take to read a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// A conversation that is about to begin.
pub(crate) struct Session {
    pub(crate) gardener: Arc<Gardener>,
    pub(crate) subject: Subject,
    pub(crate) handle: Handle,
    pub(crate) process: RunningProcess,
    /// Status of the response: 201 for Run, 200 for Attach.
    pub(crate) status: u16,
    pub(crate) streams: Arc<SideStreams>,
    /// What the client's messages take of the room for all of them.
    pub(crate) share: Share,
    /// Where the tasks of the side streams are counted.
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

/// Why a conversation ends.
enum End {
    /// The process has ended, or how it did cannot be known.
    Process(Result<ExitStatus>),
    /// The client is gone.
    Client,
    /// The client says what nobody understands.
    Nonsense(Error),
    /// The engine stops, or cannot go on with it now.
    Shutdown,
}

impl Session {
    /// Talks until the end.
    ///
    /// # Errors
    /// Those that are there before anything was said, to be answered on the connection, which comes back.
    pub(crate) async fn talk(self, connection: Connection) -> Result<(), (Connection, Error)> {
        let RunningProcess { id, attachment, hold } = self.process;
        let target = Arc::new(Target { gardener: self.gardener, handle: self.handle, id });
        let number = match SideStreams::number() {
            Ok(number) => number,
            Err(error) => return Err((connection, error)),
        };
        let exit = target.exit();
        let firsts = (attachment.stdout_first, attachment.stderr_first);
        let outputs = match outputs(&target, attachment.stdout, attachment.stderr, firsts) {
            Ok(outputs) => outputs,
            Err(error) => return Err((connection, error)),
        };
        let (ended, detached) = (CancellationToken::new(), self.shutdown.child_token());
        let left = detached.clone().drop_guard();
        let mut tie = Ties::of_conversation(&ended, &detached);
        let open = |output| Side::open(&self.streams, number, output, tie());
        let sides: Vec<Side> = outputs.into_iter().map(open).collect();
        let ties: Vec<Ties> = sides.iter().map(Side::ties).collect();

        let id = target.id.as_str();
        let socket = connection.socket;
        let mut first = response_head(self.status, Framing::Raw, true, None).into_bytes();
        first.extend(json::document(&Started { process_id: id, stream_id: number.to_string() }));
        let told = {
            let mut telling = pin!(say(&socket, &first));
            // Before the outputs' tasks are started, which wakes threads; a client that does not read holds up nobody else.
            let told = (&mut telling).now_or_never();
            for side in sides {
                self.tasks.spawn(Box::pin(side.serve()));
            }
            match told {
                Some(told) => told,
                None => telling.await,
            }
        };
        if told.is_err() {
            return Ok(());
        }
        let messages = Messages::new(connection.buffer);
        let end = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => End::Shutdown,
            status = exit => End::Process(status),
            end = target.hear(&self.subject, &socket, (messages, self.share), attachment.stdin) => end,
        };
        let last = match &end {
            End::Process(Ok(status)) => {
                left.disarm();
                ended.cancel();
                written(&ties).await;
                Some(json::document(&Exited { process_id: id, exit_status: status.code() }))
            }
            // Clients that find the end of file attach again.
            End::Process(Err(error)) if error.kind() == ErrorKind::Unavailable => None,
            End::Process(Err(error)) | End::Nonsense(error) => {
                self.subject.log(error, "conversation ended");
                Some(json::document(&Failed { process_id: id, error: error.report() }))
            }
            End::Shutdown => None,
            End::Client => return Ok(()),
        };
        if let Some(last) = last {
            // A client that does not read it has gone, or will.
            let _ = say(&socket, &last).await;
        }
        drop(hold);
        socket::close(socket).await;
        Ok(())
    }
}

/// The outputs that side streams can be opened for.
fn outputs(
    target: &Arc<Target>,
    stdout: OwnedFd,
    stderr: Option<OwnedFd>,
    (stdout_first, stderr_first): (u64, u64),
) -> Result<Vec<Output>> {
    let mut outputs = vec![Output::new(target, Which::Stdout, stdout, stdout_first)?];
    if let Some(stderr) = stderr {
        outputs.push(Output::new(target, Which::Stderr, stderr, stderr_first)?);
    }
    Ok(outputs)
}

/// Waits until the outputs that clients have come for are wholly written, a short while at most.
async fn written(ties: &[Ties]) {
    let claimed = ties.iter().filter(|ties| ties.claimed.is_cancelled());
    let finished = future::join_all(claimed.map(|ties| ties.finished.cancelled()));
    // The status is true in any case.
    let _ = tokio::time::timeout(LAST_OUTPUT, finished).await;
}

async fn say(socket: &Socket, bytes: &[u8]) -> io::Result<()> {
    tokio::time::timeout(PATIENCE, socket.write_beside(bytes)).await?
}

/// What is in line for standard input.
enum Queued {
    Piece(Bytes),
    Close,
}

/// Whoever writes standard input: what is next, and the room that it takes until it is written.
type Waiting = mpsc::UnboundedReceiver<(Queued, OwnedSemaphorePermit)>;

/// The line of input, bounded by its bytes.
struct Queue {
    line: mpsc::UnboundedSender<(Queued, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

impl Queue {
    fn new() -> (Self, Waiting) {
        let (line, waiting) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(MAX_INPUT as usize));
        (Queue { line, room }, waiting)
    }

    /// Puts something in line, once there is room. Input after its end, and input that cannot be written, is dropped; so is
    /// what there is no room for soon after the client has gone.
    async fn push(&self, next: Queued, client: &Socket) -> Result<Still> {
        let nobody = || Error::internal("nobody writes standard input any more");
        let length = match &next {
            Queued::Piece(piece) => piece.len(),
            Queued::Close => 0,
        };
        // One that is larger than all of the room takes all of it.
        let size = u32::try_from(length + PIECE).unwrap_or(MAX_INPUT).min(MAX_INPUT);
        let given_up = async {
            tokio::time::sleep(LAST_INPUT).await;
            client.left().await;
        };
        let taken = tokio::select! {
            biased;
            () = self.line.closed() => return Err(nobody()),
            taken = Arc::clone(&self.room).acquire_many_owned(size) => taken,
            () = given_up => return Ok(Still::Gone),
        };
        let taken = taken.map_err(|_| nobody())?;
        self.line.send((next, taken)).map_err(|_| nobody())?;
        Ok(Still::There)
    }
}

/// Whether a client is there to be heard further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Still {
    There,
    Gone,
}

impl Target {
    /// Does what the client says, until it goes away.
    async fn hear(
        &self,
        subject: &Subject,
        socket: &Socket,
        messages: (Messages, Share),
        stdin: Option<OwnedFd>,
    ) -> End {
        let (queue, queued) = Queue::new();
        let mut feeding = pin!(async {
            if let Err(error) = self.feed(stdin, queued).await {
                subject.log(&error, "standard input cannot be written");
            }
        });
        // What the client says still counts when its input is over, and its going away.
        let mut listening = pin!(self.listen(subject, socket, messages, queue));
        let end = tokio::select! {
            end = &mut listening => end,
            () = &mut feeding => return listening.await,
        };
        // It may have closed right after its last word, which is the process's as well.
        let _ = tokio::time::timeout(LAST_INPUT, feeding).await;
        end
    }

    async fn listen(
        &self,
        subject: &Subject,
        socket: &Socket,
        (mut messages, mut share): (Messages, Share),
        queue: Queue,
    ) -> End {
        loop {
            loop {
                let message = match messages.next() {
                    Ok(Some(message)) => message,
                    Ok(None) => break,
                    Err(error) => return End::Nonsense(error),
                };
                let input = match Input::parse(&message) {
                    Ok(input) => input,
                    Err(error) => return End::Nonsense(error),
                };
                match self.obey(input, &queue, socket).await {
                    Ok(Still::There) => {}
                    Ok(Still::Gone) => return End::Client,
                    // The protocol has no answer to a message; the client learns how the process ends.
                    Err(error) => subject.log(&error, "a client's message came to nothing"),
                }
            }
            // What is left is the beginning of a message.
            if let Err(full) = share.cover(messages.buffer.len()).await {
                subject.log(&full, "a conversation is cut off");
                // Its client may come again.
                return End::Shutdown;
            }
            if !matches!(socket.read_beside(&mut messages.buffer, READ).await, Ok(1..)) {
                return End::Client;
            }
        }
    }

    /// Does what a message says.
    async fn obey(&self, input: Input, queue: &Queue, client: &Socket) -> Result<Still> {
        match input {
            Input::Stdin(piece) => return queue.push(Queued::Piece(piece), client).await,
            Input::CloseStdin => return queue.push(Queued::Close, client).await,
            Input::Resize(size) => self.gardener.resize(&self.handle, &self.id, size).await?,
            Input::Signal(signal) => self.gardener.signal(&self.handle, &self.id, signal).await?,
            Input::Nothing => {}
        }
        Ok(Still::There)
    }

    /// Writes what is in line to standard input. What nobody reads any more is thrown away, as a shell's pipe does.
    async fn feed(&self, stdin: Option<OwnedFd>, mut queued: Waiting) -> Result<()> {
        let mut writer = stdin.map(Writer::new);
        while let Some((next, _room)) = queued.recv().await {
            match next {
                Queued::Piece(piece) => {
                    if let Some(open) = &mut writer
                        && open.write(&piece).await? == Written::Unread
                    {
                        writer = None;
                    }
                }
                Queued::Close => {
                    // Our end first: the containerizer then holds the last one.
                    writer = None;
                    self.gardener.close_stdin(&self.handle, &self.id).await?;
                }
            }
        }
        Ok(())
    }
}
