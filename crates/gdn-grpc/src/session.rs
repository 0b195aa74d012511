//! Run and Attach: one client's conversation with one process.
//!
//! What the process says is a stream that the transport polls when it can send, so that nothing stands between the pipes
//! and the connection, and a client that does not read holds the process back. What the client says is a task beside it:
//! input must go on while output is held back. A process that has ended at once needs no task.
//!
//! A conversation ends when the process has ended and all output was sent, when something in it fails, when the client goes
//! away, or when the engine stops; in each case but the first the process goes on, and dropping the pipes detaches.
//!
//! A client that reads too slowly for other clients of the process is cut off at its pipe; it attaches again here, and the
//! client is told how much it lost.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{self, BoxFuture};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, Stream, StreamExt};
use gardener_core::{Gardener, Hold, RunningProcess};
use gdn_proto::garden;
use gdn_types::{AttachFrom, Error, ErrorKind, ExitStatus, Handle, ProcessId, Result, Signal, WindowSize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use crate::answer::{Subject, panicked};
use crate::pipes::{Reader, Writer, Written};

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
    pub(crate) fn begin<S>(self, inputs: S) -> Result<BoxStream<'static, Result<Answer, Status>>>
    where
        S: Stream<Item = Result<Input>> + Send + Unpin + 'static,
    {
        let RunningProcess { id, attachment, hold } = self.process;
        let target = Arc::new(Target { gardener: self.gardener, handle: self.handle, id });
        let mut telling = Telling {
            stdout: Output::new(attachment.stdout, attachment.stdout_first)?,
            stderr: attachment
                .stderr
                .map(|stderr| Output::new(stderr, attachment.stderr_first))
                .transpose()?,
            exit: target.exit(),
            target: target.clone(),
            _hold: hold,
        };
        let early = match telling.early() {
            Early::All(answers) => return Ok(stream::iter(answers.into_iter().map(Ok)).boxed()),
            Early::First(answers) => answers,
        };
        let stdin = attachment.stdin.filter(|_| self.takes_stdin);
        let hearing = tokio::spawn(target.hear(inputs, self.takes_stdin, stdin));
        let talk = Talk {
            subject: self.subject,
            shutdown: self.shutdown,
            telling,
            hearing: AbortOnDropHandle::new(hearing),
        };
        Ok(stream::iter(early.into_iter().map(Ok)).chain(talk.answers()).boxed())
    }
}

/// Both sides of a conversation that goes on. Dropping it detaches.
struct Talk {
    subject: Subject,
    shutdown: CancellationToken,
    telling: Telling,
    hearing: AbortOnDropHandle<Error>,
}

impl Talk {
    /// Everything until the exit, or until an error.
    fn answers(self) -> impl Stream<Item = Result<Answer, Status>> + Send {
        stream::unfold(Some(self), |talk| async {
            let mut talk = talk?;
            match talk.next().await {
                Ok(exited @ Answer::Exited(_)) => Some((Ok(exited), None)),
                Ok(answer) => Some((Ok(answer), Some(talk))),
                Err(error) => Some((Err(talk.subject.refuse(&error)), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Answer> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(Error::new(
                ErrorKind::Unavailable,
                "the engine stops: the process goes on, attach to it again later",
            )),
            failed = &mut self.hearing => Err(match failed {
                Ok(error) => error,
                Err(died) => match died.try_into_panic() {
                    Ok(panic) => panicked(panic.as_ref()),
                    Err(_) => Error::new(ErrorKind::Unavailable, "the engine stops"),
                },
            }),
            told = self.telling.next() => told,
        }
    }
}

impl Drop for Talk {
    /// When the engine stops, what nobody reads any more stays where it is, for a reader of the next engine.
    fn drop(&mut self) {
        if self.shutdown.is_cancelled() {
            self.telling.leave();
        }
    }
}

/// What the process says.
struct Telling {
    stdout: Output,
    stderr: Option<Output>,
    /// Asked for from the beginning on: a container that is being destroyed takes no new questions, but answers those.
    exit: BoxFuture<'static, Result<ExitStatus>>,
    target: Arc<Target>,
    _hold: Hold,
}

/// What a process said before anybody had to wait for it.
enum Early {
    /// All of it, the exit included.
    All(Vec<Answer>),
    First(Vec<Answer>),
}

/// Answers that are taken before the conversation is known to go on; of a process that ended at once there are at most three.
const EARLY_ANSWERS: usize = 4;

impl Telling {
    /// What is there now. An error is left for later: it shows itself again.
    fn early(&mut self) -> Early {
        let mut answers = Vec::new();
        while answers.len() < EARLY_ANSWERS {
            match self.next().now_or_never() {
                Some(Ok(exited @ Answer::Exited(_))) => {
                    answers.push(exited);
                    return Early::All(answers);
                }
                Some(Ok(answer)) => answers.push(answer),
                Some(Err(_)) | None => break,
            }
        }
        Early::First(answers)
    }

    /// Leaves the outputs open, as they are.
    fn leave(&mut self) {
        for output in [Some(&mut self.stdout), self.stderr.as_mut()].into_iter().flatten() {
            if let Some(source) = output.reader.take_source() {
                self.target.gardener.keep_open(source);
            }
        }
    }

    /// The next output, and when all has ended how the process did. A dropped future loses nothing.
    async fn next(&mut self) -> Result<Answer> {
        while self.stdout.open || self.stderr.as_ref().is_some_and(|stderr| stderr.open) {
            let target = &self.target;
            let stdout_open = self.stdout.open;
            let stdout = self.stdout.next(|from| target.again(true, from));
            let said = match &mut self.stderr {
                None => stdout.await?.map(Answer::Stdout),
                Some(stderr) => {
                    let stderr_open = stderr.open;
                    let stderr = stderr.next(|from| target.again(false, from));
                    tokio::select! {
                        said = stdout, if stdout_open => said?.map(Answer::Stdout),
                        said = stderr, if stderr_open => said?.map(Answer::Stderr),
                    }
                }
            };
            if let Some(answer) = said {
                return Ok(answer);
            }
        }
        let exit = (&mut self.exit).await;
        if exit.is_err() {
            // Whoever asks again hears of it again.
            self.exit = self.target.exit();
        }
        exit.map(Answer::Exited)
    }
}

/// One of the process's outputs.
struct Output {
    reader: Reader,
    offset: u64,
    /// The process's number of the next byte.
    next: u64,
    open: bool,
    /// It was cut off, and attaches again.
    again: Option<Again>,
}

/// An output to go on with, and the number of its first byte.
type Again = BoxFuture<'static, Result<(OwnedFd, u64)>>;

impl Output {
    fn new(source: OwnedFd, first: u64) -> Result<Self> {
        Ok(Output { reader: Reader::new(source)?, offset: 0, next: first, open: true, again: None })
    }

    /// The next chunk or gap; `None` at the end, and where there is no gap after all. A dropped future loses nothing.
    async fn next(&mut self, again: impl FnOnce(u64) -> Again) -> Result<Option<garden::Output>> {
        if self.again.is_none() {
            if let Some(data) = self.reader.next().await? {
                let offset = self.offset;
                self.offset += data.len() as u64;
                self.next += data.len() as u64;
                return Ok(Some(garden::Output { offset, data, lost: 0 }));
            }
            if !self.reader.was_cut_off() {
                self.open = false;
                return Ok(None);
            }
            self.again = Some(again(self.next));
        }
        let Some(going_on) = &mut self.again else { return Ok(None) };
        let (source, first) = going_on.await?;
        self.again = None;
        self.reader = Reader::new(source)?;
        let lost = first.saturating_sub(self.next);
        self.next += lost;
        Ok((lost > 0).then(|| garden::Output { offset: self.offset, data: Bytes::new(), lost }))
    }
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
    /// Attaches again to standard output, or else to standard error, from this byte on.
    fn again(self: &Arc<Self>, stdout: bool, from: u64) -> Again {
        let target = Arc::clone(self);
        let from = if stdout {
            AttachFrom { stdout: Some(from), stderr: None }
        } else {
            AttachFrom { stdout: None, stderr: Some(from) }
        };
        Box::pin(async move {
            let attachment = target.gardener.attach(&target.handle, &target.id, from).await?.attachment;
            if stdout {
                return Ok((attachment.stdout, attachment.stdout_first));
            }
            let stderr =
                attachment.stderr.ok_or_else(|| Error::internal("standard error is not there any more"))?;
            Ok((stderr, attachment.stderr_first))
        })
    }

    /// How the process ends; asked at once.
    fn exit(self: &Arc<Self>) -> BoxFuture<'static, Result<ExitStatus>> {
        let target = Arc::clone(self);
        let mut exit = async move { target.gardener.wait(&target.handle, &target.id).await }.boxed();
        match (&mut exit).now_or_never() {
            Some(told) => future::ready(told).boxed(),
            None => exit,
        }
    }

    /// Does what the client says. Only an error ends it: a client that says no more still hears.
    async fn hear<S>(self: Arc<Self>, inputs: S, takes_stdin: bool, stdin: Option<OwnedFd>) -> Error
    where
        S: Stream<Item = Result<Input>> + Unpin,
    {
        let (queue, queued) = mpsc::channel(INPUT_QUEUE);
        tokio::select! {
            error = only_errors(self.listen(inputs, takes_stdin, queue)) => error,
            error = only_errors(self.feed(stdin, queued)) => error,
        }
    }

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
        let mut writer = stdin.map(Writer::new);
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
