//! Clients that go away at each point of a conversation (row R5.02 of the campaigns): their process lives, nothing of them stays
//! open in the server, and others are answered.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use engine_tests::garden::{Garden, head};
use engine_tests::{Engine, PATIENCE, eventually, until, until_some};
use serde_json::json;

/// How long a process is waited for that may not have been heard of.
const UNHEARD: Duration = Duration::from_secs(2);

/// How a client goes away.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// It closes its socket, with whatever is in it unread.
    Closes,
    /// It says that it has said everything, and reads on for a while.
    SaysGoodbye,
    /// It resets its connection: TCP only.
    Resets,
}

/// How far a client comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Point {
    Connected,
    HalfALine,
    HalfAHead,
    NoBody,
    HalfABody,
    Asked,
    HeadRead,
    FirstMessageRead,
    OutputAskedFor,
    OutputOpen,
    OutputHalfRead,
    BothOutputsOpen,
    HalfAMessageSaid,
    InputSaid,
    InputClosed,
}

use Point::{
    Asked, BothOutputsOpen, Connected, FirstMessageRead, HalfABody, HalfAHead, HalfALine, HalfAMessageSaid,
    HeadRead, InputClosed, InputSaid, NoBody, OutputAskedFor, OutputHalfRead, OutputOpen,
};

const POINTS: [Point; 15] = [
    Connected,
    HalfALine,
    HalfAHead,
    NoBody,
    HalfABody,
    Asked,
    HeadRead,
    FirstMessageRead,
    OutputAskedFor,
    OutputOpen,
    OutputHalfRead,
    BothOutputsOpen,
    HalfAMessageSaid,
    InputSaid,
    InputClosed,
];

/// A connection of either kind.
enum Line {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Line {
    fn leave(self, manner: Manner) {
        match (self, manner) {
            (Line::Tcp(stream), Manner::Resets) => {
                rustix::net::sockopt::set_socket_linger(stream.as_fd(), Some(Duration::ZERO)).unwrap();
            }
            (Line::Unix(stream), Manner::SaysGoodbye) => {
                // The server may have gone before.
                let _ = stream.shutdown(Shutdown::Write);
                stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
                let _ = (&stream).read_to_end(&mut Vec::new());
            }
            _ => {}
        }
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Line::Unix(stream) => stream.read(buffer),
            Line::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Line::Unix(stream) => stream.write(bytes),
            Line::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A server of both kinds of connections, and a container.
struct Bed {
    engine: Engine,
    garden: Garden,
    port: u16,
    handle: String,
}

impl Bed {
    fn start() -> Self {
        let mut engine = Engine::new();
        let socket = engine.root().join("garden.sock");
        let socket = socket.to_str().unwrap();
        engine.start_server(&["--bind-socket", socket, "--bind-ip", "127.0.0.1", "--bind-port", "0"]);
        let port = until_some("the port in the log", || {
            let log = engine.log();
            let line = log.lines().find(|line| line.contains("listening for Garden's clients"))?;
            line.rsplit(':').next()?.trim().parse().ok()
        });
        let garden = engine.garden();
        let handle = garden.create(&engine.busybox(json!({})));
        Bed { engine, garden, port, handle }
    }

    fn connect(&self, manner: Manner) -> Line {
        match manner {
            Manner::Resets => {
                let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Line::Tcp(stream)
            }
            _ => Line::Unix(self.garden.connect()),
        }
    }

    /// Descriptors of the server.
    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.engine.server_pid())).unwrap().count()
    }

    /// A client of a process of this name that comes as far as this, and goes away.
    fn come_and_go(&self, id: &str, point: Point, manner: Manner) {
        let path = format!("/containers/{}/processes", self.handle);
        let body = json!({
            "id": id, "path": "sh",
            "args": ["-c", "seq 1 100; while read line; do test \"$line\" = end && exit 7; done; exec sleep 1000"],
        });
        let body = body.to_string();
        let request = head("POST", &path, &[], Some(body.len())) + &body;
        let sent = match point {
            Connected => 0,
            HalfALine => 10,
            HalfAHead => 40,
            NoBody => request.len() - body.len(),
            HalfABody => request.len() - body.len() / 2,
            _ => request.len(),
        };
        let mut messages = BufReader::new(self.connect(manner));
        messages.get_mut().write_all(&request.as_bytes()[..sent]).unwrap();
        let mut outputs = Vec::new();
        if point > Asked {
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                messages.read_line(&mut line).unwrap();
            }
        }
        if point > HeadRead {
            let mut line = String::new();
            messages.read_line(&mut line).unwrap();
            let first: serde_json::Value = serde_json::from_str(&line).unwrap();
            for (name, from) in [("stdout", OutputAskedFor), ("stderr", BothOutputsOpen)] {
                if point < from {
                    continue;
                }
                let mut output = self.connect(manner);
                let side = format!("{path}/{id}/attaches/{}/{name}", first["stream_id"].as_str().unwrap());
                output.write_all(head("GET", &side, &[], None).as_bytes()).unwrap();
                let read = match (name, point) {
                    (_, OutputAskedFor) => 0,
                    ("stdout", point) if point >= OutputHalfRead => 200,
                    _ => 20,
                };
                output.read_exact(&mut vec![0; read]).unwrap();
                outputs.push(output);
            }
        }
        let said = match point {
            HalfAMessageSaid => "{\"process_id\":\"p\",\"source\":0,\"da",
            InputSaid => "{\"source\":0,\"data\":\"some\\n\"}\n",
            InputClosed => "{\"source\":0,\"data\":\"some\\n\"}\n{\"source\":0}\n",
            _ => "",
        };
        messages.get_mut().write_all(said.as_bytes()).unwrap();
        messages.into_inner().leave(manner);
        for output in outputs {
            output.leave(manner);
        }
    }

    /// Ends a process that a client has left, if there is one, and asserts that it had gone on until then.
    fn end(&self, id: &str, point: Point, manner: Manner) {
        let attached = || self.garden.attach(&self.handle, id).ok();
        match point {
            Asked if matches!(manner, Manner::Resets) && eventually(UNHEARD, attached).is_none() => {
                // A reset may take with it what was not read yet.
            }
            Connected | HalfALine | HalfAHead | NoBody | HalfABody => {
                let unknown = self.garden.attach(&self.handle, id).unwrap_err();
                unknown.expect_error(404, "ProcessNotFoundError");
            }
            InputClosed => {
                // It has come to the end of its input, and goes on.
                let mut left = self.garden.attach(&self.handle, id).unwrap();
                left.kill();
                left.finish().expect(137);
            }
            _ => {
                let mut left = until_some("the process to be there", attached);
                left.input("\nend\n");
                left.finish().expect(7);
            }
        }
    }
}

/// Each point in each manner, 45 in all; a neighbour's conversation goes on meanwhile.
#[test]
fn clients_that_go_away_at_any_point_end_nothing_and_leave_nothing_open() {
    let bed = Bed::start();
    let mut neighbour = bed.garden.run(&bed.handle, &json!({ "path": "cat" })).unwrap();
    // Whatever is opened once, such as a pool's, is open from now on.
    bed.come_and_go("first", InputSaid, Manner::Closes);
    bed.end("first", InputSaid, Manner::Closes);
    let mut before = usize::MAX;
    until("the server to have closed what it opened", || {
        let now = bed.descriptors();
        let same = now == before;
        before = now;
        same
    });
    let mut slowest = Duration::ZERO;
    for manner in [Manner::Closes, Manner::SaysGoodbye, Manner::Resets] {
        for (number, point) in POINTS.into_iter().enumerate() {
            let id = format!("{manner:?}-{number}");
            bed.come_and_go(&id, point, manner);
            let asked = Instant::now();
            bed.garden.get("/ping").expect_done();
            slowest = slowest.max(asked.elapsed());
            bed.end(&id, point, manner);
            println!("ok    {manner:?} at {point:?}");
        }
    }
    println!("slowest ping {slowest:?}");
    // A second is what is asked for; a busy machine gets more.
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    until("the server to have closed what it opened", || bed.descriptors() <= before);
    neighbour.input("still here");
    neighbour.close_input();
    assert_eq!(neighbour.finish().expect(0).text(), "still here");
    bed.engine.finish();
}
