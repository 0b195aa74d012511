//! A process's streams.

use bytes::Bytes;
use gdn_proto::garden::{
    self, AttachRequest, RunRequest, attach_request, attach_response, run_request, run_response,
};
use gdn_types::{
    AttachFrom, Error, ErrorKind, ExitStatus, Handle, ProcessId, ProcessSpec, Result, Signal, WindowSize,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::Client;
use crate::calls::{answer, failed, missing, present};

/// Messages to a process that wait for the connection: enough to keep it busy, few enough that a process that does not read
/// holds its writer back soon.
const QUEUE: usize = 16;

/// The most bytes put into one message; a server announces the same bound in its features.
const CHUNK: usize = 64 * 1024;

/// What a process sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEvent {
    /// It wrote to standard output; with a terminal, anything it wrote.
    Stdout(Bytes),
    /// It wrote to standard error.
    Stderr(Bytes),
    /// So many bytes of standard output are lost here: others read faster, and this client was too far behind.
    StdoutLost(u64),
    /// The same of standard error.
    StderrLost(u64),
    /// It ended; nothing follows.
    Exited(ExitStatus),
}

/// What is sent to a process.
enum Message {
    Stdin(Bytes),
    CloseStdin,
    Resize(WindowSize),
    Signal(Signal),
}

/// A process that runs, as seen by one client. Dropping it only detaches.
#[derive(Debug)]
pub struct ProcessStream {
    id: ProcessId,
    input: ProcessInput,
    output: Output,
    first: (u64, u64),
}

/// The server's half, which both calls have in a type of its own.
#[derive(Debug)]
enum Output {
    Run(Streaming<garden::RunResponse>),
    Attach(Streaming<garden::AttachResponse>),
}

/// The way to a process. Clones write to the same standard input.
#[derive(Clone, Debug)]
pub struct ProcessInput {
    queue: Queue,
}

#[derive(Clone, Debug)]
enum Queue {
    Run(mpsc::Sender<RunRequest>),
    Attach(mpsc::Sender<AttachRequest>),
}

impl Client {
    /// Starts a process. A spec with an empty path means the command of the container's image.
    ///
    /// # Errors
    /// Whatever the server answers: `ExecutableNotFound`, `UserNotFound`, `ContainerNotFound`...
    pub async fn run(&self, handle: &Handle, spec: ProcessSpec) -> Result<ProcessStream> {
        let start = garden::RunStart { handle: handle.to_string(), process: Some(spec.try_into()?) };
        let (sender, receiver) = mpsc::channel(QUEUE);
        let first = RunRequest { message: Some(run_request::Message::Start(start)) };
        sender.try_send(first).expect("a new queue has room for its first message");
        let mut replies = answer(self.service.clone().run(ReceiverStream::new(receiver)).await)?;
        let id = match next(&mut replies).await?.and_then(|reply| reply.message) {
            Some(run_response::Message::Started(started)) => ProcessId::parse(&started.process_id)?,
            _ => return Err(missing("process id")),
        };
        Ok(ProcessStream {
            id,
            input: ProcessInput { queue: Queue::Run(sender) },
            output: Output::Run(replies),
            first: (0, 0),
        })
    }

    /// Attaches to a process; `stdin` says whether this client will write to its standard input.
    ///
    /// # Errors
    /// `ProcessNotFound`; `Lost` when the process belonged to an earlier life of the host.
    pub async fn attach(&self, handle: &Handle, process: &ProcessId, stdin: bool) -> Result<ProcessStream> {
        self.attach_from(handle, process, stdin, AttachFrom::default()).await
    }

    /// The same, from the given bytes of its output on, or as near to them as they are kept: see
    /// [`ProcessStream::stdout_first`] and [`ProcessSpec::keep_output`].
    ///
    /// # Errors
    /// As [`Client::attach`].
    pub async fn attach_from(
        &self,
        handle: &Handle,
        process: &ProcessId,
        stdin: bool,
        from: AttachFrom,
    ) -> Result<ProcessStream> {
        let start = garden::AttachStart {
            handle: handle.to_string(),
            process_id: process.to_string(),
            stdin,
            stdout_from: from.stdout,
            stderr_from: from.stderr,
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        let first = AttachRequest { message: Some(attach_request::Message::Start(start)) };
        sender.try_send(first).expect("a new queue has room for its first message");
        let mut replies = answer(self.service.clone().attach(ReceiverStream::new(receiver)).await)?;
        let started = match next(&mut replies).await?.and_then(|reply| reply.message) {
            Some(attach_response::Message::Started(started)) => started,
            _ => return Err(missing("process id")),
        };
        Ok(ProcessStream {
            id: ProcessId::parse(&started.process_id)?,
            input: ProcessInput { queue: Queue::Attach(sender) },
            output: Output::Attach(replies),
            first: (started.stdout_first, started.stderr_first),
        })
    }
}

impl ProcessStream {
    /// The process's name.
    pub fn id(&self) -> &ProcessId {
        &self.id
    }

    /// The number of the first byte of standard output that comes out of this stream: 0 is the first that the process wrote.
    /// Of an output that has ended and of which nothing is left, how many bytes it was.
    pub fn stdout_first(&self) -> u64 {
        self.first.0
    }

    /// The same of standard error.
    pub fn stderr_first(&self) -> u64 {
        self.first.1
    }

    /// The way to the process, for another task.
    pub fn input(&self) -> ProcessInput {
        self.input.clone()
    }

    /// What the process sends next; `None` after its exit.
    ///
    /// Cancel-safe: a dropped future loses nothing.
    ///
    /// # Errors
    /// `Unavailable` when the connection is lost; the process goes on.
    pub async fn next(&mut self) -> Result<Option<ProcessEvent>> {
        match &mut self.output {
            Output::Run(replies) => match next(replies).await? {
                None => Ok(None),
                Some(reply) => match present("message", reply.message)? {
                    run_response::Message::Started(_) => {
                        Err(Error::internal("the server says twice that a process started"))
                    }
                    run_response::Message::Stdout(output) => Ok(Some(on_stdout(output))),
                    run_response::Message::Stderr(output) => Ok(Some(on_stderr(output))),
                    run_response::Message::Exited(status) => {
                        Ok(Some(ProcessEvent::Exited(status.try_into()?)))
                    }
                },
            },
            Output::Attach(replies) => match next(replies).await? {
                None => Ok(None),
                Some(reply) => match present("message", reply.message)? {
                    attach_response::Message::Started(_) => {
                        Err(Error::internal("the server says twice that it attached"))
                    }
                    attach_response::Message::Stdout(output) => Ok(Some(on_stdout(output))),
                    attach_response::Message::Stderr(output) => Ok(Some(on_stderr(output))),
                    attach_response::Message::Exited(status) => {
                        Ok(Some(ProcessEvent::Exited(status.try_into()?)))
                    }
                },
            },
        }
    }
}

fn on_stdout(output: garden::Output) -> ProcessEvent {
    match output.lost {
        0 => ProcessEvent::Stdout(output.data),
        lost => ProcessEvent::StdoutLost(lost),
    }
}

fn on_stderr(output: garden::Output) -> ProcessEvent {
    match output.lost {
        0 => ProcessEvent::Stderr(output.data),
        lost => ProcessEvent::StderrLost(lost),
    }
}

impl ProcessInput {
    /// Writes to standard input, waiting while the process does not read.
    ///
    /// # Errors
    /// `FailedPrecondition` when the process has ended or the connection is lost.
    pub async fn stdin(&self, bytes: impl Into<Bytes>) -> Result<()> {
        let mut rest: Bytes = bytes.into();
        while !rest.is_empty() {
            let chunk = rest.split_to(rest.len().min(CHUNK));
            self.send(Message::Stdin(chunk)).await?;
        }
        Ok(())
    }

    /// Ends standard input, for good and for every attachment.
    ///
    /// # Errors
    /// As [`ProcessInput::stdin`].
    pub async fn close_stdin(&self) -> Result<()> {
        self.send(Message::CloseStdin).await
    }

    /// Tells the new size of the terminal.
    ///
    /// # Errors
    /// As [`ProcessInput::stdin`].
    pub async fn resize(&self, size: WindowSize) -> Result<()> {
        self.send(Message::Resize(size)).await
    }

    /// Sends a signal behind whatever waits to be written; [`Client::signal`] overtakes it.
    ///
    /// # Errors
    /// As [`ProcessInput::stdin`].
    pub async fn signal(&self, signal: Signal) -> Result<()> {
        self.send(Message::Signal(signal)).await
    }

    async fn send(&self, message: Message) -> Result<()> {
        let sent = match &self.queue {
            Queue::Run(queue) => queue.send(message.into()).await.is_ok(),
            Queue::Attach(queue) => queue.send(message.into()).await.is_ok(),
        };
        let gone = || {
            Error::new(
                ErrorKind::FailedPrecondition,
                "write to the process: it has ended or its connection is lost",
            )
        };
        sent.then_some(()).ok_or_else(gone)
    }
}

impl From<Message> for RunRequest {
    fn from(message: Message) -> Self {
        let message = match message {
            Message::Stdin(bytes) => run_request::Message::Stdin(bytes),
            Message::CloseStdin => run_request::Message::CloseStdin(garden::CloseStdin {}),
            Message::Resize(size) => run_request::Message::Resize(size.into()),
            Message::Signal(signal) => run_request::Message::Signal(signal.number()),
        };
        RunRequest { message: Some(message) }
    }
}

impl From<Message> for AttachRequest {
    fn from(message: Message) -> Self {
        let message = match message {
            Message::Stdin(bytes) => attach_request::Message::Stdin(bytes),
            Message::CloseStdin => attach_request::Message::CloseStdin(garden::CloseStdin {}),
            Message::Resize(size) => attach_request::Message::Resize(size.into()),
            Message::Signal(signal) => attach_request::Message::Signal(signal.number()),
        };
        AttachRequest { message: Some(message) }
    }
}

async fn next<T>(replies: &mut Streaming<T>) -> Result<Option<T>> {
    replies.message().await.map_err(|status| failed(&status))
}
