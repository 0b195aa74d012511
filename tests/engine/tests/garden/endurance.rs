//! Much output, and many streams on which nothing happens, for a long time (B10, idle streams).
//!
//! By default a little of each; `GDN_ENDURANCE_SECONDS=600` makes 1 GiB of output beside 1,000 idle streams for ten minutes.

use std::fs;
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use engine_tests::{Engine, eventually, garden::Garden, until};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use sha2::{Digest, Sha256};

/// How much of everything.
struct Amounts {
    seconds: u64,
    streams: usize,
    mebibytes: u64,
}

/// Streams of one process.
const STREAMS_EACH: usize = 50;

/// What all streams together may cost in memory.
const MEMORY_KIB: u64 = 64 * 1024;

fn amounts() -> Amounts {
    match std::env::var("GDN_ENDURANCE_SECONDS").ok().and_then(|text| text.parse().ok()) {
        Some(seconds) => Amounts { seconds, streams: 1000, mebibytes: 1024 },
        None => Amounts { seconds: 1, streams: 2 * STREAMS_EACH, mebibytes: 16 },
    }
}

/// A stream that nobody reads, much output and idle streams: every byte of the output arrives, others are answered, and what
/// the server holds stays small and goes with its clients.
#[test]
fn much_output_beside_idle_streams_arrives_whole_and_costs_little() {
    let amounts = amounts();
    raise_file_limit();
    let engine = Engine::start();
    let (garden, server) = (engine.garden(), engine.server_pid());
    let handle = garden.create(&engine.busybox(json!({})));
    let shell = |script: &str| json!({ "path": "sh", "args": ["-c", script] });
    // What the first calls leave behind is there already when it is measured.
    garden.shell(&handle, "head -c 4194304 /dev/zero").expect(0);
    let descriptors = descriptors_of(server);
    forget_peak(server);
    let idle = status_kib(server, "VmHWM:");

    let unread = garden.run_unheard(&handle, &shell("yes")).unwrap();
    let never_read = unread.open(&garden, &handle, "stdout");
    let mut streams = Vec::new();
    let mut processes = Vec::new();
    for _ in 0..amounts.streams / STREAMS_EACH {
        // Its end is told to all who are attached.
        let process = garden.run_unheard(&handle, &shell("trap 'exit 7' TERM; while :; do sleep 1; done"));
        let process = process.unwrap();
        for _ in 0..STREAMS_EACH {
            let stream = garden.attach_unheard(&handle, &process.process).unwrap();
            let outputs = ["stdout", "stderr"].map(|name| stream.open(&garden, &handle, name));
            streams.push((stream, outputs));
        }
        processes.push(process);
    }

    let slowest = thread::scope(|scope| {
        let pings = scope.spawn(|| slowest_ping(&garden, amounts.seconds));
        let script = format!(
            "head -c {} /dev/urandom >/tmp/much; sha256sum </tmp/much >&2; cat /tmp/much; rm /tmp/much",
            amounts.mebibytes << 20
        );
        let mut output = garden.run_unheard(&handle, &shell(&script)).unwrap();
        let (length, hash) = hash(output.open(&garden, &handle, "stdout"));
        let mut said = String::new();
        output.open(&garden, &handle, "stderr").read_to_string(&mut said).unwrap();
        output.close_input();
        output.finish().expect(0);
        assert_eq!(length, amounts.mebibytes << 20);
        assert_eq!(said.split(' ').next(), Some(&*hash));
        pings.join().unwrap()
    });
    let peak = status_kib(server, "VmHWM:");
    println!("the slowest empty call took {slowest:?}; memory rose from {idle} to {peak} KiB at most");
    assert!(peak <= idle + MEMORY_KIB, "memory rose from {idle} to {peak} KiB");

    for process in &mut processes {
        process.terminate();
    }
    for (stream, outputs) in streams {
        stream.finish().expect(7);
        for mut output in outputs {
            assert_eq!(output.read(&mut [0]).unwrap(), 0, "an output of nothing has an end");
        }
    }
    for process in processes {
        process.finish().expect(7);
    }
    drop(never_read);
    unread.leave();
    until("the descriptors of the clients to be closed", || descriptors_of(server) <= descriptors);
    engine.finish();
}

/// Makes empty calls for so long, and tells how long the longest took.
fn slowest_ping(garden: &Garden, seconds: u64) -> Duration {
    let mut slowest = Duration::ZERO;
    eventually(Duration::from_secs(seconds), || {
        let start = Instant::now();
        garden.get("/ping").expect_done();
        slowest = slowest.max(start.elapsed());
        None::<()>
    });
    slowest
}

/// How long it is, and its hash as `sha256sum` tells it.
fn hash(mut stream: impl Read) -> (u64, String) {
    let (mut length, mut hash, mut piece) = (0, Sha256::new(), vec![0; 256 * 1024]);
    loop {
        let read = stream.read(&mut piece).unwrap();
        if read == 0 {
            let text = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            return (length, text);
        }
        hash.update(&piece[..read]);
        length += read as u64;
    }
}

fn descriptors_of(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Has the kernel forget how large a process was once.
fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

/// A line of a process's status, in KiB.
fn status_kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Every stream has three connections, whose ends are open here.
fn raise_file_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}
