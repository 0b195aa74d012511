//! What readers get of an output, without a keeper.

use super::*;
use rustix::pipe::PipeFlags;

mod held;

const THROW_AWAY: Retention = Retention { block: false, hold: false, keep: 0 };

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
fn who_fills_a_pipe_gets_a_larger_one_unless_output_is_to_stay_in_it() {
    for (block, keep, large) in [(false, 0, LARGE_PIPE), (true, 0, CHUNK), (false, 1, CHUNK)] {
        let (source, process) = pipe_nonblocking(true).unwrap();
        let (reader, sink) = pipe_nonblocking(false).unwrap();
        let mut output = Output::new(source, Retention { block, hold: false, keep }, false);
        output.attach(sink, None);
        for (written, length, size) in [(1, CHUNK - 1, CHUNK), (2, CHUNK, large), (3, 1, large)] {
            rustix::io::write(&process, &vec![written; length]).unwrap();
            output.advance();
            assert_eq!(take(&reader), vec![written; length]);
            assert_eq!(rustix::pipe::fcntl_getpipe_size(&process).unwrap(), size, "{block} {keep} {written}");
        }
        output.retain(Retention { block: true, hold: false, keep });
        assert_eq!(rustix::pipe::fcntl_getpipe_size(&process).unwrap(), CHUNK, "{block} {keep}");
    }
}

#[test]
fn a_process_that_is_to_block_waits_also_behind_much_output() {
    let (source, process) = pipe_nonblocking(true).unwrap();
    rustix::io::ioctl_fionbio(&process, true).unwrap();
    let (reader, sink) = pipe_nonblocking(false).unwrap();
    let mut output = Output::new(source, Retention { block: true, hold: false, keep: 0 }, false);
    output.attach(sink, None);
    rustix::io::write(&process, &vec![1; CHUNK]).unwrap();
    output.advance();
    assert_eq!(take(&reader).len(), CHUNK);
    drop(reader);
    output.drop_dead_sinks();
    assert_eq!(rustix::io::write(&process, &vec![2; 8 * CHUNK]).unwrap(), CHUNK, "the rest waits");
    output.advance();
    assert_eq!(rustix::io::write(&process, b"3"), Err(Errno::AGAIN));
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
        let mut output = Output::new(source, Retention { block, hold: false, keep: 0 }, false);
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
    let mut output = Output::new(source, Retention { block: false, hold: false, keep: 8 }, false);
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
    let mut output = Output::new(source, Retention { block: true, hold: false, keep: 1 << 20 }, false);
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
    let kept = Retention { block: false, hold: false, keep: 1 };
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

/// Serves an output for as long as the keeper would have something to do for it, also by the clock.
fn serve_to_rest(output: &mut Output) {
    loop {
        serve(output);
        let Some(until) = output.deadline() else { return };
        let rest = until.saturating_duration_since(Instant::now());
        let rest = rustix::event::Timespec { tv_sec: 0, tv_nsec: rest.subsec_nanos().into() };
        let interest = output.interest();
        let mut polls: Vec<_> = interest
            .iter()
            .map(|(_, fd, flags)| rustix::event::PollFd::from_borrowed_fd(*fd, *flags))
            .collect();
        rustix::event::poll(&mut polls, Some(&rest)).unwrap();
        drop(polls);
        drop(interest);
        if output.advance() == Progress::Done {
            return;
        }
    }
}

/// What is there to be read, and whether the end of the pipe is among it.
fn take_all(fd: &OwnedFd) -> (Vec<u8>, bool) {
    rustix::io::ioctl_fionbio(fd, true).unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
    loop {
        match rustix::io::read(fd, &mut buffer) {
            Ok(0) => return (bytes, true),
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            Err(Errno::AGAIN) => return (bytes, false),
            Err(errno) => panic!("read a pipe: {errno}"),
        }
    }
}

fn is_cut_off(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd).unwrap().st_mode & 0o7777 == crate::protocol::CUT_OFF
}

/// Bytes without a period that buffers have.
fn much(length: usize) -> Vec<u8> {
    (0..length as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[test]
fn a_reader_that_does_not_read_holds_others_back_no_longer_than_patience_lasts_and_learns_what_it_lost() {
    let (source, process) = pipe_nonblocking(true).unwrap();
    rustix::io::ioctl_fionbio(&process, true).unwrap();
    let mut output = Output::new(source, THROW_AWAY, false);
    let (quick, sink) = pipe_nonblocking(false).unwrap();
    output.attach(sink, None);
    let (idle, sink) = pipe_nonblocking(false).unwrap();
    output.attach(sink, None);
    let written = much(5 * LAG);
    let (mut rest, mut got) = (&written[..], Vec::new());
    while got.len() < written.len() {
        if let Ok(length) = rustix::io::write(&process, &rest[..rest.len().min(CHUNK)]) {
            rest = &rest[length..];
        }
        serve_to_rest(&mut output);
        got.extend(take_all(&quick).0);
        assert!(output.recent.len() <= LAG);
    }
    assert!(got == written);

    let (before, at_end) = take_all(&idle);
    assert!(at_end && is_cut_off(&idle) && !is_cut_off(&quick));
    assert!(written.starts_with(&before));
    let (back, sink) = pipe_nonblocking(false).unwrap();
    let first = output.attach(sink, Some(before.len() as u64));
    assert_eq!(first, (written.len() - LAG) as u64, "as much as is remembered");
    drop(process);
    output.end();
    let mut after = Vec::new();
    loop {
        serve(&mut output);
        let (bytes, at_end) = take_all(&back);
        after.extend(bytes);
        if at_end {
            break;
        }
    }
    assert!(after == written[written.len() - LAG..]);
    assert!(!is_cut_off(&back), "it has caught up, and this is the end");
    assert_eq!(output.advance(), Progress::Done);
}

#[test]
fn a_reader_that_is_slow_but_keeps_a_pace_is_waited_for() {
    let (source, process) = pipe_nonblocking(true).unwrap();
    rustix::io::ioctl_fionbio(&process, true).unwrap();
    let mut output = Output::new(source, THROW_AWAY, false);
    let (quick, sink) = pipe_nonblocking(false).unwrap();
    output.attach(sink, None);
    let (slow, sink) = pipe_nonblocking(false).unwrap();
    output.attach(sink, None);
    let written = much(5 * LAG);
    let (mut rest, mut got_quick, mut got_slow) = (&written[..], Vec::new(), Vec::new());
    let mut held_back = 0;
    while got_slow.len() < written.len() {
        if let Ok(length) = rustix::io::write(&process, &rest[..rest.len().min(CHUNK)]) {
            rest = &rest[length..];
        }
        serve(&mut output);
        got_quick.extend(take_all(&quick).0);
        held_back += u32::from(output.deadline().is_some());
        if output.deadline().is_some() || rest.is_empty() {
            got_slow.extend(take(&slow));
        }
    }
    assert!(got_quick == written && got_slow == written && held_back > 10);
}

#[test]
fn the_end_does_not_wait_for_readers_that_do_not_read() {
    let (source, process) = pipe_nonblocking(true).unwrap();
    let mut output = Output::new(source, THROW_AWAY, false);
    let (quick, sink) = pipe_nonblocking(false).unwrap();
    output.attach(sink, None);
    let (idle, sink) = pipe_nonblocking(false).unwrap();
    output.attach(sink, None);
    let mut written = Vec::new();
    for round in 0..4 {
        let chunk = vec![round; 50_000];
        rustix::io::write(&process, &chunk).unwrap();
        written.extend(chunk);
        serve(&mut output);
        assert_eq!(take(&quick).len(), 50_000);
    }
    drop(process);
    output.end();
    serve(&mut output);
    assert_eq!(take(&quick), b"", "the end");
    let mut got = Vec::new();
    loop {
        let (bytes, at_end) = take_all(&idle);
        got.extend(bytes);
        if at_end {
            break;
        }
        serve(&mut output);
    }
    assert!(got == written && !is_cut_off(&idle));
}

#[test]
fn what_is_remembered_for_a_reader_that_was_cut_off_can_be_given_up() {
    let (source, process) = pipe_nonblocking(true).unwrap();
    rustix::io::ioctl_fionbio(&process, true).unwrap();
    let mut output = Output::new(source, THROW_AWAY, false);
    let (quick, sink) = pipe_nonblocking(false).unwrap();
    output.attach(sink, None);
    let (idle, sink) = pipe_nonblocking(false).unwrap();
    output.attach(sink, None);
    while output.cut_off.is_empty() {
        let _full = rustix::io::write(&process, &[7; 4096]);
        serve_to_rest(&mut output);
        take_all(&quick);
    }
    drop(idle);
    serve(&mut output);
    assert!(output.recent.len() > 0);
    assert_eq!((output.engine_left(), output.recent.len()), (Progress::Open, 0));
}
