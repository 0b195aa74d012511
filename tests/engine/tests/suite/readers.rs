//! Several readers of one output: quick ones, idle ones, and ones that go away.

use std::io::Read;
use std::sync::Arc;

use engine_tests::session::{collect, script};
use engine_tests::{Engine, Gdn, PATIENCE, inside};
use gdn_client::{Client, ProcessEvent, ProcessStream};
use gdn_types::{AttachFrom, ContainerSpec, Handle, ProcessId, ProcessSpec};
use tokio::task::JoinHandle;

/// Far more than all buffers on the way together.
const MUCH: usize = 100 << 20;

/// Readers of one process.
const READERS: usize = 12;

/// A Weyl sequence: every byte value, and no period that buffers have.
fn bytes(length: usize) -> Vec<u8> {
    (0..length as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// What the process says first.
const HELLO: &str = "hello\n";

/// Everything that the process says.
fn words(length: usize) -> Arc<Vec<u8>> {
    Arc::new([HELLO.as_bytes(), &bytes(length)].concat())
}

/// A process that says hello, and the other words once it is told to, and ends with status 3.
fn speaker(engine: &Engine, handle: &Handle, words: &[u8]) -> ProcessSpec {
    let rest = &words[HELLO.len()..];
    std::fs::write(inside::path(engine.init_pid(handle.as_str()), "/tmp/rest"), rest).unwrap();
    let id = Some(ProcessId::parse("speaker").unwrap());
    ProcessSpec { id, ..script("echo hello; read go; cat /tmp/rest; exit 3") }
}

/// A connection of its own: what waits in another client's is no business of this one.
async fn connect(engine: &Engine) -> Client {
    Client::connect_unix(&engine.root().join("grpc.sock")).await.unwrap()
}

/// What one reader got of the words, each in its place.
#[derive(Debug, Default, PartialEq, Eq)]
struct Got {
    read: usize,
    lost: usize,
    gaps: usize,
}

/// Reads to the exit, by a task of its own.
fn read_all(mut process: ProcessStream, words: &Arc<Vec<u8>>) -> JoinHandle<Got> {
    let words = Arc::clone(words);
    let mut got = Got { lost: usize::try_from(process.stdout_first()).unwrap(), ..Got::default() };
    tokio::spawn(async move {
        loop {
            let event = tokio::time::timeout(PATIENCE, process.next()).await.expect("no silence").unwrap();
            match event.expect("an exit") {
                ProcessEvent::Stdout(chunk) => {
                    let place = got.read + got.lost;
                    assert!(words[place..].starts_with(&chunk), "other bytes at {place}");
                    got.read += chunk.len();
                }
                ProcessEvent::StdoutLost(lost) => {
                    got.lost += usize::try_from(lost).unwrap();
                    got.gaps += 1;
                }
                ProcessEvent::Exited(status) => {
                    assert_eq!(status.code(), 3);
                    return got;
                }
                other => panic!("{other:?}"),
            }
        }
    })
}

/// Row R5.04 of the campaigns: twelve readers, and one that is killed in the middle.
#[test]
fn readers_lose_nothing_when_another_is_killed_in_the_middle() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let words = words(MUCH);
    // Kept, so that everybody gets the greeting, whenever he comes.
    let spec = ProcessSpec { keep_output: 4096, ..speaker(&engine, &handle, &words) };
    let from = AttachFrom { stdout: Some(0), stderr: None };
    engine.with_client(async |client| {
        let run = client.run(&handle, spec).await.unwrap();
        let input = run.input();
        let mut readers = Vec::new();
        for _ in 1..READERS {
            let reader = connect(&engine).await.attach_from(&handle, run.id(), false, from).await.unwrap();
            readers.push(read_all(reader, &words));
        }
        readers.push(read_all(run, &words));
        let arguments = ["attach", "--from", "0", handle.as_str(), "speaker"];
        let mut killed = Gdn::start_unread(&engine.root(), arguments);
        let mut stdout = killed.take_stdout();
        let mut greeting = [0; HELLO.len()];
        stdout.read_exact(&mut greeting).unwrap();
        input.stdin("go\n").await.unwrap();
        let middle = tokio::task::spawn_blocking(move || {
            let mut some = vec![0; 256 << 10];
            stdout.read_exact(&mut some).unwrap();
            killed.signal(rustix::process::Signal::KILL);
            killed.finish();
            some
        });
        assert!(words[HELLO.len()..].starts_with(&middle.await.unwrap()));
        for reader in readers {
            assert_eq!(reader.await.unwrap(), Got { read: words.len(), lost: 0, gaps: 0 });
        }
    });
    engine.finish();
}

/// Invariant I8 of the campaigns.
#[test]
fn a_reader_that_does_not_read_holds_nobody_back_and_is_told_what_it_lost_and_where() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let words = words(32 << 20);
    engine.with_client(async |client| {
        let run = client.run(&handle, speaker(&engine, &handle, &words)).await.unwrap();
        let id = run.id().clone();
        let input = run.input();
        let other = connect(&engine).await;
        let idle = other.attach(&handle, &id, false).await.unwrap();
        let quick = read_all(run, &words);
        input.stdin("go\n").await.unwrap();
        assert_eq!(quick.await.unwrap(), Got { read: words.len(), lost: 0, gaps: 0 });
        client.wait(&handle, &id).await.unwrap();
        // The other begins to read only now.
        let got = read_all(idle, &words).await.unwrap();
        assert!(got.gaps > 0 && got.read > 0, "{got:?}");
        assert_eq!(got.read + got.lost, words.len(), "the end is there, and the gap is exact: {got:?}");
        // And who comes later is told how much there was.
        let late = other.attach(&handle, &id, false).await.unwrap();
        assert_eq!(late.stdout_first(), words.len() as u64);
        collect(late).await.unwrap().expect(3);
    });
    engine.finish();
}

/// Row R5.04 of the campaigns: a hundred readers, and others that come and go.
#[test]
fn a_hundred_readers_get_all_bytes_and_the_status_while_others_come_and_go() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let words = words(100_000);
    let spec = ProcessSpec { keep_output: 1 << 20, ..speaker(&engine, &handle, &words) };
    let from = AttachFrom { stdout: Some(0), stderr: None };
    engine.with_client(async |client| {
        let run = client.run(&handle, spec).await.unwrap();
        let (id, input) = (run.id().clone(), run.input());
        let mut readers = vec![read_all(run, &words)];
        for _ in 0..10 {
            let client = connect(&engine).await;
            for _ in 0..10 {
                readers.push(read_all(client.attach_from(&handle, &id, false, from).await.unwrap(), &words));
                drop(client.attach_from(&handle, &id, false, from).await.unwrap());
            }
        }
        input.stdin("go\n").await.unwrap();
        for _ in 0..10 {
            drop(client.attach_from(&handle, &id, false, from).await.unwrap());
        }
        for reader in readers {
            assert_eq!(reader.await.unwrap(), Got { read: words.len(), lost: 0, gaps: 0 });
        }
        let late = client.attach_from(&handle, &id, false, from).await.unwrap();
        assert_eq!(read_all(late, &words).await.unwrap().read, words.len(), "also after the exit");
    });
    engine.finish();
}
