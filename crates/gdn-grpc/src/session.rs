//! Run and Attach: one client's conversation with one process.
//!
//! A conversation is a task of its own between the request stream, the process's pipes and a short queue of answers. It
//! ends when the process has ended and all output was sent, when something in it fails, when the client goes away, or when
//! the engine stops; in each case but the first the process goes on, and dropping the pipes detaches.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use gardener_core::{Gardener, RunningProcess};
use gdn_proto::garden;
use gdn_types::{Error, ErrorKind, ExitStatus, Handle, ProcessId, Result, Signal, WindowSize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::answer::Subject;
use crate::pipes::{CHUNKS_IN_FLIGHT, Reader, Writer, Written};

/// Chunks of input that wait for the process to read. Signals and resizes overtake them; behind more than these they wait.
const INPUT_QUEUE: usize = 16;

/// What a client says after its first message.
pub(crate) enum Input {
    Stdin(Bytes),
    CloseStdin,
    Resize(WindowSize),
    Signal(Signal),
}

/// What a client is told after `started`.
pub(crate) enum Answer {
    Stdout(garden::Output),
    Stderr(garden::Output),
    Exited(ExitStatus),
}

/// A conversation that is about to begin.
pub(crate) struct Session {
    pub(crate) gardener: Arc<Gardener>,
    pub(crate) subject: Subject,
    pub(crate) handle: Handle,
    pub(crate) process: RunningProcess,
    /// Whether the client may write to standard input.
    pub(crate) takes_stdin: bool,
    pub(crate) shutdown: CancellationToken,
}

impl Session {
    /// Begins the conversation; the stream is what the client gets after `started`.
    pub(crate) fn begin<S>(self, inputs: S) -> ReceiverStream<Result<Answer, Status>>
    where
        S: Stream<Item = Result<Input>> + Send + Unpin + 'static,
    {
        let (answers, stream) = mpsc::channel(CHUNKS_IN_FLIGHT);
        tokio::spawn(async move {
            let (shutdown, subject) = (self.shutdown.clone(), self.subject.clone());
            let ended = tokio::select! {
                biased;
                () = answers.closed() => return,
                () = shutdown.cancelled() => Err(Error::new(
                    ErrorKind::Unavailable,
                    "the engine stops: the process goes on, attach to it again later",
                )),
                ended = self.converse(inputs, answers.clone()) => ended,
            };
            if let Err(error) = ended
                && !answers.is_closed()
            {
                // A client that went away meanwhile does not get it, and needs not.
                let _ = answers.send(Err(subject.refuse(&error))).await;
            }
        });
        ReceiverStream::new(stream)
    }

    async fn converse<S>(self, inputs: S, answers: mpsc::Sender<Result<Answer, Status>>) -> Result<()>
    where
        S: Stream<Item = Result<Input>> + Unpin,
    {
        let RunningProcess { id, attachment, hold } = self.process;
        let target = Target { gardener: self.gardener, handle: self.handle, id };
        let stdin = attachment.stdin.filter(|_| self.takes_stdin);
        let (queue, queued) = mpsc::channel(INPUT_QUEUE);
        tokio::select! {
            told = tell(&target, attachment.stdout, attachment.stderr, &answers) => told?,
            error = only_errors(target.listen(inputs, self.takes_stdin, queue)) => return Err(error),
            error = only_errors(target.feed(stdin, queued)) => return Err(error),
        }
        drop(hold);
        Ok(())
    }
}

/// Sends all output, and when it has ended how the process did.
async fn tell(
    target: &Target,
    stdout: OwnedFd,
    stderr: Option<OwnedFd>,
    answers: &mpsc::Sender<Result<Answer, Status>>,
) -> Result<()> {
    let complete = tokio::try_join!(send_output(stdout, answers, Answer::Stdout), async {
        match stderr {
            Some(stderr) => send_output(stderr, answers, Answer::Stderr).await,
            None => Ok(true),
        }
    },)?;
    if complete == (true, true) {
        let status = target.gardener.wait(&target.handle, &target.id).await?;
        // A client that went away meanwhile can ask again by Wait.
        let _ = answers.send(Ok(Answer::Exited(status))).await;
    }
    Ok(())
}

async fn send_output(
    source: OwnedFd,
    answers: &mpsc::Sender<Result<Answer, Status>>,
    wrap: fn(garden::Output) -> Answer,
) -> Result<bool> {
    let mut offset = 0;
    let send = |data: Bytes| {
        let output = garden::Output { offset, data };
        offset += output.data.len() as u64;
        async move { answers.send(Ok(wrap(output))).await.is_ok() }
    };
    Reader::new(source)?.pump(send).await
}

/// The process of a conversation.
struct Target {
    gardener: Arc<Gardener>,
    handle: Handle,
    id: ProcessId,
}

/// What is in line for standard input.
enum Queued {
    Chunk(Bytes),
    Close,
}

impl Target {
    /// Does what the client says, until it says no more.
    async fn listen<S>(&self, mut inputs: S, takes_stdin: bool, queue: mpsc::Sender<Queued>) -> Result<()>
    where
        S: Stream<Item = Result<Input>> + Unpin,
    {
        while let Some(input) = inputs.next().await {
            match input? {
                Input::Stdin(_) if !takes_stdin => {
                    return Err(Error::invalid("input for a process attached to without standard input"));
                }
                Input::Stdin(chunk) => enqueue(&queue, Queued::Chunk(chunk)).await?,
                Input::CloseStdin => enqueue(&queue, Queued::Close).await?,
                Input::Resize(size) => self.gardener.resize(&self.handle, &self.id, size).await?,
                Input::Signal(signal) => self.gardener.signal(&self.handle, &self.id, signal).await?,
            }
        }
        Ok(())
    }

    /// Writes what is in line to standard input. What nobody reads any more is thrown away, as a shell's pipe does.
    async fn feed(&self, stdin: Option<OwnedFd>, mut queued: mpsc::Receiver<Queued>) -> Result<()> {
        let mut writer = stdin.map(Writer::new).transpose()?;
        while let Some(next) = queued.recv().await {
            match next {
                Queued::Chunk(chunk) => {
                    if let Some(open) = &mut writer
                        && open.write(&chunk).await? == Written::Unread
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

async fn enqueue(queue: &mpsc::Sender<Queued>, next: Queued) -> Result<()> {
    queue.send(next).await.map_err(|_| Error::internal("the writer of standard input ended early"))
}

/// The error of the work, or nothing ever: a side that is done leaves the conversation to the others.
async fn only_errors(work: impl Future<Output = Result<()>>) -> Error {
    match work.await {
        Ok(()) => std::future::pending().await,
        Err(error) => error,
    }
}
