//! Several engines, several servers, several clients at once.

use std::process::Stdio;
use std::time::Duration;

use engine_tests::session::{program, script};
use engine_tests::{Engine, Gdn, inside, until};
use gdn_types::{ContainerSpec, ErrorKind, Handle, ImageRef};
use rustix::process::Signal;

/// Clients that race for one handle.
const RACERS: usize = 64;

/// A container of a run of its own, which ends when its standard input does.
fn embedded(engine: &Engine, handle: &str) -> Gdn {
    let arguments = ["run", "--rm", "-i", "--handle", handle, "--image", engine.image(), "--", "cat"];
    let run = Gdn::start_with_input(&engine.root(), arguments, Stdio::piped());
    until("the embedded engine's container", || engine.gdn(["list", "-q"]).text().contains(handle));
    run
}

#[test]
fn engines_side_by_side_do_not_touch_each_other() {
    let (one, mut other) = (Engine::start(), Engine::start());
    let (third, fourth) = (Engine::new(), Engine::new());
    let (in_one, in_other) = (one.create(&[]), other.create(&[]));
    let mut in_third = embedded(&third, "third");
    let in_fourth = embedded(&fourth, "fourth");
    let (init_one, init_third) = (one.init_pid(&in_one), third.init_pid("third"));
    let (init_other, init_fourth) = (other.init_pid(&in_other), fourth.init_pid("fourth"));

    in_fourth.signal(Signal::KILL);
    other.kill_server();
    in_fourth.finish().expect_status(137);
    assert!(inside::lives(init_fourth) && inside::lives(init_other));
    other.start_server(&["--destroy-containers-on-startup"]);
    assert_eq!(other.handles(), Vec::<String>::new());
    other.finish();
    fourth.finish();

    assert_eq!(one.init_pid(&in_one), init_one);
    assert_eq!(third.init_pid("third"), init_third);
    one.shell(&in_one, "true").expect_status(0);
    drop(in_third.take_stdin());
    in_third.finish().expect_status(0);
    third.expect_nothing_left();
    one.finish();
}

#[test]
fn a_second_server_on_a_root_is_refused_and_the_first_goes_on() {
    let engine = Engine::start();
    let handle = engine.create(&[]);
    let second = engine.gdn(["server"]).expect_status(1);
    let first = format!("process {}", engine.server_pid());
    for word in [engine.root().to_str().unwrap(), "another engine", &first] {
        assert!(second.stderr.contains(word), "{word:?} not in {}", second.stderr);
    }
    engine.shell(&handle, "true").expect_status(0);
    engine.finish();
}

/// Conformance: A2
#[test]
fn of_many_creates_of_one_handle_one_succeeds_and_its_container_runs() {
    let engine = Engine::start();
    let image = engine.image().to_owned();
    let handle = Handle::parse("wanted").unwrap();
    let spec =
        ContainerSpec { handle: Some(handle), image: ImageRef::uri(image), ..ContainerSpec::default() };
    let outcomes = engine.with_client(async |client| {
        let racer = || {
            let (client, spec) = (client.clone(), spec.clone());
            tokio::spawn(async move { client.create(spec).await })
        };
        let racers: Vec<_> = (0..RACERS).map(|_| racer()).collect();
        let mut outcomes = Vec::new();
        for racer in racers {
            outcomes.push(racer.await.unwrap());
        }
        outcomes
    });
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for error in lost.into_iter().map(Result::unwrap_err) {
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{}", error.report());
        assert!(error.message().contains("wanted"), "{}", error.message());
    }
    engine.shell("wanted", "true").expect_status(0);
    assert_eq!(engine.handles(), ["wanted"]);
    engine.finish();
}

#[test]
fn a_port_without_certificates_is_refused() {
    let engine = Engine::new();
    engine.gdn(["server", "--grpc-listen", "127.0.0.1:0"]).expect_status(2).expect_error("--tls-cert");
    assert!(!engine.root().exists(), "a refused server made its root");
    let missing = engine.scratch().join("missing.pem");
    let missing = missing.to_str().unwrap();
    let files = ["--tls-cert", missing, "--tls-key", missing, "--tls-client-ca", missing];
    let arguments = ["server", "--grpc-listen", "127.0.0.1:0"];
    engine.gdn(arguments.into_iter().chain(files)).expect_status(1).expect_error(missing);
}

/// Whoever is root in a container can stop what is on its way to a program there.
#[test]
fn a_container_that_stops_every_process_holds_up_only_itself() {
    /// Starts to try: one is stopped on its way after a few of them.
    const STARTS: usize = 60;
    let mut engine = Engine::start();
    let (hostile, neighbour) = (engine.create(&[]), engine.create(&[]));
    engine.with_client(async |client| {
        let handle = Handle::parse(&hostile).unwrap();
        client.run(&handle, script("while :; do kill -STOP -1; done")).await.unwrap();
        for _ in 0..STARTS {
            let start = client.run(&handle, program(&["true"]));
            if tokio::time::timeout(Duration::from_secs(2), start).await.is_err() {
                break;
            }
        }
    });
    engine.shell(&neighbour, "true").expect_status(0);

    engine.kill_server();
    engine.start_server(&[]);
    engine.shell(&neighbour, "true").expect_status(0);
    engine.gdn(["destroy", &hostile]).expect_status(0);
    assert_eq!(engine.handles(), [neighbour]);
    engine.finish();
}
