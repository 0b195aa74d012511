//! Moves a process's output to whoever is attached.
//!
//! Every sink gets every byte from the place on where it began; the slowest sets the pace. What happens without any sink is
//! for the process's starter to choose: the output is thrown away, stays in the pipe, or is thrown away except for its
//! end. A reader that comes back names the byte it wants to go on with, and is told with which one it does.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

/// Most bytes moved at once: a pipe's default capacity.
const CHUNK: usize = 64 * 1024;
/// How many chunks are moved before others have their turn.
const TURN: usize = 16;

/// Bytes that a terminal may hold for its master, with room to spare: 64 KiB of flip buffers and a line discipline's 4 KiB.
const TERMINAL: usize = 128 * 1024;

/// What becomes of output, also of output that was handed to a reader: that one may fail with bytes on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    /// Without a reader the process waits, instead of losing output.
    pub(crate) block: bool,
    /// So many of the last bytes are kept for readers to come.
    pub(crate) keep: usize,
}

/// One output of a process.
pub(crate) struct Output {
    source: OwnedFd,
    sinks: Vec<Sink>,
    retention: Retention,
    /// How many bytes the process has written, as far as they were read: the number of the next byte.
    position: u64,
    /// The last bytes before `position`: those that some sink has not taken, and those that are kept.
    recent: VecDeque<u8>,
    /// The only sink's pipe is full: wait for room there instead of for output.
    full: bool,
    /// Pipes can be spliced, terminals only read.
    spliceable: bool,
    /// The process has ended: so many bytes at most are there for the sinks. Others may hold the other end and write on.
    left: Option<usize>,
    /// Nobody holds the other end any more.
    closed: bool,
}

struct Sink {
    pipe: OwnedFd,
    /// The number of the next byte it gets.
    next: u64,
}

/// What a descriptor of an [`Output`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Sink,
}

impl Output {
    pub(crate) fn new(source: OwnedFd, retention: Retention, terminal: bool) -> Self {
        Output {
            source,
            sinks: Vec::new(),
            retention,
            position: 0,
            recent: VecDeque::new(),
            full: false,
            spliceable: !terminal,
            left: None,
            closed: false,
        }
    }

    /// Adds a reader, who gets everything from byte `from` on, or as far back as there is; without a number, from now on.
    /// Returns the number of its first byte.
    pub(crate) fn attach(&mut self, pipe: OwnedFd, from: Option<u64>) -> u64 {
        let next = from.unwrap_or(self.position).clamp(self.first(), self.position);
        self.sinks.push(Sink { pipe, next });
        self.full = false;
        next
    }

    /// The number of the first byte that is still there.
    fn first(&self) -> u64 {
        self.position - self.recent.len() as u64
    }

    /// Whether every sink has everything that was read.
    fn all_have_all(&self) -> bool {
        self.sinks.iter().all(|sink| sink.next == self.position)
    }

    /// What to wait for.
    pub(crate) fn interest(&self) -> Vec<(Side, BorrowedFd<'_>, PollFlags)> {
        let mut interest = Vec::with_capacity(1 + self.sinks.len());
        let waits_for_room = self.full || !self.all_have_all();
        let unheard = self.retention.block && self.sinks.is_empty() && self.left.is_none();
        if !(waits_for_room || unheard || self.closed) {
            interest.push((Side::Source, self.source.as_fd(), PollFlags::IN));
        }
        for sink in &self.sinks {
            let lags = self.full || sink.next < self.position;
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
        self.trim();
    }

    /// The process has ended. Returns whether its sinks have everything already.
    pub(crate) fn end(&mut self) -> Progress {
        let held = if self.spliceable { rustix::io::ioctl_fionread(&self.source).ok() } else { None };
        self.left = Some(held.and_then(|held| usize::try_from(held).ok()).unwrap_or(TERMINAL));
        self.advance()
    }

    /// Bytes that are kept for readers of a process that has ended.
    pub(crate) fn held(&self) -> usize {
        if self.left == Some(0) { self.recent.len() } else { 0 }
    }

    /// Gives up what is kept of a process that has ended.
    pub(crate) fn let_go(&mut self) -> Progress {
        self.retention.keep = 0;
        self.trim();
        self.progress()
    }

    /// Moves what can be moved without waiting.
    pub(crate) fn advance(&mut self) -> Progress {
        self.full = false;
        let mut turns = 0;
        // Others have to wait for what a process has left, which is not much: once all of it was read, no descriptor
        // might ever tell of it again.
        while turns < TURN || self.left.is_some_and(|left| left > 0) {
            turns += 1;
            self.finish();
            if self.closed {
                break;
            }
            match self.step() {
                Step::Moved => {}
                Step::Wait => break,
                Step::Empty => {
                    self.left = self.left.map(|_| 0);
                    break;
                }
                Step::Closed => {
                    self.closed = true;
                    self.left = Some(0);
                    break;
                }
            }
        }
        if self.closed {
            self.offer();
        }
        // The last turn, too, may have brought the end.
        self.finish();
        self.progress()
    }

    fn progress(&self) -> Progress {
        let over = self.closed && self.sinks.is_empty() && self.recent.is_empty();
        if over { Progress::Done } else { Progress::Open }
    }

    fn step(&mut self) -> Step {
        let alone = self.sinks.len() == 1 && self.recent.is_empty() && self.retention.keep == 0;
        match self.left {
            Some(0) if self.sinks.is_empty() => self.drain(),
            _ if alone && self.spliceable => self.splice(),
            _ => self.copy(),
        }
    }

    /// Lets the sinks go once they have everything that the process wrote.
    fn finish(&mut self) {
        if self.left == Some(0) && self.all_have_all() {
            self.sinks.clear();
            self.trim();
        }
    }

    /// Throws away what is written by those whom the process has left behind: nobody hears them any more.
    fn drain(&mut self) -> Step {
        match rustix::io::read(&self.source, &mut vec![0; CHUNK]) {
            Ok(0) | Err(Errno::IO) => Step::Closed,
            Ok(_) | Err(Errno::INTR) => Step::Moved,
            Err(Errno::AGAIN) => Step::Wait,
            Err(_) => Step::Closed,
        }
    }

    fn took(&mut self, length: usize) {
        self.position += length as u64;
        self.left = self.left.map(|left| left.saturating_sub(length));
    }

    fn splice(&mut self) -> Step {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let most = self.left.unwrap_or(usize::MAX).min(16 * CHUNK);
        match splice(&self.source, None, &self.sinks[0].pipe, None, most, flags) {
            Ok(0) => Step::Closed,
            Ok(length) => {
                self.took(length);
                self.sinks[0].next = self.position;
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
        if !self.offer() {
            return Step::Wait;
        }
        match self.left {
            Some(0) => return Step::Moved,
            None if self.retention.block && self.sinks.is_empty() => return Step::Wait,
            _ => {}
        }
        let mut chunk = vec![0; self.left.unwrap_or(CHUNK).min(CHUNK)];
        match rustix::io::read(&self.source, &mut chunk) {
            // A terminal answers EIO when its last user has gone.
            Ok(0) | Err(Errno::IO) => return Step::Closed,
            Ok(length) => {
                self.recent.extend(&chunk[..length]);
                self.took(length);
            }
            Err(Errno::INTR) => return Step::Moved,
            Err(Errno::AGAIN) => return Step::Empty,
            Err(_) => return Step::Closed,
        }
        if self.offer() { Step::Moved } else { Step::Wait }
    }

    /// Gives every sink what it lacks. Returns whether all have all.
    fn offer(&mut self) -> bool {
        let first = self.first();
        let recent = &self.recent;
        self.sinks.retain_mut(|sink| give(sink, recent, first));
        self.trim();
        self.all_have_all()
    }

    /// Forgets what no sink needs and nobody wants to be kept.
    fn trim(&mut self) {
        let needed = self.sinks.iter().map(|sink| sink.next).min().unwrap_or(self.position);
        let lacking = usize::try_from(self.position - needed).unwrap_or(usize::MAX);
        let surplus = self.recent.len().saturating_sub(lacking.max(self.retention.keep));
        self.recent.drain(..surplus);
        if self.recent.is_empty() {
            self.recent = VecDeque::new();
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

/// Gives a sink what it lacks of the bytes from number `first` on; false when its reader has gone.
fn give(sink: &mut Sink, recent: &VecDeque<u8>, first: u64) -> bool {
    loop {
        let skipped = usize::try_from(sink.next - first).unwrap_or(usize::MAX);
        let (front, back) = recent.as_slices();
        let rest = match front.get(skipped..) {
            Some(rest) if !rest.is_empty() => rest,
            _ => &back[(skipped - front.len()).min(back.len())..],
        };
        if rest.is_empty() {
            return true;
        }
        match rustix::io::write(&sink.pipe, rest) {
            Ok(written) => sink.next += written as u64,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return true,
            Err(_) => return false,
        }
    }
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
    use rustix::pipe::PipeFlags;

    const THROW_AWAY: Retention = Retention { block: false, keep: 0 };

    fn take(fd: &OwnedFd) -> Vec<u8> {
        let mut buffer = vec![0; 1 << 20];
        let length = rustix::io::read(fd, &mut buffer).expect("something to read");
        buffer.truncate(length);
        buffer
    }

    #[test]
    fn one_reader_gets_everything_and_then_the_end() {
        let (source, process) = pipe_nonblocking(true).unwrap();
        let (reader, sink) = pipe_nonblocking(false).unwrap();
        let mut output = Output::new(source, THROW_AWAY, false);
        output.attach(sink, None);
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
        let mut output = Output::new(source, THROW_AWAY, false);
        output.attach(sink, None);
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
        output.attach(late, None);
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
            let mut output = Output::new(source, Retention { block, keep: 0 }, false);
            rustix::io::write(&process, b"early").unwrap();
            output.advance();
            let (reader, sink) = pipe_nonblocking(false).unwrap();
            output.attach(sink, None);
            rustix::io::write(&process, b" late").unwrap();
            output.advance();
            assert_eq!(take(&reader), if block { b"early late".as_slice() } else { b" late" });
        }
    }

    #[test]
    fn a_reader_that_comes_back_goes_on_where_it_was_and_learns_what_is_lost() {
        let (source, process) = pipe_nonblocking(true).unwrap();
        let mut output = Output::new(source, Retention { block: false, keep: 8 }, false);
        let (reader, sink) = pipe_nonblocking(false).unwrap();
        assert_eq!(output.attach(sink, None), 0);
        rustix::io::write(&process, b"0123456789").unwrap();
        output.advance();
        assert_eq!(take(&reader), b"0123456789");
        drop(reader);
        output.drop_dead_sinks();
        rustix::io::write(&process, b"abc").unwrap();
        output.advance();
        for (from, first, expected) in
            [(Some(9), 9, "9abc"), (Some(0), 5, "56789abc"), (None, 13, ""), (Some(99), 13, "")]
        {
            let (reader, sink) = pipe_nonblocking(false).unwrap();
            rustix::io::ioctl_fionbio(&reader, true).unwrap();
            assert_eq!(output.attach(sink, from), first);
            output.advance();
            let mut buffer = [0; 64];
            let got = rustix::io::read(&reader, &mut buffer).unwrap_or(0);
            assert_eq!(&buffer[..got], expected.as_bytes());
            drop(reader);
            output.drop_dead_sinks();
        }
        drop(process);
        assert_eq!(output.end(), Progress::Open, "the last bytes wait for a reader");
        for _ in 0..2 {
            let (reader, sink) = pipe_nonblocking(false).unwrap();
            assert_eq!(output.attach(sink, Some(7)), 7);
            output.advance();
            assert_eq!(take(&reader), b"789abc");
            assert_eq!(take(&reader), b"", "and then the end");
        }
        assert_eq!((output.held(), output.let_go()), (8, Progress::Done));
    }

    #[test]
    fn what_a_process_leaves_in_its_pipe_at_its_end_is_there_for_a_late_reader() {
        let (source, process) = pipe_nonblocking(true).unwrap();
        let mut output = Output::new(source, Retention { block: true, keep: 1 << 20 }, false);
        let written = vec![7; 60_000];
        rustix::io::write(&process, &written).unwrap();
        output.advance();
        drop(process);
        assert_eq!(output.end(), Progress::Open);
        let (reader, sink) = pipe_nonblocking(false).unwrap();
        assert_eq!(output.attach(sink, Some(0)), 0);
        output.advance();
        assert!(take(&reader) == written);
        assert_eq!(take(&reader), b"");
    }

    /// Serves an output as the keeper does, while any of its descriptors has something to say.
    fn serve(output: &mut Output) {
        let ready = |output: &Output| {
            output.interest().iter().any(|(_, fd, flags)| {
                let mut poll = [rustix::event::PollFd::from_borrowed_fd(*fd, *flags)];
                let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
                rustix::event::poll(&mut poll, Some(&now)).unwrap() > 0
            })
        };
        while ready(output) && output.advance() == Progress::Open {}
    }

    #[test]
    fn the_end_reaches_the_reader_however_many_turns_the_last_words_take() {
        let kept = Retention { block: false, keep: 1 };
        let kinds =
            [(true, THROW_AWAY, false), (true, THROW_AWAY, true), (false, kept, false), (false, kept, true)];
        let cases = (0..=3 * TURN).flat_map(|portions| kinds.map(|kind| (portions, kind)));
        for (portions, (terminal, retention, left_open)) in cases {
            // Each read of such a pipe gives one portion, as reads of a terminal do.
            let flags = PipeFlags::CLOEXEC | PipeFlags::DIRECT | PipeFlags::NONBLOCK;
            let (source, process) = rustix::pipe::pipe_with(flags).unwrap();
            rustix::pipe::fcntl_setpipe_size(&process, 1 << 20).unwrap();
            let (reader, sink) = pipe_nonblocking(false).unwrap();
            rustix::io::ioctl_fionbio(&reader, true).unwrap();
            let mut output = Output::new(source, retention, terminal);
            output.attach(sink, None);
            for portion in 0..portions {
                assert_eq!(rustix::io::write(&process, &[portion as u8; 100]).unwrap(), 100);
            }
            let process = Some(process).filter(|_| left_open);
            output.end();
            serve(&mut output);
            if portions > 0 {
                assert_eq!(take(&reader).len(), 100 * portions);
            }
            assert_eq!(take(&reader), b"", "after {portions} portions");
            drop(process);
        }
    }

    #[test]
    fn what_is_left_behind_and_writes_on_neither_holds_the_keeper_nor_the_readers() {
        for readers in 0..3 {
            let (source, process) = pipe_nonblocking(true).unwrap();
            let mut output = Output::new(source, THROW_AWAY, false);
            let sinks: Vec<_> = (0..readers).map(|_| pipe_nonblocking(false).unwrap()).collect();
            let sinks: Vec<_> = sinks
                .into_iter()
                .map(|(reader, sink)| {
                    output.attach(sink, None);
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
        let mut output = Output::new(source, THROW_AWAY, false);
        output.attach(sink, None);
        drop(reader);
        for _ in 0..100 {
            rustix::io::write(&process, &[0; 4096]).unwrap();
            assert_eq!(output.advance(), Progress::Open);
        }
    }
}
