//! A strict little client of the Garden API over HTTP: blocking, written from the protocol's description alone, sharing no
//! code with the server.
//!
//! It insists on what clients in the field rely on: the bytes of heads and documents, which length a head names, and that a
//! stream ends by an end of file and never by a reset.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Engine;
use crate::wait::PATIENCE;

mod conversation;

pub use conversation::{Conversation, Finished};

/// A client of one server. Each call has a connection of its own.
#[derive(Clone, Debug)]
pub struct Garden {
    socket: PathBuf,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, without the marks of chunks.
    pub body: Vec<u8>,
}

impl Garden {
    /// A client of the server that listens on this socket.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Garden { socket: socket.into() }
    }

    /// The server's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A new connection.
    pub fn connect(&self) -> UnixStream {
        let connection = UnixStream::connect(&self.socket).expect("the server listens");
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection.set_write_timeout(Some(PATIENCE)).unwrap();
        connection
    }

    /// Sends these bytes, and tells everything that comes until the end of file.
    pub fn raw(&self, request: &[u8]) -> Vec<u8> {
        let mut connection = self.connect();
        connection.write_all(request).unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).expect("the answer ends by an end of file");
        answer
    }

    /// A call with a body of any kind, as the usual client makes it.
    pub fn call(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let mut connection = self.connect();
        let head = head(method, path, &[("Connection", "close")], Some(body.len()));
        connection.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut reader = BufReader::new(connection);
        let answer = Answer::read(&mut reader);
        assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
        assert_eq!(reader.read(&mut [0]).expect("an end of file"), 0, "something follows the answer");
        answer
    }

    /// A call without a body.
    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, b"")
    }

    /// A call with a document.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, body.to_string().as_bytes())
    }

    /// A call with a document.
    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.call("PUT", path, body.to_string().as_bytes())
    }

    /// A call without a body.
    pub fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, b"")
    }

    /// Creates a container and answers with its handle.
    #[track_caller]
    pub fn create(&self, spec: &Value) -> String {
        let created = self.post("/containers", spec).expect(200).json();
        created["Handle"].as_str().expect("the answer to a create names the handle").to_owned()
    }

    /// What the server tells about a container.
    #[track_caller]
    pub fn info(&self, handle: &str) -> Value {
        self.get(&format!("/containers/{handle}/info")).expect(200).json()
    }

    /// Destroys a container.
    #[track_caller]
    pub fn destroy(&self, handle: &str) {
        self.delete(&format!("/containers/{handle}")).expect_done();
    }

    /// Starts a process and opens its outputs.
    ///
    /// # Errors
    /// The answer, when it is none of a stream.
    pub fn run(&self, handle: &str, spec: &Value) -> Result<Conversation, Answer> {
        Conversation::begin(self, handle, "POST", "", spec.to_string().as_bytes(), true)
    }

    /// Starts a process without opening its outputs.
    ///
    /// # Errors
    /// As [`Garden::run`].
    pub fn run_unheard(&self, handle: &str, spec: &Value) -> Result<Conversation, Answer> {
        Conversation::begin(self, handle, "POST", "", spec.to_string().as_bytes(), false)
    }

    /// Attaches to a process and opens its outputs.
    ///
    /// # Errors
    /// As [`Garden::run`].
    pub fn attach(&self, handle: &str, process: &str) -> Result<Conversation, Answer> {
        Conversation::begin(self, handle, "GET", &format!("/{process}"), b"", true)
    }

    /// Attaches to a process without opening its outputs.
    ///
    /// # Errors
    /// As [`Garden::run`].
    pub fn attach_unheard(&self, handle: &str, process: &str) -> Result<Conversation, Answer> {
        Conversation::begin(self, handle, "GET", &format!("/{process}"), b"", false)
    }

    /// Runs a script of the shell to its end.
    #[track_caller]
    pub fn shell(&self, handle: &str, script: &str) -> Finished {
        let spec = json!({ "path": "sh", "args": ["-c", script] });
        self.run(handle, &spec).expect("the shell starts").finish()
    }
}

impl Engine {
    /// A client of the server's Garden API.
    pub fn garden(&self) -> Garden {
        Garden::new(self.root().join("garden.sock"))
    }

    /// A create of busybox, with more members.
    pub fn busybox(&self, more: Value) -> Value {
        let mut spec = json!({ "image": { "uri": self.image() } });
        let Value::Object(more) = more else { panic!("the members are an object") };
        spec.as_object_mut().unwrap().extend(more);
        spec
    }
}

/// The head of a request.
pub fn head(method: &str, path: &str, headers: &[(&str, &str)], length: Option<usize>) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: api\r\nAccept-Encoding: gzip\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(length) = length {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    head + "\r\n"
}

impl Answer {
    /// Reads the head of a response: its status, and its header lines.
    pub fn read_head(reader: &mut impl BufRead) -> Answer {
        let status = line(reader).expect("a response begins with a status line");
        let code = status.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let mut answer = Answer {
            status: code.unwrap_or_else(|| panic!("{status:?} is no status line of HTTP/1.1")),
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let line = line(reader).expect("a head ends with an empty line");
            if line.is_empty() {
                return answer;
            }
            let (name, value) = line.split_once(": ").expect("a header line has a name and a value");
            answer.headers.push((name.to_lowercase(), value.to_owned()));
        }
    }

    /// Reads a whole response.
    pub fn read(reader: &mut impl BufRead) -> Answer {
        let mut answer = Answer::read_head(reader);
        answer.body = match (answer.header("content-length"), answer.header("transfer-encoding")) {
            (Some(length), None) => {
                let mut body = vec![0; length.parse().expect("a length is a number")];
                reader.read_exact(&mut body).expect("the body is as long as it says");
                body
            }
            (None, Some("chunked")) => chunks(reader).expect("the body ends with its last chunk"),
            lengths => panic!("a response names one length: {lengths:?}"),
        };
        answer
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("the body is text")
    }

    /// Asserts the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// Asserts that it was done, and that the answer says nothing more.
    #[track_caller]
    pub fn expect_done(self) {
        assert_eq!((self.status, self.text()), (200, "{}\n"));
    }

    /// The document that is the body, and nothing but it.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert!(self.text().ends_with("}\n"), "{:?}", self.text());
        serde_json::from_slice(&self.body).expect("the body is one document")
    }

    /// Asserts an error of this type (empty for none), and tells its message.
    #[track_caller]
    pub fn expect_error(&self, status: u16, kind: &str) -> String {
        let error = self.json();
        let names: Vec<&String> = error.as_object().unwrap().keys().collect();
        assert_eq!(names, ["Binary", "Handle", "Message", "ProcessID", "Type"]);
        assert_eq!((self.status, error["Type"].as_str().unwrap()), (status, kind), "{error}");
        error["Message"].as_str().unwrap().to_owned()
    }
}

/// The bytes of a chunked body; none when it breaks off.
pub fn chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = usize::from_str_radix(&line(reader)?, 16).expect("a chunk begins with its size");
        let begin = body.len();
        body.resize(begin + size, 0);
        reader.read_exact(&mut body[begin..]).ok()?;
        assert_eq!(line(reader)?, "", "a chunk is as long as it says");
        if size == 0 {
            return Some(body);
        }
    }
}

/// A line without its end; none at the end of file.
fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    reader.read_line(&mut line).expect("lines are text, and come in time");
    line.ends_with('\n').then(|| line.trim_end_matches("\r\n").trim_end_matches('\n').to_owned())
}
