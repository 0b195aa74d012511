//! Connects a process in a container with this command's own standard streams, terminal and signals.

use std::io::Read;
use std::thread;

use anyhow::Context;
use bytes::Bytes;
use gdn_client::{Client, ProcessEvent, ProcessInput, ProcessStream};
use gdn_types::{ErrorKind, ExitStatus, Handle, Signal};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::failure::BY_SIGNAL;
use crate::options::StreamOptions;
use crate::output::note;
use crate::terminal::{self, RawMode};

mod signals;

pub(crate) use signals::Signals;

/// How much of standard input is read at once; the most a pipe holds by default.
const CHUNK: usize = 64 * 1024;

/// Chunks of standard input that wait for the process.
const QUEUE: usize = 4;

/// Number of SIGPIPE, which ends a process whose reader went away.
const SIGPIPE: i32 = 13;

/// Follows a process that this command started to its end and answers with the exit status for this command.
///
/// # Errors
/// When the connection is lost, or this command's own streams cannot be written.
pub(crate) async fn follow(
    client: &Client,
    handle: &Handle,
    process: ProcessStream,
    options: StreamOptions,
    signals: &mut Signals,
) -> anyhow::Result<u8> {
    if !options.interactive {
        end_stdin(&process.input()).await?;
    }
    follow_attached(client, handle, process, options, signals).await
}

/// The same for a process that somebody else started: its standard input is not this command's to end.
///
/// # Errors
/// As [`follow`].
pub(crate) async fn follow_attached(
    client: &Client,
    handle: &Handle,
    mut process: ProcessStream,
    options: StreamOptions,
    signals: &mut Signals,
) -> anyhow::Result<u8> {
    let _raw = if options.tty && options.interactive {
        RawMode::begin().context("cannot put the terminal into raw mode")?
    } else {
        None
    };
    let input = process.input();
    if options.interactive {
        feed(input.clone());
    }
    let (mut stdout, mut stderr) = (Target::new(tokio::io::stdout()), Target::new(tokio::io::stderr()));
    let mut ended = None;
    loop {
        tokio::select! {
            event = process.next() => {
                let broken = match event.context("cannot follow the process any longer")? {
                    Some(ProcessEvent::Stdout(bytes)) => stdout.write(&bytes).await?,
                    Some(ProcessEvent::Stderr(bytes)) => stderr.write(&bytes).await?,
                    Some(ProcessEvent::StdoutLost(lost)) => tell_gap(lost, "output"),
                    Some(ProcessEvent::StderrLost(lost)) => tell_gap(lost, "error"),
                    Some(ProcessEvent::Exited(status)) => {
                        ended = Some(status);
                        false
                    }
                    None => break,
                };
                if broken {
                    send(client, handle, &process, SIGPIPE).await;
                }
            }
            received = signals.next() => match received {
                signals::Received::Resized if options.tty => resize(&input).await,
                signals::Received::Resized => {}
                // With a terminal, keys arrive as bytes; a signal is meant for this command alone.
                signals::Received::Signal(number) if options.tty => return Ok(status_of_signal(number)),
                signals::Received::Signal(number) => send(client, handle, &process, number).await,
            },
        }
    }
    let status: ExitStatus = ended.context("the engine ended the stream without an exit status")?;
    Ok(u8::try_from(status.code()).unwrap_or(u8::MAX))
}

/// The exit status of a command that a signal ended.
pub(crate) fn status_of_signal(number: i32) -> u8 {
    BY_SIGNAL.saturating_add(u8::try_from(number).unwrap_or(u8::MAX))
}

/// Says that the following output does not begin where the output before ended.
fn tell_gap(lost: u64, name: &str) -> bool {
    note(&format!(
        "{lost} bytes of standard {name} are lost here: this command was too far behind other readers"
    ));
    false
}

/// Ends the process's standard input at once.
async fn end_stdin(input: &ProcessInput) -> anyhow::Result<()> {
    match input.close_stdin().await {
        // It ended before it could be told; its status is on the way.
        Err(error) if error.kind() == ErrorKind::FailedPrecondition => Ok(()),
        other => other.context("cannot end the process's standard input"),
    }
}

/// Passes standard input on in the background.
fn feed(input: ProcessInput) {
    let mut chunks = read_stdin();
    tokio::spawn(async move {
        while let Some(chunk) = chunks.recv().await {
            if input.stdin(chunk).await.is_err() {
                return;
            }
        }
        // The process may have ended already: then nobody waits for this.
        let _ = input.close_stdin().await;
    });
}

/// Reads standard input on a thread of its own, which the end of this command does not wait for.
fn read_stdin() -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0; CHUNK];
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) if sender.blocking_send(Bytes::copy_from_slice(&buffer[..read])).is_err() => return,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return note(&format!("cannot read standard input: {error}")),
            }
        }
    });
    receiver
}

/// Sends a signal past whatever waits on standard input. A process that is gone needs none.
async fn send(client: &Client, handle: &Handle, process: &ProcessStream, number: i32) {
    let sent = match Signal::new(number) {
        Ok(signal) => client.signal(handle, process.id(), signal).await,
        Err(error) => Err(error),
    };
    match sent {
        Err(error) if error.kind() != ErrorKind::ProcessNotFound => {
            note(&format!("cannot pass on signal {number}: {}", error.report()));
        }
        _ => {}
    }
}

async fn resize(input: &ProcessInput) {
    // Fails only when the process has ended: then its size does not matter any more.
    let _ = input.resize(terminal::size()).await;
}

/// Where output goes, until its reader goes away.
struct Target<W> {
    writer: W,
    broken: bool,
}

impl<W: AsyncWrite + Unpin> Target<W> {
    fn new(writer: W) -> Self {
        Target { writer, broken: false }
    }

    /// Writes all, or tells that the reader went away just now.
    async fn write(&mut self, bytes: &[u8]) -> anyhow::Result<bool> {
        if self.broken {
            return Ok(false);
        }
        let written = async {
            self.writer.write_all(bytes).await?;
            self.writer.flush().await
        };
        match written.await {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                self.broken = true;
                Ok(true)
            }
            Err(error) => Err(error).context("cannot write the process's output"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_went_away_is_reported_once() {
        let (reader, writer) =
            tokio::net::unix::pipe::pipe().map(|(sender, receiver)| (receiver, sender)).unwrap();
        let mut target = Target::new(writer);
        assert!(!target.write(b"x").await.unwrap());
        drop(reader);
        assert!(target.write(b"x").await.unwrap());
        assert!(!target.write(b"x").await.unwrap());
    }

    #[test]
    fn a_command_that_a_signal_ended_shows_it_as_shells_do() {
        assert_eq!(status_of_signal(15), 143);
    }
}
