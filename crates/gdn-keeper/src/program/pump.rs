//! Moves a process's output to whoever is attached.
//!
//! Every reader gets every byte from the place on where it began. The slowest sets the pace as long as it keeps a pace at
//! all: one that does not is let fall behind, by as much as is remembered, and then its pipe is ended, marked as cut off. It
//! may attach again, goes on with the oldest byte there is, and so knows how many it lost, and where. A reader that is alone
//! is never let fall behind: the process waits for it.
//!
//! What happens without any reader is for the process's starter to choose: the output is thrown away, stays in the pipe, or
//! is thrown away except for its end. A reader that comes back names the byte it wants to go on with, and is told with which
//! one it does. Output may also be held for the reader that the engine's end has taken away: see [`unread`].

mod pace;
mod recent;
mod sink;
#[cfg(test)]
mod tests;
mod unread;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

use pace::Pace;
use recent::Recent;
use sink::Sink;
use unread::{Tail, Unread};

/// Most bytes moved at once: a pipe's default capacity.
const CHUNK: usize = 64 * 1024;
/// Size of the pipe of a process that fills one of the default size: the most that a user may ask for. The fewer times such a
/// process waits for room, the fewer switches between it, this program and the reader.
const LARGE_PIPE: usize = 1024 * 1024;
/// How many chunks are moved before others have their turn.
const TURN: usize = 16;

/// By how much a reader may be behind the process where others are not: so many bytes are remembered for it.
const LAG: usize = 1024 * 1024;

/// Bytes that a terminal may hold for its master, with room to spare: 64 KiB of flip buffers and a line discipline's 4 KiB.
const TERMINAL: usize = 128 * 1024;

/// What becomes of output, also of output that was handed to a reader: that one may fail with bytes on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    /// Without a reader the process waits, instead of losing output.
    pub(crate) block: bool,
    /// The same, if the last reader went with the engine, until there is one again.
    pub(crate) hold: bool,
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
    recent: Recent,
    /// Where readers were cut off who have not come back yet.
    cut_off: Vec<u64>,
    /// What the last reader has not taken, while it is held for the next one.
    unread: Option<Unread>,
    /// What a reader of an ended process may not have taken yet.
    tail: Option<Tail>,
    engine_is_away: bool,
    /// Since when readers wait for slower ones.
    pace: Option<Pace>,
    /// The only sink's pipe is full: wait for room there instead of for output.
    full: bool,
    /// Pipes can be spliced, terminals only read.
    spliceable: bool,
    /// So much comes that a large pipe is worth it.
    flows: bool,
    /// The process has ended: so many bytes at most are there for the sinks. Others may hold the other end and write on.
    left: Option<usize>,
    /// Nobody holds the other end any more.
    closed: bool,
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
            recent: Recent::default(),
            cut_off: Vec::new(),
            unread: None,
            tail: None,
            engine_is_away: false,
            pace: None,
            full: false,
            spliceable: !terminal,
            flows: false,
            left: None,
            closed: false,
        }
    }

    /// Adds a reader, who gets everything from byte `from` on, or as far back as there is; without a number, from now on, or
    /// what is held for it first. Returns the number of its first byte.
    pub(crate) fn attach(&mut self, pipe: OwnedFd, from: Option<u64>) -> u64 {
        // Not what a reader has left who went alone: nothing is told again.
        let unread = self.unread.take_if(|unread| unread.until.is_none()).map(|unread| unread.from);
        let next = from.or(unread).unwrap_or(self.position).clamp(self.first(), self.position);
        let mut sink = Sink::new(pipe, next);
        if unread == Some(next) && next < self.position {
            sink.gets_what_was_held();
        }
        if let Some(place) = self.cut_off.iter().position(|cut_off| Some(*cut_off) == from) {
            self.cut_off.swap_remove(place);
            if next < self.position {
                // It has not caught up: nobody waits for it.
                sink.fall_behind();
            }
        }
        self.sinks.push(sink);
        self.full = false;
        next
    }

    /// Changes what becomes of output. What is kept too much goes once no reader lacks it.
    pub(crate) fn retain(&mut self, retention: Retention) {
        self.retention = retention;
        if !retention.block && !retention.hold {
            self.unread = None;
            self.trim();
        }
        if retention.block && self.flows {
            self.flows = false;
            // It fails while more is in the pipe than fits; that much is for the reader who makes it flow.
            let _ = rustix::pipe::fcntl_setpipe_size(&self.source, CHUNK);
        }
    }

    /// The number of the first byte that is still there.
    fn first(&self) -> u64 {
        self.position - self.recent.len() as u64
    }

    /// How many bytes the process has written, as far as they were read.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// By how much a reader may be behind.
    fn most_lag(&self) -> usize {
        // Only what was held for a reader makes it lag more.
        let held = self.unread.is_some() || self.sinks.iter().any(|sink| sink.lag(self.position) > LAG);
        LAG.max(self.retention.keep).max(if held { unread::MOST } else { 0 })
    }

    /// What to wait for.
    pub(crate) fn interest(&self) -> Vec<(Side, BorrowedFd<'_>, PollFlags)> {
        let mut interest = Vec::with_capacity(1 + self.sinks.len());
        if self.listens() {
            interest.push((Side::Source, self.source.as_fd(), PollFlags::IN));
        }
        for sink in &self.sinks {
            let lags = self.full || sink.lag(self.position) > 0;
            // Without a flag the kernel still tells when the reader has gone.
            let flags = if lags { PollFlags::OUT } else { PollFlags::empty() };
            interest.push((Side::Sink, sink.as_fd(), flags));
        }
        interest
    }

    /// Whether output is waited for.
    fn listens(&self) -> bool {
        let waits = self.full || !self.somebody_has_all() || self.pace_deadline().is_some();
        !(self.waits_for_a_reader() || waits || self.closed)
    }

    /// Whether nothing is read of a process that runs as long as it has no reader.
    fn waits_for_a_reader(&self) -> bool {
        let waits = self.retention.block || self.unread.is_some();
        waits && self.sinks.is_empty() && self.left.is_none()
    }

    /// When to call [`Output::advance`] even if no descriptor has told anything: readers wait for slower ones, or the last one
    /// has gone.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let verdict = self.unread.and_then(|unread| unread.until);
        self.pace_deadline().into_iter().chain(verdict).min()
    }

    fn pace_deadline(&self) -> Option<Instant> {
        self.pace.map(|pace| pace.until).filter(|_| self.is_held_back())
    }

    /// Whether a reader, if there is any, has everything that was read.
    fn somebody_has_all(&self) -> bool {
        self.sinks.is_empty() || self.sinks.iter().any(|sink| sink.lag(self.position) == 0)
    }

    /// Whether a reader that has everything has to wait for others who have not.
    fn is_held_back(&self) -> bool {
        let most = self.most_lag() - CHUNK;
        let too_slow = |sink: &Sink| !sink.is_behind() && sink.lag(self.position) > most;
        self.somebody_has_all() && self.sinks.iter().any(too_slow)
    }

    /// Forgets readers who have gone.
    pub(crate) fn drop_dead_sinks(&mut self) {
        self.drop_sinks(|sink| polls(sink.as_fd(), PollFlags::ERR));
        self.full = false;
        self.trim();
    }

    /// Forgets those readers of whom that is true. What they have left unread waits for the next one, or may do so: of several
    /// who go together, from the first byte on that any of them lacks.
    fn drop_sinks(&mut self, has_gone: impl FnMut(&mut Sink) -> bool) {
        let gone: Vec<Sink> = self.sinks.extract_if(.., has_gone).collect();
        let Retention { block, hold, .. } = self.retention;
        let alone = self.sinks.is_empty();
        let holds = hold || (block && alone);
        if !holds {
            return;
        }
        for sink in gone {
            let left = unread::take_back(sink.as_fd());
            let from = sink.next() - left.len() as u64;
            self.put_back(from, &left);
            // One that took nothing of what was held for it did not come to stay.
            let waits = self.engine_is_away || (alone && (block || sink.held_from() == Some(from)));
            self.hold_from(from, waits);
        }
    }

    /// Remembers bytes again, of which some may be remembered still: the first has this number.
    fn put_back(&mut self, from: u64, bytes: &[u8]) {
        if let Ok(lacks @ 1..) = usize::try_from(self.first().saturating_sub(from)) {
            self.recent.put_before(&bytes[..lacks.min(bytes.len())]);
        }
    }

    fn hold_from(&mut self, from: u64, waits: bool) {
        let from = self.unread.map_or(from, |unread| unread.from.min(from));
        self.unread = Some(Unread::new(from, waits));
    }

    /// The engine has gone, and its readers with it: nobody who was cut off will come back, and what the others have left waits
    /// for the next engine's.
    pub(crate) fn engine_left(&mut self) -> Progress {
        self.engine_is_away = true;
        if let Some(unread) = &mut self.unread {
            unread.until = None;
        }
        self.drop_dead_sinks();
        if let Some(tail) = self.tail.take() {
            let bytes = tail.take();
            let from = self.position - bytes.len() as u64;
            self.put_back(from, &bytes);
            self.hold_from(from, true);
        }
        self.cut_off.clear();
        self.trim();
        self.progress()
    }

    /// There is an engine. One that has readers has never gone.
    pub(crate) fn engine_came(&mut self) -> Progress {
        self.engine_is_away = false;
        if !self.sinks.is_empty() {
            self.unread = None;
            self.trim();
        }
        self.progress()
    }

    /// Looks whether the last bytes of an ended process have been taken, which nothing tells.
    pub(crate) fn look_at_tail(&mut self) -> Progress {
        self.tail.take_if(|tail| tail.len() == 0);
        self.progress()
    }

    /// Gives up what the last reader has left if it has gone alone.
    fn judge_unread(&mut self) {
        let until = self.unread.and_then(|unread| unread.until);
        if until.is_some_and(|until| until <= Instant::now()) {
            self.unread = None;
            self.trim();
        }
    }

    /// The process has ended. Returns whether its sinks have everything already.
    pub(crate) fn end(&mut self) -> Progress {
        let held = if self.spliceable { rustix::io::ioctl_fionread(&self.source).ok() } else { None };
        self.left = Some(held.and_then(|held| usize::try_from(held).ok()).unwrap_or(TERMINAL));
        self.advance()
    }

    /// Bytes that are kept for readers of a process that has ended.
    pub(crate) fn held(&self) -> usize {
        let tail = self.tail.as_ref().map_or(0, Tail::len);
        if self.left == Some(0) { self.recent.len() + tail } else { 0 }
    }

    /// Gives up what is kept of a process that has ended.
    pub(crate) fn let_go(&mut self) -> Progress {
        self.retention.keep = 0;
        (self.unread, self.tail) = (None, None);
        self.cut_off.clear();
        self.trim();
        self.progress()
    }

    /// Moves what can be moved without waiting.
    pub(crate) fn advance(&mut self) -> Progress {
        self.judge_unread();
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
        let over = self.closed && self.sinks.is_empty() && self.recent.len() == 0 && self.tail.is_none();
        if over { Progress::Done } else { Progress::Open }
    }

    fn step(&mut self) -> Step {
        let awaited = self.unread.is_some() || !self.cut_off.is_empty();
        let remembers = self.recent.len() > 0 || self.retention.keep > 0 || awaited;
        match self.left {
            Some(0) if self.sinks.is_empty() => self.drain(),
            _ if self.sinks.len() == 1 && !remembers && self.spliceable => self.splice(),
            _ => self.copy(),
        }
    }

    /// Lets those sinks go that have everything that the process wrote.
    fn finish(&mut self) {
        if self.left == Some(0) {
            let (position, Retention { block, hold, .. }) = (self.position, self.retention);
            let done = self.sinks.extract_if(.., |sink| sink.lag(position) == 0);
            let tails = done.filter(|_| block || hold).filter_map(|sink| Tail::of(sink.as_fd()));
            self.tail = tails.max_by_key(Tail::len).or(self.tail.take());
            self.trim();
        }
    }

    /// Throws away what is written by those whom the process has left behind: nobody hears them any more.
    fn drain(&mut self) -> Step {
        let mut chunk = Box::new_uninit_slice(CHUNK);
        match rustix::io::read(&self.source, &mut *chunk) {
            Ok(([], _)) | Err(Errno::IO) => Step::Closed,
            Ok(_) | Err(Errno::INTR) => Step::Moved,
            Err(Errno::AGAIN) => Step::Wait,
            Err(_) => Step::Closed,
        }
    }

    fn took(&mut self, length: usize) {
        self.position += length as u64;
        self.left = self.left.map(|left| left.saturating_sub(length));
    }

    /// Makes the process's pipe large. Not where output stays in it without a reader: what is in it at the process's end is
    /// given up, and would be that much more.
    fn enlarge(&mut self) {
        if !self.flows && !self.retention.block && self.left.is_none() {
            self.flows = true;
            // Only a matter of speed: where the kernel does not permit it, the pipe stays as it is.
            let _ = rustix::pipe::fcntl_setpipe_size(&self.source, LARGE_PIPE);
        }
    }

    fn splice(&mut self) -> Step {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let most = self.left.unwrap_or(usize::MAX).min(16 * CHUNK);
        match splice(&self.source, None, self.sinks[0].as_fd(), None, most, flags) {
            Ok(0) => Step::Closed,
            Ok(length) => {
                self.took(length);
                self.sinks[0].took(length);
                if length >= CHUNK {
                    self.enlarge();
                }
                Step::Moved
            }
            Err(Errno::INTR) => Step::Moved,
            Err(Errno::AGAIN) => {
                // Either there is no output, or no room.
                self.full = polls(self.source.as_fd(), PollFlags::IN);
                if self.full { Step::Wait } else { Step::Empty }
            }
            Err(_) => {
                self.drop_sinks(|_| true);
                Step::Moved
            }
        }
    }

    fn copy(&mut self) -> Step {
        self.offer();
        if self.left == Some(0) || !self.somebody_has_all() {
            return Step::Wait;
        }
        if self.waits_for_a_reader() {
            return Step::Wait;
        }
        if self.is_held_back() && !self.lets_go_ahead() {
            return Step::Wait;
        }
        // Not filled with zeros: after a fork, the kernel copies each page that is written to.
        let mut chunk = Box::new_uninit_slice(self.left.unwrap_or(CHUNK).min(CHUNK));
        match rustix::io::read(&self.source, &mut *chunk) {
            // A terminal answers EIO when its last user has gone.
            Ok(([], _)) | Err(Errno::IO) => return Step::Closed,
            Ok((bytes, _)) => {
                self.make_room(bytes.len());
                self.recent.push(bytes);
                self.took(bytes.len());
            }
            Err(Errno::INTR) => return Step::Moved,
            Err(Errno::AGAIN) => return Step::Empty,
            Err(_) => return Step::Closed,
        }
        self.offer();
        Step::Moved
    }

    /// Whether those who wait go ahead of those they wait for, because these take too little.
    fn lets_go_ahead(&mut self) -> bool {
        let now = Instant::now();
        match self.pace {
            Some(pace) if now < pace.until => false,
            Some(pace) if pace.is_missed(self.position) => {
                let most = self.most_lag() - CHUNK;
                for sink in &mut self.sinks {
                    if sink.lag(self.position) > most {
                        sink.fall_behind();
                    }
                }
                self.pace = None;
                !self.is_held_back()
            }
            _ => {
                // As long as there is no output, nobody waits for anybody.
                let waits = polls(self.source.as_fd(), PollFlags::IN | PollFlags::HUP);
                self.pace = waits.then(|| Pace::from(now, self.position));
                false
            }
        }
    }

    /// Cuts those off for whom too much would have to be remembered with so many more bytes, and forgets what is too old.
    fn make_room(&mut self, length: usize) {
        let most = self.most_lag();
        let (sinks, cut_off, position) = (&mut self.sinks, &mut self.cut_off, self.position);
        sinks.retain(|sink| {
            let stays = sink.lag(position) + length <= most;
            if !stays {
                cut_off.push(sink.next());
            }
            stays
        });
        self.recent.shorten(self.wanted().min(most - length));
    }

    /// Gives every sink what it lacks.
    fn offer(&mut self) {
        let (first, position) = (self.first(), self.position);
        for sink in &mut self.sinks {
            sink.give(&self.recent, first, position);
        }
        self.drop_sinks(|sink| sink.has_gone());
        if self.sinks.iter().all(|sink| sink.lag(position) == 0) {
            self.pace = None;
        }
        self.trim();
    }

    /// Forgets what no sink needs and nobody wants to be kept.
    fn trim(&mut self) {
        self.recent.shorten(self.wanted());
    }

    /// How many of the last bytes are needed.
    fn wanted(&self) -> usize {
        let lag = self.sinks.iter().map(|sink| sink.lag(self.position)).max().unwrap_or(0);
        let came_after = |next: &u64| usize::try_from(self.position - next).unwrap_or(usize::MAX);
        let unread = self.unread.iter().map(|unread| &unread.from);
        let missed = self.cut_off.iter().chain(unread).map(came_after).max().unwrap_or(0);
        lag.max(self.retention.keep).max(missed.min(self.most_lag()))
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

/// Whether a descriptor is in one of these states right now.
fn polls(fd: BorrowedFd<'_>, states: PollFlags) -> bool {
    let mut poll = [rustix::event::PollFd::from_borrowed_fd(fd, states)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(rustix::event::poll(&mut poll, Some(&now)), Ok(1)) && poll[0].revents().intersects(states)
}

/// A pipe neither end of which blocks.
pub(crate) fn pipe_never_blocking() -> std::io::Result<(OwnedFd, OwnedFd)> {
    use rustix::pipe::PipeFlags;
    Ok(rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?)
}

/// A pipe whose given end does not block.
pub(crate) fn pipe_nonblocking(read_end: bool) -> std::io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(if read_end { &read } else { &write }, true)?;
    Ok((read, write))
}
