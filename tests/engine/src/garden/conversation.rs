//! Run and Attach: a connection of messages, and one for each output.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Answer, Garden, head};

/// A conversation with a process.
#[derive(Debug)]
pub struct Conversation {
    messages: BufReader<UnixStream>,
    /// The process's name.
    pub process: String,
    /// The number of the conversation.
    pub stream: String,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

/// What a process printed and how it ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exit status, or the error that was told in its place; `EOF` when the connection ended without either.
    pub status: Result<i64, String>,
    /// Standard output; empty when it was not opened.
    pub stdout: Vec<u8>,
    /// Standard error; empty when it was not opened.
    pub stderr: Vec<u8>,
}

impl Conversation {
    pub(super) fn begin(
        garden: &Garden,
        handle: &str,
        method: &str,
        process: &str,
        body: &[u8],
        heard: bool,
    ) -> Result<Self, Answer> {
        let path = format!("/containers/{handle}/processes{process}");
        let mut connection = garden.connect();
        let length = (method == "POST").then_some(body.len());
        let head = head(method, &path, &[("Content-Type", "application/json")], length);
        connection.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut messages = BufReader::new(connection);
        let mut answer = Answer::read_head(&mut messages);
        if !(200..300).contains(&answer.status) {
            let length: usize = answer.header("content-length").unwrap().parse().unwrap();
            answer.body.resize(length, 0);
            messages.read_exact(&mut answer.body).unwrap();
            return Err(answer);
        }
        assert_eq!(answer.status, if method == "POST" { 201 } else { 200 });
        expect_stream(&answer);
        let first = document(&mut messages).expect("a first message");
        let text = |name: &str| first[name].as_str().expect("a first message has two names").to_owned();
        assert_eq!(first.as_object().unwrap().len(), 2, "{first}");
        let (process, stream) = (text("process_id"), text("stream_id"));
        let mut conversation = Conversation { messages, process, stream, stdout: None, stderr: None };
        if heard {
            conversation.stdout = Some(conversation.output(garden, handle, "stdout"));
            conversation.stderr = Some(conversation.output(garden, handle, "stderr"));
        }
        Ok(conversation)
    }

    /// Opens one of the outputs, and reads it to its end beside.
    pub fn output(&self, garden: &Garden, handle: &str, name: &str) -> JoinHandle<Vec<u8>> {
        let mut output = self.open(garden, handle, name);
        thread::spawn(move || {
            let mut bytes = Vec::new();
            output.read_to_end(&mut bytes).expect("an output ends by an end of file");
            bytes
        })
    }

    /// Opens one of the outputs.
    pub fn open(&self, garden: &Garden, handle: &str, name: &str) -> BufReader<UnixStream> {
        let (process, stream) = (&self.process, &self.stream);
        let path = format!("/containers/{handle}/processes/{process}/attaches/{stream}/{name}");
        let mut connection = garden.connect();
        connection.write_all(head("GET", &path, &[], None).as_bytes()).unwrap();
        let mut reader = BufReader::new(connection);
        let answer = Answer::read_head(&mut reader);
        assert_eq!(answer.status, 200);
        expect_stream(&answer);
        reader
    }

    /// Says something.
    pub fn say(&mut self, mut message: Value) {
        message["process_id"] = json!(self.process);
        let text = message.to_string() + "\n";
        self.messages.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Writes to the process's standard input.
    pub fn input(&mut self, text: &str) {
        self.say(json!({ "source": 0, "data": text }));
    }

    /// Ends the process's standard input.
    pub fn close_input(&mut self) {
        self.say(json!({ "source": 0 }));
    }

    /// Asks the process to end.
    pub fn terminate(&mut self) {
        self.say(json!({ "signal": 0 }));
    }

    /// Ends the process.
    pub fn kill(&mut self) {
        self.say(json!({ "signal": 1 }));
    }

    /// Changes the size of the process's terminal.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.say(json!({ "tty": { "window_size": { "columns": columns, "rows": rows } } }));
    }

    /// Writes to the process's standard input until nobody takes more of it.
    ///
    /// # Panics
    /// When there seems to be no end of it.
    pub fn overflow(&self) {
        let connection = self.messages.get_ref();
        connection.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        let piece = json!({ "process_id": self.process, "source": 0, "data": "x".repeat(64 << 10) });
        let piece = piece.to_string() + "\n";
        let taken = (0..1000).take_while(|_| (&*connection).write_all(piece.as_bytes()).is_ok()).count();
        assert!(taken < 1000, "{taken} pieces of 64 KiB were taken");
    }

    /// Goes away without a word.
    pub fn leave(self) {
        // The server may have closed already.
        let _ = self.messages.get_ref().shutdown(Shutdown::Both);
    }

    /// Waits for the end of the process, and then for that of its outputs.
    pub fn finish(mut self) -> Finished {
        let status = match document(&mut self.messages) {
            None => Err("EOF".to_owned()),
            Some(last) => {
                assert_eq!(last["process_id"].as_str(), Some(&*self.process), "{last}");
                match (last["exit_status"].as_i64(), last["error"].as_str()) {
                    (Some(status), None) => Ok(status),
                    (None, Some(error)) => Err(error.to_owned()),
                    _ => panic!("{last} tells neither a status nor an error"),
                }
            }
        };
        assert!(document(&mut self.messages).is_none(), "something follows the end");
        let joined = |output: Option<JoinHandle<Vec<u8>>>| {
            output.map(|output| output.join().unwrap()).unwrap_or_default()
        };
        Finished { status, stdout: joined(self.stdout), stderr: joined(self.stderr) }
    }
}

impl Finished {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Asserts the exit status.
    #[track_caller]
    pub fn expect(self, status: i64) -> Self {
        assert_eq!(self.status, Ok(status), "{} {}", self.text(), self.errors());
        self
    }
}

/// What the usual client insists on before it takes a connection for a stream.
fn expect_stream(answer: &Answer) {
    assert_ne!(answer.header("connection"), Some("close"), "{answer:?}");
    let length = answer.header("content-length").or(answer.header("transfer-encoding"));
    assert!(length.is_some(), "{answer:?}");
}

/// The next message; none at the end of file.
fn document(messages: &mut BufReader<UnixStream>) -> Option<Value> {
    let mut line = String::new();
    let read = messages.read_line(&mut line).expect("the connection ends by an end of file, not by a reset");
    if read == 0 {
        return None;
    }
    assert!(line.ends_with('\n'), "{line:?} is no whole message");
    Some(serde_json::from_str(&line).expect("a message is a document"))
}
