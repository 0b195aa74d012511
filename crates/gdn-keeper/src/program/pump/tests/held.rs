//! Output that waits for a reader.

use super::*;

/// An output with a reader, and the process's end of it.
fn held(retention: Retention) -> (Output, OwnedFd, OwnedFd) {
    let (source, process) = pipe_nonblocking(true).unwrap();
    rustix::io::ioctl_fionbio(&process, true).unwrap();
    let mut output = Output::new(source, retention, false);
    let (reader, sink) = pipe_never_blocking().unwrap();
    output.attach(sink, None);
    (output, process, reader)
}

/// Everything that a reader gets who comes now and names no byte, and the number of its first one.
fn come_back(output: &mut Output) -> (u64, Vec<u8>) {
    let (reader, sink) = pipe_never_blocking().unwrap();
    let first = output.attach(sink, None);
    let mut got = Vec::new();
    loop {
        serve(output);
        let (bytes, at_end) = take_all(&reader);
        if bytes.is_empty() || at_end {
            got.extend(bytes);
            return (first, got);
        }
        got.extend(bytes);
    }
}

const HOLD: Retention = Retention { block: false, hold: true, keep: 0 };

#[test]
fn what_an_engine_that_died_had_not_taken_is_there_for_the_next_ones_reader() {
    // The kernel closes a dead engine's descriptors in any order.
    for reader_first in [true, false] {
        for ends_meanwhile in [false, true] {
            let (mut output, process, reader) = held(HOLD);
            rustix::io::write(&process, b"taken").unwrap();
            serve(&mut output);
            assert_eq!(take(&reader), b"taken");
            rustix::io::write(&process, b" on its way").unwrap();
            serve(&mut output);
            if reader_first {
                drop(reader);
                output.drop_dead_sinks();
                serve(&mut output);
                assert!(output.deadline().is_some(), "the engine may have gone as well");
                output.engine_left();
            } else {
                output.engine_left();
                drop(reader);
                output.drop_dead_sinks();
            }
            assert_eq!(output.deadline(), None, "nothing wakes the keeper by a clock");
            let rest = much(2 * LAG);
            let written = rustix::io::write(&process, &rest).unwrap();
            serve(&mut output);
            assert_eq!(rustix::io::write(&process, b"more"), Err(Errno::AGAIN), "the process waits");
            let process = (!ends_meanwhile).then_some(process);
            if process.is_none() {
                assert_eq!(output.end(), Progress::Open, "somebody will ask for it");
            }
            output.engine_came();
            serve(&mut output);
            let expected = [b" on its way".as_slice(), &rest[..written]].concat();
            let (first, got) = come_back(&mut output);
            assert!(first == 5 && got == expected);
            assert_eq!(output.recent.len(), 0);
            if process.is_none() {
                assert_eq!(output.look_at_tail(), Progress::Done, "it has all been said");
            }
        }
    }
}

#[test]
fn a_reader_that_leaves_an_engine_that_stays_holds_the_process_for_a_moment_only() {
    let (mut output, process, reader) = held(HOLD);
    rustix::io::write(&process, b"not taken").unwrap();
    serve(&mut output);
    drop(reader);
    output.drop_dead_sinks();
    let until = output.deadline().expect("it is waited for the verdict");
    assert!(until <= Instant::now() + unread::VERDICT);
    while output.deadline().is_some() {
        serve_to_rest(&mut output);
    }
    rustix::io::write(&process, b"thrown away").unwrap();
    serve(&mut output);
    assert_eq!(come_back(&mut output), (20, Vec::new()));
    // An engine that goes now takes no reader along who would come back.
    output.drop_dead_sinks();
    while output.deadline().is_some() {
        serve_to_rest(&mut output);
    }
    output.engine_left();
    for _ in 0..100 {
        assert_eq!(rustix::io::write(&process, &[0; 4096]).unwrap(), 4096, "nobody waits for anybody");
        serve(&mut output);
    }
}

#[test]
fn what_a_reader_had_not_taken_of_a_process_that_is_to_block_is_not_lost() {
    let (mut output, process, reader) = held(Retention { block: true, hold: false, keep: 0 });
    rustix::io::write(&process, b"taken, not taken").unwrap();
    serve(&mut output);
    let mut taken = [0; 5];
    rustix::io::read(&reader, &mut taken).unwrap();
    drop(reader);
    output.drop_dead_sinks();
    assert_eq!(output.deadline(), None);
    rustix::io::write(&process, b", later").unwrap();
    serve(&mut output);
    assert_eq!(come_back(&mut output), (5, b", not taken, later".to_vec()));
}

#[test]
fn much_that_was_not_taken_is_wholly_there_also_in_a_terminal() {
    for terminal in [false, true] {
        let (source, process) = pipe_nonblocking(true).unwrap();
        rustix::io::ioctl_fionbio(&process, true).unwrap();
        let mut output = Output::new(source, HOLD, terminal);
        let (reader, sink) = pipe_never_blocking().unwrap();
        rustix::pipe::fcntl_setpipe_size(&sink, LARGE_PIPE).unwrap();
        output.attach(sink, None);
        let (written, mut length) = (much(4 * LARGE_PIPE), 0);
        while let Ok(taken) = rustix::io::write(&process, &written[length..][..4096]) {
            length += taken;
            serve(&mut output);
        }
        output.engine_left();
        drop(reader);
        output.drop_dead_sinks();
        drop(process);
        output.end();
        let (first, got) = come_back(&mut output);
        assert!(first == 0 && got == written[..length], "{} of {length}", got.len());
        assert!(length > LARGE_PIPE);
    }
}

#[test]
fn the_last_words_outlive_an_engine_that_had_not_taken_them_and_nothing_outlives_one_that_had() {
    for taken in [false, true] {
        let (mut output, process, reader) = held(HOLD);
        rustix::io::write(&process, b"last words").unwrap();
        drop(process);
        assert_eq!(output.end(), Progress::Open);
        if taken {
            assert_eq!(take_all(&reader), (b"last words".to_vec(), true), "the end comes all the same");
            assert_eq!((output.look_at_tail(), output.held()), (Progress::Done, 0));
        } else {
            assert_eq!((output.look_at_tail(), output.held()), (Progress::Open, 10));
            drop(reader);
            assert_eq!(output.engine_left(), Progress::Open);
            output.engine_came();
            assert_eq!(come_back(&mut output), (0, b"last words".to_vec()));
            assert_eq!(output.look_at_tail(), Progress::Done);
        }
    }
}

#[test]
fn of_several_readers_the_one_that_lacked_most_says_what_is_held() {
    let (mut output, process, first) = held(HOLD);
    let (second, sink) = pipe_never_blocking().unwrap();
    output.attach(sink, None);
    rustix::io::write(&process, b"0123456789").unwrap();
    serve(&mut output);
    let mut taken = [0; 4];
    rustix::io::read(&first, &mut taken).unwrap();
    rustix::io::read(&second, &mut [0; 7]).unwrap();
    // One is seen to go before the other, and before the engine is.
    drop(first);
    output.drop_dead_sinks();
    serve(&mut output);
    drop(second);
    output.engine_left();
    assert_eq!(come_back(&mut output), (4, b"456789".to_vec()));
}

#[test]
fn a_new_engine_that_is_quicker_than_the_news_of_the_old_ones_end_changes_nothing() {
    let (mut output, process, reader) = held(HOLD);
    rustix::io::write(&process, b"held").unwrap();
    serve(&mut output);
    drop(reader);
    output.engine_came();
    output.engine_left();
    output.engine_came();
    assert_eq!((output.deadline(), output.listens()), (None, false));
    assert_eq!(come_back(&mut output), (0, b"held".to_vec()));
}

#[test]
fn a_reader_that_takes_nothing_of_what_was_held_for_it_leaves_it_to_the_next() {
    let (mut output, process, reader) = held(HOLD);
    rustix::io::write(&process, b"held").unwrap();
    serve(&mut output);
    drop(reader);
    output.engine_left();
    output.engine_came();
    for _ in 0..2 {
        let (reader, sink) = pipe_never_blocking().unwrap();
        assert_eq!(output.attach(sink, None), 0);
        serve(&mut output);
        drop(reader);
        output.drop_dead_sinks();
        assert_eq!(output.deadline(), None, "it waits without end");
    }
    assert_eq!(come_back(&mut output), (0, b"held".to_vec()));
}

#[test]
fn a_lost_connection_of_an_engine_that_goes_on_holds_nothing() {
    let (mut output, process, reader) = held(HOLD);
    output.engine_left();
    output.engine_came();
    for _ in 0..100 {
        assert_eq!(rustix::io::write(&process, &[7; 4096]).unwrap(), 4096);
        serve(&mut output);
        assert_eq!(take_all(&reader).0.len(), 4096);
        assert_eq!(output.recent.len(), 0);
    }
}

#[test]
fn who_comes_right_after_a_reader_that_went_alone_is_told_nothing_again() {
    let (mut output, process, reader) = held(HOLD);
    rustix::io::write(&process, b"not taken").unwrap();
    serve(&mut output);
    drop(reader);
    output.drop_dead_sinks();
    let (newcomer, sink) = pipe_never_blocking().unwrap();
    assert_eq!(output.attach(sink, None), 9);
    rustix::io::write(&process, b"new").unwrap();
    while output.deadline().is_some() {
        serve_to_rest(&mut output);
    }
    assert_eq!(take_all(&newcomer), (b"new".to_vec(), false));
    assert_eq!(output.recent.len(), 0);
}
