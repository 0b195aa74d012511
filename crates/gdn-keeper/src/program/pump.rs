//! Moves a process's output to whoever is attached.
//!
//! Every sink gets every byte from its attachment on. With one sink the bytes never pass through our memory (splice);
//! with several, a chunk is read once and kept until each has taken it, so the slowest sets the pace. Without any, the
//! output is thrown away or stays in the pipe, as the process's starter chose.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

/// Most bytes moved at once: a pipe's default capacity. Also what is read at once for several sinks.
const CHUNK: usize = 64 * 1024;
/// How many chunks are moved before others have their turn.
const TURN: usize = 16;

/// Bytes that a terminal may hold for its master, with room to spare: 64 KiB of flip buffers and a line discipline's 4 KiB.
const TERMINAL: usize = 128 * 1024;

/// One output of a process.
pub(crate) struct Output {
    source: OwnedFd,
    sinks: Vec<Sink>,
    /// Read for several sinks and not yet taken by all.
    chunk: Vec<u8>,
    /// The only sink's pipe is full: wait for room there instead of for output.
    full: bool,
    /// Keep output in the pipe while nobody is attached.
    block: bool,
    /// Pipes can be spliced, terminals only read.
    spliceable: bool,
    /// The process has ended: so many bytes at most are there for the sinks. Others may hold the other end and write on.
    left: Option<usize>,
}

struct Sink {
    pipe: OwnedFd,
    taken: usize,
}

/// What a descriptor of an [`Output`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Sink,
}

impl Output {
    pub(crate) fn new(source: OwnedFd, block: bool, terminal: bool) -> Self {
        Output {
            source,
            sinks: Vec::new(),
            chunk: Vec::new(),
            full: false,
            block,
            spliceable: !terminal,
            left: None,
        }
    }

    /// Adds a reader, who gets everything from now on.
    pub(crate) fn attach(&mut self, pipe: OwnedFd) {
        let taken = self.chunk.len();
        self.sinks.push(Sink { pipe, taken });
        self.full = false;
    }

    /// What to wait for.
    pub(crate) fn interest(&self) -> Vec<(Side, BorrowedFd<'_>, PollFlags)> {
        let mut interest = Vec::with_capacity(1 + self.sinks.len());
        let waits_for_room = self.full || !self.chunk.is_empty();
        let unheard = self.block && self.sinks.is_empty();
        if !(waits_for_room || unheard) {
            interest.push((Side::Source, self.source.as_fd(), PollFlags::IN));
        }
        for sink in &self.sinks {
            let lags = self.full || sink.taken < self.chunk.len();
            // Without a flag the kernel still tells when the reader has gone.
            let flags = if lags { PollFlags::OUT } else { PollFlags::empty() };
            interest.push((Side::Sink, sink.pipe.as_fd(), flags));
        }
        interest
    }

    /// Forgets readers who have gone.
    pub(crate) fn drop_dead_sinks(&mut self) {
        self.sinks.retain(|sink| !polls(sink.pipe.as_fd(), PollFlags::ERR));
        self.full = false;
        self.settle();
    }

    /// The process has ended. Returns whether its sinks have everything already.
    pub(crate) fn end(&mut self) -> Progress {
        let held = if self.spliceable { rustix::io::ioctl_fionread(&self.source).ok() } else { None };
        self.left = Some(held.and_then(|held| usize::try_from(held).ok()).unwrap_or(TERMINAL));
        self.advance()
    }

    /// Moves what can be moved without waiting.
    pub(crate) fn advance(&mut self) -> Progress {
        self.full = false;
        for _ in 0..TURN {
            self.finish();
            let step = if self.sinks.len() == 1 && self.chunk.is_empty() && self.spliceable {
                self.splice()
            } else {
                self.copy()
            };
            match step {
                Step::Moved => {}
                Step::Wait => return Progress::Open,
                Step::Empty => {
                    self.left = self.left.map(|_| 0);
                    self.finish();
                    return Progress::Open;
                }
                Step::Closed => return Progress::Done,
            }
        }
        self.finish();
        Progress::Open
    }

    /// Lets the sinks go once they have everything that the process wrote. Whoever still writes was left behind by it, and
    /// nobody hears it any more.
    fn finish(&mut self) {
        if self.left == Some(0) && self.chunk.is_empty() {
            self.sinks.clear();
            self.block = false;
        }
    }

    fn took(&mut self, length: usize) {
        self.left = self.left.map(|left| left.saturating_sub(length));
    }

    fn splice(&mut self) -> Step {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let most = self.left.unwrap_or(usize::MAX).min(16 * CHUNK);
        match splice(&self.source, None, &self.sinks[0].pipe, None, most, flags) {
            Ok(0) => Step::Closed,
            Ok(length) => {
                self.took(length);
                Step::Moved
            }
            Err(Errno::INTR) => Step::Moved,
            Err(Errno::AGAIN) => {
                // Either there is no output, or no room.
                self.full = polls(self.source.as_fd(), PollFlags::IN);
                if self.full { Step::Wait } else { Step::Empty }
            }
            Err(_) => {
                self.sinks.clear();
                Step::Moved
            }
        }
    }

    fn copy(&mut self) -> Step {
        if self.chunk.is_empty() {
            if self.block && self.sinks.is_empty() && self.left.is_none() {
                return Step::Wait;
            }
            let most = if self.sinks.is_empty() { CHUNK } else { self.left.unwrap_or(CHUNK).min(CHUNK) };
            let mut chunk = vec![0; most];
            match rustix::io::read(&self.source, &mut chunk) {
                // A terminal answers EIO when its last user has gone.
                Ok(0) | Err(Errno::IO) => return Step::Closed,
                Ok(length) => chunk.truncate(length),
                Err(Errno::INTR) => return Step::Moved,
                Err(Errno::AGAIN) => return Step::Empty,
                Err(_) => return Step::Closed,
            }
            self.took(chunk.len());
            self.chunk = chunk;
            self.sinks.iter_mut().for_each(|sink| sink.taken = 0);
        }
        self.sinks.retain_mut(|sink| offer(sink, &self.chunk));
        self.settle();
        if self.chunk.is_empty() { Step::Moved } else { Step::Wait }
    }

    /// Lets go of the chunk when every sink has it.
    fn settle(&mut self) {
        if self.sinks.iter().all(|sink| sink.taken >= self.chunk.len()) {
            self.chunk = Vec::new();
            self.sinks.iter_mut().for_each(|sink| sink.taken = 0);
        }
    }
}

/// Whether an output can say anything more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Open,
    Done,
}

enum Step {
    Moved,
    Empty,
    Wait,
    Closed,
}

/// Gives a sink what it lacks of the chunk; false when its reader has gone.
fn offer(sink: &mut Sink, chunk: &[u8]) -> bool {
    while sink.taken < chunk.len() {
        match rustix::io::write(&sink.pipe, &chunk[sink.taken..]) {
            Ok(written) => sink.taken += written,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return true,
            Err(_) => return false,
        }
    }
    true
}

/// Whether a descriptor is in this state right now.
fn polls(fd: BorrowedFd<'_>, state: PollFlags) -> bool {
    let mut poll = [rustix::event::PollFd::from_borrowed_fd(fd, state)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(rustix::event::poll(&mut poll, Some(&now)), Ok(1)) && poll[0].revents().intersects(state)
}

/// A pipe whose given end does not block.
pub(crate) fn pipe_nonblocking(read_end: bool) -> std::io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(if read_end { &read } else { &write }, true)?;
    Ok((read, write))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(fd: &OwnedFd) -> Vec<u8> {
        let mut buffer = vec![0; 1 << 20];
        let length = rustix::io::read(fd, &mut buffer).unwrap();
        buffer.truncate(length);
        buffer
    }

    #[test]
    fn one_reader_gets_everything_and_then_the_end() {
        let (source, process) = pipe_nonblocking(true).unwrap();
        let (reader, sink) = pipe_nonblocking(false).unwrap();
        let mut output = Output::new(source, false, false);
        output.attach(sink);
        rustix::io::write(&process, b"hello").unwrap();
        assert_eq!(output.advance(), Progress::Open);
        assert_eq!(take(&reader), b"hello");
        rustix::io::write(&process, b"bye").unwrap();
        output.end();
        assert_eq!(take(&reader), b"bye");
        assert_eq!(take(&reader), b"");
    }

    #[test]
    fn a_slow_reader_loses_nothing_and_a_late_one_starts_where_it_came() {
        let (source, process) = pipe_nonblocking(true).unwrap();
        rustix::io::ioctl_fionbio(&process, true).unwrap();
        let (first, sink) = pipe_nonblocking(false).unwrap();
        let mut output = Output::new(source, false, false);
        output.attach(sink);
        let mut written = Vec::new();
        let mut got = Vec::new();
        for round in 0..200_u8 {
            let chunk = vec![round; 9_000];
            if let Ok(length) = rustix::io::write(&process, &chunk) {
                written.extend_from_slice(&chunk[..length]);
            }
            output.advance();
            if round % 3 == 0 {
                got.extend(take(&first));
            }
        }
        let (second, late) = pipe_nonblocking(false).unwrap();
        output.attach(late);
        drop(process);
        rustix::io::ioctl_fionbio(&first, true).unwrap();
        let mut seen_late = Vec::new();
        rustix::io::ioctl_fionbio(&second, true).unwrap();
        loop {
            let done = output.advance() == Progress::Done;
            let mut buffer = vec![0; 1 << 20];
            while let Ok(length @ 1..) = rustix::io::read(&first, &mut buffer) {
                got.extend_from_slice(&buffer[..length]);
            }
            while let Ok(length @ 1..) = rustix::io::read(&second, &mut buffer) {
                seen_late.extend_from_slice(&buffer[..length]);
            }
            if done {
                break;
            }
        }
        assert_eq!(got, written);
        assert!(written.ends_with(&seen_late));
    }

    #[test]
    fn without_readers_output_is_thrown_away_or_kept_as_chosen() {
        for block in [false, true] {
            let (source, process) = pipe_nonblocking(true).unwrap();
            let mut output = Output::new(source, block, false);
            rustix::io::write(&process, b"early").unwrap();
            output.advance();
            let (reader, sink) = pipe_nonblocking(false).unwrap();
            output.attach(sink);
            rustix::io::write(&process, b" late").unwrap();
            output.advance();
            assert_eq!(take(&reader), if block { b"early late".as_slice() } else { b" late" });
        }
    }

    #[test]
    fn what_is_left_behind_and_writes_on_neither_holds_the_keeper_nor_the_readers() {
        for readers in 0..3 {
            let (source, process) = pipe_nonblocking(true).unwrap();
            let mut output = Output::new(source, false, false);
            let sinks: Vec<_> = (0..readers).map(|_| pipe_nonblocking(false).unwrap()).collect();
            let sinks: Vec<_> = sinks
                .into_iter()
                .map(|(reader, sink)| {
                    output.attach(sink);
                    reader
                })
                .collect();
            rustix::io::write(&process, b"last words").unwrap();
            let stop = std::sync::atomic::AtomicBool::new(false);
            std::thread::scope(|scope| {
                output.end();
                scope.spawn(|| {
                    rustix::io::ioctl_fionbio(&process, true).unwrap();
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        let _ = rustix::io::write(&process, &[7; 4096]);
                    }
                });
                for _ in 0..1000 {
                    assert_eq!(output.advance(), Progress::Open);
                }
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            for reader in sinks {
                assert_eq!(take(&reader), b"last words");
                assert_eq!(take(&reader), b"");
            }
        }
    }

    #[test]
    fn a_reader_that_went_away_does_not_stop_the_process() {
        let (source, process) = pipe_nonblocking(true).unwrap();
        let (reader, sink) = pipe_nonblocking(false).unwrap();
        let mut output = Output::new(source, false, false);
        output.attach(sink);
        drop(reader);
        for _ in 0..100 {
            rustix::io::write(&process, &[0; 4096]).unwrap();
            assert_eq!(output.advance(), Progress::Open);
        }
    }
}
