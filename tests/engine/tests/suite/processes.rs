//! What a process is started with.

use engine_tests::Engine;
use gdn_client::ProcessEvent;
use gdn_types::{Handle, ProcessSpec, Rlimits};

#[test]
fn environment_user_and_directory_are_as_asked() {
    let engine = Engine::start();
    let handle = engine.create(&["--env", "OF_CONTAINER=one", "--env", "BOTH=container"]);
    let exec = |options: &[&str], script: &str| {
        let words = ["exec"].iter().chain(options).copied().chain([handle.as_str(), "sh", "-c", script]);
        engine.gdn(words.collect::<Vec<_>>()).expect_status(0).text()
    };
    let said =
        exec(&["--env", "OF_PROCESS=two", "--env", "BOTH=process"], "echo $OF_CONTAINER $OF_PROCESS $BOTH");
    assert_eq!(said, "one two process\n");
    assert_eq!(exec(&[], "id -u; pwd; echo $HOME $USER"), "0\n/root\n/root root\n");
    assert_eq!(
        exec(&["--user", "alice"], "id -u; id -g; pwd; echo $HOME $USER"),
        "1000\n1000\n/home/alice\n/home/alice alice\n"
    );
    assert_eq!(exec(&["--user", "1000:0"], "id -u; id -g"), "1000\n0\n");
    assert_eq!(exec(&["--user", "4321"], "id -u"), "4321\n");
    assert_eq!(
        exec(&["--user", "alice", "--dir", "/home/alice/new/deep"], "pwd; touch x && echo mine"),
        "/home/alice/new/deep\nmine\n"
    );
    engine.finish();
}

#[test]
fn limits_of_a_process_are_its_own() {
    let engine = Engine::start();
    let handle = Handle::parse(&engine.create(&[])).unwrap();
    let spec = ProcessSpec {
        path: "sh".into(),
        args: vec!["-c".into(), "ulimit -n; ulimit -c; ulimit -f".into()],
        rlimits: Rlimits { nofile: Some(77), core: Some(0), fsize: Some(1 << 20), ..Rlimits::default() },
        ..ProcessSpec::default()
    };
    let said = engine.with_client(async |client| {
        let mut process = client.run(&handle, spec).await.unwrap();
        let mut said = Vec::new();
        while let Some(event) = process.next().await.unwrap() {
            match event {
                ProcessEvent::Stdout(bytes) | ProcessEvent::Stderr(bytes) => said.extend_from_slice(&bytes),
                ProcessEvent::Exited(status) => assert_eq!(status.code(), 0),
                lost => panic!("{lost:?}"),
            }
        }
        String::from_utf8(said).unwrap()
    });
    // The shell counts file sizes in blocks of 512 bytes.
    assert_eq!(said, "77\n0\n2048\n");
    engine.finish();
}

#[test]
fn a_process_can_be_named_found_and_signalled() {
    let engine = Engine::start();
    let handle = engine.create(&[]);
    let mut run = engine.begin(["exec", "--process", "sleeper", &handle, "sleep", "1000"]);
    engine_tests::until("the process to be known", || engine.inspect(&handle)["process_ids"][0] == "sleeper");
    engine.gdn(["exec", "--process", "sleeper", &handle, "true"]).expect_status(125).expect_error("sleeper");
    assert!(run.runs());
    let follower = engine.begin(["attach", &handle, "sleeper"]);
    engine.gdn(["kill", "--signal", "USR2", &handle, "sleeper"]).expect_status(0);
    run.finish().expect_status(140);
    let followed = follower.finish();
    assert!([140, 125].contains(&followed.status), "{}", followed.stderr);
    engine.gdn(["kill", &handle, "nobody"]).expect_error("nobody");
    engine.finish();
}
