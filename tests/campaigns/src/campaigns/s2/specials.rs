//! S2.07: what is no file, or has no end.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use engine_tests::{PATIENCE, inside, until};
use gdn_types::Handle;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::super::lab::{destroy, marked, of, stream_out};
use crate::{Bed, Stage, Target, Verdict};

/// By how much the server may grow with a copy of anything, in KiB.
const GROWTH: u64 = 64 * 1024;

pub(super) fn files(stage: &mut Stage<'_>) {
    let cases = [
        ("a fifo that nobody writes to", "mkfifo /tmp/x", "/tmp/x"),
        ("a socket", "syslogd -O /tmp/log; while ! [ -S /dev/log ]; do usleep 1000; done", "/dev/log"),
        ("a device without an end", "true", "/dev/zero"),
        ("a device that makes terminals", "true", "/dev/ptmx"),
        ("the kernel's memory", "true", "/proc/kcore"),
        ("the kernel's log", "true", "/proc/kmsg"),
        ("a sparse file of 1 TiB", "truncate -s 1T /tmp/x", "/tmp/x"),
        ("a file that grows without end", "echo x > /tmp/x; while :; do echo x >> /tmp/x; done &", "/tmp/x"),
        ("the memory of the copy itself", "true", "/proc/self/mem"),
        (
            "a directory of all that",
            "mkdir /tmp/x; cd /tmp/x; mkfifo f; ln -s /dev/zero z; ln -s /proc/kcore k; ln -s . loop",
            "/tmp/x",
        ),
    ];
    for (name, prepare, path) in cases {
        stage.case(name, |bed| {
            let handle = bed.create(of(""));
            // What it starts goes on: the shell's outputs would keep the process open.
            bed.inside(&handle).shell("", &format!("{{ {prepare}\n}} > /dev/null 2>&1 < /dev/null"));
            let beside = processes(bed, &handle);
            let verdict = ends(bed, &handle, path);
            // Whoever gave up the stream leaves nobody behind who goes on.
            until("the copy's process to end", || processes(bed, &handle) <= beside);
            destroy(bed, &handle);
            verdict
        });
    }
    stage.control("a fifo opened as if it were a file", |bed| {
        let fifo = marked(bed, "s2.07-control").join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let (sender, receiver) = mpsc::channel();
        let reader = fifo.clone();
        let thread = std::thread::spawn(move || sender.send(fs::read(reader)));
        let waits = receiver.recv_timeout(Duration::from_secs(1)).is_err();
        release(&fifo);
        drop(thread.join());
        Verdict::held_unless(waits, || "the reader waited until somebody wrote".into())
    });
}

fn release(fifo: &Path) {
    fs::write(fifo, "").unwrap();
}

fn processes(bed: &Bed, handle: &Handle) -> usize {
    inside::processes_beside(bed.engine().init_pid(handle.as_str())).len()
}

/// The copy comes to an end, or brings more than anybody asked for and can be given up; and the server does not keep it.
fn ends(bed: &Bed, handle: &Handle, path: &str) -> Verdict {
    let before = most_memory(bed);
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        scope.spawn(move || sender.send(stream_out(bed, handle, "", path).map(|bytes| bytes.len())));
        match receiver.recv_timeout(PATIENCE) {
            Ok(_) => {
                let grown = most_memory(bed).saturating_sub(before);
                Verdict::held_unless(grown > GROWTH, || format!("the server grew by {grown} KiB"))
            }
            Err(_) => {
                // So that the thread ends.
                destroy(bed, handle);
                Verdict::Escaped(format!("the copy did not end within {PATIENCE:?}"))
            }
        }
    })
}

/// The most memory that the server has had, in KiB.
fn most_memory(bed: &Bed) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", bed.engine().server_pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
