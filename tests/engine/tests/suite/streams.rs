//! Standard input and output, terminals, and exit statuses.

use std::fs::File;
use std::io::{Read, Write};

use engine_tests::{Engine, Gdn, images, inside, until};
use gdn_client::{Client, ProcessEvent, ProcessStream};
use gdn_types::{Handle, ProcessSpec, WindowSize};
use rustix::process::Signal;

#[test]
fn binary_input_arrives_unchanged() {
    let engine = Engine::start();
    let bytes: Vec<u8> = (0u32..10 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let path = engine.scratch().join("input");
    std::fs::write(&path, &bytes).unwrap();
    let handle = engine.create(&[]);
    let input = File::open(&path).unwrap();
    let ran = Gdn::start_with_input(&engine.root(), ["exec", "-i", &handle, "cat"], input.into());
    let ran = ran.finish().expect_status(0);
    assert_eq!(ran.stdout.len(), bytes.len());
    assert_eq!(images::sha256(&ran.stdout), images::sha256(&bytes));
    let input = File::open(&path).unwrap();
    let sum =
        Gdn::start_with_input(&engine.root(), ["run", "-i", engine.image(), "--", "sha256sum"], input.into());
    assert!(sum.finish().expect_status(0).text().starts_with(&images::sha256(&bytes)));
    engine.finish();
}

#[test]
fn without_interactive_input_ends_at_once() {
    let engine = Engine::start();
    let ran = engine.gdn(["run", engine.image(), "--", "cat"]).expect_status(0);
    assert!(ran.stdout.is_empty());
    engine.finish();
}

#[test]
fn a_reader_that_starts_late_gets_a_hundred_mebibytes_whole() {
    let engine = Engine::start();
    let handle = engine.create(&[]);
    let busybox = std::fs::read("/bin/busybox").unwrap();
    let copies = (100 << 20) / busybox.len() + 1;
    let script = format!("i=0; while [ $i -lt {copies} ]; do cat /bin/busybox; i=$((i+1)); done; exit 3");
    let mut run = Gdn::start_unread(&engine.root(), ["exec", &handle, "sh", "-c", &script]);
    let mut stdout = run.take_stdout();
    // A pipe holds 64 KiB: from then on everybody waits for this reader.
    until("the pipe to be full", || rustix::io::ioctl_fionread(&stdout).unwrap() >= 60_000);
    let mut bytes = Vec::new();
    stdout.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), copies * busybox.len());
    assert!(bytes.chunks(busybox.len()).all(|chunk| chunk == busybox), "the output was changed on the way");
    run.finish().expect_status(3);
    engine.finish();
}

#[test]
fn output_and_errors_stay_apart() {
    let engine = Engine::start();
    let handle = engine.create(&[]);
    let ran = engine.shell(&handle, "echo out; echo err >&2").expect_status(0);
    assert_eq!((ran.text().as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
    engine.finish();
}

#[test]
fn a_reader_that_goes_away_ends_the_process() {
    let engine = Engine::start();
    let handle = engine.create(&[]);
    let mut run = Gdn::start_unread(&engine.root(), ["exec", &handle, "yes"]);
    let mut first = [0; 2];
    run.take_stdout().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"y\n");
    let ended = run.finish();
    assert!(ended.status != 0, "yes cannot succeed");
    until("yes to be gone", || engine.shell(&handle, "pidof yes").status != 0);
    engine.finish();
}

#[test]
fn every_exit_status_and_signal_is_passed_on() {
    let engine = Engine::start();
    let handle = engine.create(&[]);
    for status in [0, 1, 2, 42, 125, 126, 127, 128, 200, 254, 255] {
        engine.shell(&handle, &format!("exit {status}")).expect_status(status);
    }
    // Not QUIT: busybox's shell ignores it.
    for signal in [1, 2, 6, 9, 10, 11, 13, 15] {
        engine.shell(&handle, &format!("kill -{signal} $$")).expect_status(128 + signal);
    }
    engine.finish();
}

#[test]
fn signals_of_the_command_reach_the_process() {
    let engine = Engine::start();
    let handle = engine.create(&[]);
    for (name, signal) in
        [("TERM", Signal::TERM), ("INT", Signal::INT), ("USR1", Signal::USR1), ("HUP", Signal::HUP)]
    {
        let script = format!("trap 'exit 9' {name}; echo ready; while :; do sleep 0.05; done");
        let mut run = Gdn::start_unread(&engine.root(), ["exec", &handle, "sh", "-c", &script]);
        let mut ready = [0; 6];
        run.take_stdout().read_exact(&mut ready).unwrap();
        run.signal(signal);
        run.finish().expect_status(9);
    }
    engine.finish();
}

/// Reads until the text has come.
async fn read_until(process: &mut ProcessStream, wanted: &str) -> String {
    let mut text = String::new();
    while !text.contains(wanted) {
        match process.next().await.unwrap() {
            Some(ProcessEvent::Stdout(bytes)) => text.push_str(&String::from_utf8_lossy(&bytes)),
            other => panic!("waited for {wanted:?}: {other:?} after {text:?}"),
        }
    }
    text
}

async fn terminal(client: &Client, handle: &Handle, init: u32) {
    let spec = ProcessSpec {
        path: "sh".into(),
        tty: Some(WindowSize { columns: 99, rows: 33 }),
        ..ProcessSpec::default()
    };
    let mut shell = client.run(handle, spec).await.unwrap();
    let input = shell.input();
    input.stdin("stty -echo; tty; stty size; echo first-$((1+1))\n").await.unwrap();
    let seen = read_until(&mut shell, "first-2").await;
    assert!(seen.contains("/dev/pts/") && seen.contains("33 99"), "{seen:?}");
    input.resize(WindowSize { columns: 120, rows: 40 }).await.unwrap();
    input.stdin("stty size; echo second-$((1+1))\n").await.unwrap();
    let seen = read_until(&mut shell, "second-2").await;
    assert!(seen.contains("40 120"), "{seen:?}");
    // Control-C interrupts what runs in the foreground, not the shell.
    input.stdin("echo waits-$((1+1)); sleep 1000\n").await.unwrap();
    read_until(&mut shell, "waits-2").await;
    // Until then the key would reach the shell.
    until("sleep to have the terminal", || inside::has_foreground(init, "sleep"));
    input.stdin(&b"\x03"[..]).await.unwrap();
    input.stdin("echo interrupted-$?; exit 5\n").await.unwrap();
    read_until(&mut shell, "interrupted-").await;
    while let Some(event) = shell.next().await.unwrap() {
        if let ProcessEvent::Exited(status) = event {
            return assert_eq!(status.code(), 5);
        }
    }
    panic!("the shell ended without a status");
}

#[test]
fn a_terminal_has_a_size_that_can_change_and_keys_that_interrupt() {
    let engine = Engine::start();
    let handle = Handle::parse(&engine.create(&[])).unwrap();
    let init = engine.init_pid(handle.as_str());
    engine.with_client(async |client| terminal(&client, &handle, init).await);
    let ran = engine.gdn(["exec", "-t", handle.as_str(), "sh", "-c", "tty; echo err >&2"]).expect_status(0);
    assert_eq!(
        ran.text().replace('\r', ""),
        "/dev/pts/0\nerr\n".replace("/dev/pts/0", first_line(&ran.text()))
    );
    assert!(ran.text().starts_with("/dev/pts/"), "{}", ran.text());
    engine.finish();
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[test]
fn input_can_be_written_bit_by_bit() {
    let engine = Engine::start();
    let handle = engine.create(&[]);
    let arguments = ["exec", "-i", &handle, "sh", "-c", "while read line; do echo got $line; done; echo end"];
    let mut run = Gdn::start_with_input(&engine.root(), arguments, std::process::Stdio::piped());
    let mut stdin = run.take_stdin();
    stdin.write_all(b"one\n").unwrap();
    stdin.write_all(b"two\n").unwrap();
    drop(stdin);
    assert_eq!(run.finish().expect_status(0).text(), "got one\ngot two\nend\n");
    engine.finish();
}
