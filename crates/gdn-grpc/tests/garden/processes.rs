//! Run and Attach.

use gdn_proto::garden::run_request::Message as Say;
use gdn_proto::garden::run_response::Message as Told;
use gdn_proto::{garden, status};
use gdn_types::ErrorKind;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::world::{Engine, eventually, script, soon};

/// One Run as a client has it.
struct Running {
    say: mpsc::Sender<garden::RunRequest>,
    told: Streaming<garden::RunResponse>,
}

/// All that a Run said to its end.
#[derive(Default)]
struct Heard {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    lost: u64,
    exited: Option<garden::ExitStatus>,
}

impl Running {
    async fn start(engine: &Engine, text: &str) -> Self {
        let (say, requests) = mpsc::channel(4);
        say.send(script("a", "p", text)).await.unwrap();
        let mut told = engine.client().await.run(ReceiverStream::new(requests)).await.unwrap().into_inner();
        let started = garden::RunStarted { process_id: "p".into() };
        assert_eq!(told.message().await.unwrap().unwrap().message, Some(Told::Started(started)));
        Running { say, told }
    }

    async fn say(&self, message: Say) {
        self.say.send(garden::RunRequest { message: Some(message) }).await.unwrap();
    }

    async fn hear_all(&mut self) -> Heard {
        let mut heard = Heard::default();
        while let Some(response) = soon(self.told.message()).await.unwrap() {
            assert!(heard.exited.is_none(), "a message after the exit");
            match response.message.unwrap() {
                Told::Stdout(output) => {
                    assert_eq!(output.offset, heard.stdout.len() as u64);
                    assert_eq!(output.data.is_empty(), output.lost > 0);
                    heard.lost += output.lost;
                    heard.stdout.extend_from_slice(&output.data);
                }
                Told::Stderr(output) => {
                    assert_eq!(output.offset, heard.stderr.len() as u64);
                    heard.stderr.extend_from_slice(&output.data);
                }
                Told::Exited(status) => heard.exited = Some(status),
                Told::Started(_) => panic!("started twice"),
            }
        }
        heard
    }
}

async fn engine() -> Engine {
    let engine = Engine::start().await;
    engine.container("a").await;
    engine
}

#[tokio::test]
async fn all_output_comes_before_the_exit() {
    let engine = engine().await;
    let mut run = Running::start(&engine, "head -c 3000000 /dev/zero; echo oops >&2; exit 7").await;
    let heard = run.hear_all().await;
    assert_eq!(heard.stdout.len(), 3_000_000);
    assert_eq!(heard.stderr, b"oops\n");
    assert_eq!(heard.exited.unwrap().exit_code, 7);
}

#[tokio::test]
async fn a_client_that_was_cut_off_is_told_how_much_it_lost_and_hears_the_end() {
    let engine = engine().await;
    let mut run = Running::start(&engine, "echo before; chmod 601 /dev/stdout; exit 5").await;
    let heard = run.hear_all().await;
    assert_eq!((&heard.stdout[..], heard.lost), (&b"before\n"[..], crate::host::LOST));
    assert_eq!(heard.exited.unwrap().exit_code, 5);
}

#[tokio::test]
async fn input_goes_in_whole_and_ends_when_the_client_says_so() {
    let engine = engine().await;
    let mut run = Running::start(&engine, "cat").await;
    let sent: Vec<u8> = (0..2_000_000_u32).map(|n| (n % 253) as u8).collect();
    let say = run.say.clone();
    let copy = sent.clone();
    let speaker = tokio::spawn(async move {
        for chunk in copy.chunks(100_000) {
            let message = Some(Say::Stdin(chunk.to_vec().into()));
            say.send(garden::RunRequest { message }).await.unwrap();
        }
        say.send(garden::RunRequest { message: Some(Say::CloseStdin(garden::CloseStdin {})) }).await.unwrap();
    });
    let heard = run.hear_all().await;
    soon(speaker).await.unwrap();
    assert!(heard.stdout == sent);
    assert_eq!(heard.exited.unwrap().exit_code, 0);
}

#[tokio::test]
async fn a_client_that_stops_speaking_still_hears_and_input_stays_open() {
    let engine = engine().await;
    let Running { say, told } =
        Running::start(&engine, "(sleep 0.1; echo late); read line; echo got $line").await;
    // The end of the request stream, without close_stdin.
    drop(say);
    let mut run = Running { say: mpsc::channel(1).0, told };
    let first = soon(run.told.message()).await.unwrap().unwrap();
    assert!(matches!(first.message, Some(Told::Stdout(output)) if &output.data[..] == b"late\n"));
    drop(run);

    let heard = attach_and_say(&engine, "more\n").await;
    assert_eq!(heard, ("got more\n".to_owned(), 0));
}

/// Attaches with standard input, says one line, and hears the rest.
async fn attach_and_say(engine: &Engine, line: &str) -> (String, i32) {
    use garden::attach_request::Message as Say;
    use garden::attach_response::Message as Told;
    let (say, requests) = mpsc::channel(4);
    let start =
        garden::AttachStart { handle: "a".into(), process_id: "p".into(), stdin: true, ..Default::default() };
    say.send(garden::AttachRequest { message: Some(Say::Start(start)) }).await.unwrap();
    say.send(garden::AttachRequest { message: Some(Say::Stdin(line.to_owned().into())) }).await.unwrap();
    let mut told = engine.client().await.attach(ReceiverStream::new(requests)).await.unwrap().into_inner();
    let mut stdout = String::new();
    while let Some(response) = soon(told.message()).await.unwrap() {
        match response.message.unwrap() {
            Told::Stdout(output) => stdout.push_str(std::str::from_utf8(&output.data).unwrap()),
            Told::Exited(status) => return (stdout, status.exit_code),
            Told::Started(_) | Told::Stderr(_) => {}
        }
    }
    panic!("no exit after {stdout:?}");
}

#[tokio::test]
async fn an_attachment_is_told_with_which_byte_it_begins() {
    use garden::attach_request::Message as Say;
    use garden::attach_response::Message as Told;
    let engine = engine().await;
    let _run = Running::start(&engine, "read line").await;
    let start = garden::AttachStart {
        handle: "a".into(),
        process_id: "p".into(),
        stdout_from: Some(5),
        ..Default::default()
    };
    let request = garden::AttachRequest { message: Some(Say::Start(start)) };
    let (say, requests) = mpsc::channel(1);
    say.send(request).await.unwrap();
    let mut told = engine.client().await.attach(ReceiverStream::new(requests)).await.unwrap().into_inner();
    match soon(told.message()).await.unwrap().unwrap().message.unwrap() {
        Told::Started(started) => {
            assert_eq!((started.stdout_first, started.stderr_first), (5 + crate::host::LOST, 0));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_client_may_still_speak_when_its_process_has_ended() {
    let engine = engine().await;
    let mut run = Running::start(&engine, "exit 3").await;
    assert_eq!(run.hear_all().await.exited.unwrap().exit_code, 3);
    // A call that was reset takes no more than the queue holds; and too many such calls end the connection.
    for _ in 0..100 {
        run.say(Say::Stdin("too late\n".into())).await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_end_the_process() {
    let engine = engine().await;
    let file = engine.dir.path().join("survived");
    let run = Running::start(&engine, &format!("read line; echo $line > {}", file.display())).await;
    drop(run);
    let heard = attach_and_say(&engine, "yes\n").await;
    assert_eq!(heard.1, 0);
    assert_eq!(std::fs::read(&file).unwrap(), b"yes\n");
}

#[tokio::test]
async fn signals_work_after_the_end_of_input() {
    let engine = engine().await;
    let mut run =
        Running::start(&engine, "trap 'echo usr1; exit 3' USR1; echo ready; while :; do sleep 0.05; done")
            .await;
    let ready = soon(run.told.message()).await.unwrap().unwrap();
    assert!(matches!(ready.message, Some(Told::Stdout(_))));
    run.say(Say::CloseStdin(garden::CloseStdin {})).await;
    run.say(Say::Signal(10)).await;
    let mut rest = Vec::new();
    let mut exit = None;
    while let Some(response) = soon(run.told.message()).await.unwrap() {
        match response.message.unwrap() {
            Told::Stdout(output) => rest.extend_from_slice(&output.data),
            Told::Exited(status) => exit = Some(status.exit_code),
            Told::Started(_) | Told::Stderr(_) => {}
        }
    }
    assert_eq!((rest.as_slice(), exit), (&b"usr1\n"[..], Some(3)));
}

#[tokio::test]
async fn a_signal_overtakes_input_that_the_process_does_not_read() {
    let engine = engine().await;
    let mut run = Running::start(&engine, "exec sleep 1000").await;
    for _ in 0..8 {
        run.say(Say::Stdin(vec![0; 100_000].into())).await;
    }
    run.say(Say::Signal(9)).await;
    let heard = run.hear_all().await;
    assert_eq!(heard.exited.unwrap().how, Some(garden::exit_status::How::Signal(9)));
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_process_back() {
    let engine = engine().await;
    let file = engine.dir.path().join("done");
    let mut run =
        Running::start(&engine, &format!("head -c 100000000 /dev/zero; touch {}", file.display())).await;
    // The windows, pipes and queues hold a few MB: a process that could write 100 MB is not held back at all.
    for _ in 0..20 {
        assert!(matches!(soon(run.told.message()).await.unwrap().unwrap().message, Some(Told::Stdout(_))));
    }
    assert!(!file.exists());
    assert!(run.count_the_rest().await > 90_000_000);
    eventually("the process went on", || file.exists()).await;
}

#[tokio::test]
async fn input_goes_on_while_the_client_does_not_read() {
    let engine = engine().await;
    let file = engine.dir.path().join("heard");
    let text = format!("head -c 100000000 /dev/zero & read line; echo $line > {}; wait", file.display());
    let mut run = Running::start(&engine, &text).await;
    for _ in 0..20 {
        assert!(matches!(soon(run.told.message()).await.unwrap().unwrap().message, Some(Told::Stdout(_))));
    }
    // From here on nothing is read, and the process's output is held back.
    run.say(Say::Stdin("more\n".into())).await;
    eventually("the process heard", || std::fs::read(&file).is_ok_and(|said| said == b"more\n")).await;
    assert!(run.count_the_rest().await > 90_000_000);
}

#[tokio::test]
async fn a_process_that_has_ended_is_told_wholly_and_at_once() {
    let engine = engine().await;
    let mut run = Running::start(&engine, "exit 9").await;
    assert_eq!(run.hear_all().await.exited.unwrap().exit_code, 9);
    let heard = attach_and_say(&engine, "nobody reads this\n").await;
    assert_eq!(heard, (String::new(), 9));
}

impl Running {
    async fn count_the_rest(&mut self) -> usize {
        let mut bytes = 0;
        while let Some(response) = soon(self.told.message()).await.unwrap() {
            if let Some(Told::Stdout(output)) = response.message {
                bytes += output.data.len();
            }
        }
        bytes
    }
}

#[tokio::test]
async fn what_cannot_be_done_ends_the_call_with_its_kind() {
    let engine = engine().await;
    let mut run = Running::start(&engine, "exec sleep 1000").await;
    run.say(Say::Resize(garden::WindowSize { columns: 1, rows: 1 })).await;
    let refused = soon(run.told.message()).await.unwrap_err();
    assert_eq!(status::from_status(&refused).kind(), ErrorKind::FailedPrecondition);
    let detail = status::detail(&refused).unwrap();
    assert_eq!((detail.handle.as_str(), detail.process_id.as_str()), ("a", "p"));
    let mut client = engine.client().await;
    let kill = garden::SignalRequest { handle: "a".into(), process_id: "p".into(), signal: 9 };
    client.signal(kill).await.unwrap();
    let wait = garden::WaitRequest { handle: "a".into(), process_id: "p".into() };
    assert_eq!(client.wait(wait).await.unwrap().into_inner().status.unwrap().exit_code, 137);
}

#[tokio::test]
async fn a_run_that_cannot_start_is_an_error_of_the_call() {
    let engine = engine().await;
    let mut client = engine.client().await;
    let mut missing = script("a", "p", "");
    if let Some(Say::Start(start)) = &mut missing.message {
        start.process.as_mut().unwrap().path = "/missing".into();
    }
    let refused = client.run(tokio_stream::iter([missing])).await.unwrap_err();
    assert_eq!(status::from_status(&refused).kind(), ErrorKind::ExecutableNotFound);
    let nobody = client.run(tokio_stream::iter([script("nobody", "p", "")])).await.unwrap_err();
    assert_eq!(status::from_status(&nobody).kind(), ErrorKind::ContainerNotFound);
    let headless = garden::RunRequest { message: Some(Say::Stdin("x".into())) };
    let refused = client.run(tokio_stream::iter([headless])).await.unwrap_err();
    assert_eq!(status::from_status(&refused).kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn a_stop_of_the_engine_ends_the_conversation_and_not_the_process() {
    let engine = engine().await;
    let mut run = Running::start(&engine, "exec sleep 1000").await;
    engine.shutdown.cancel();
    let ended = soon(run.told.message()).await.unwrap_err();
    assert_eq!(status::from_status(&ended).kind(), ErrorKind::Unavailable);
    drop(run);
    soon(engine.served).await.unwrap().unwrap();
    let (handle, id) = (gdn_types::Handle::parse("a").unwrap(), gdn_types::ProcessId::parse("p").unwrap());
    engine.gardener.signal(&handle, &id, gdn_types::Signal::KILL).await.unwrap();
    let status = soon(engine.gardener.wait(&handle, &id)).await.unwrap();
    assert_eq!(status, gdn_types::ExitStatus::Signal(9));
}
