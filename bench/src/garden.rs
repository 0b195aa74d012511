//! The engine's other front door, as its usual clients come in: documents over HTTP on a connection that is kept, a new
//! connection for each process, and one for each of its outputs.

use std::io::{Error, ErrorKind};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// As much as is read of a stream at once.
pub(crate) const PIECE: usize = 256 * 1024;

/// A client of one server.
pub(crate) struct Garden {
    socket: PathBuf,
    kept: Connection,
}

/// A response: its status, how long its body is, and its body.
struct Answer {
    status: u16,
    body: Vec<u8>,
}

/// A connection that speaks HTTP.
struct Connection(BufReader<UnixStream>);

/// How long a body is.
enum Length {
    Bytes(usize),
    Chunks,
    ToTheEnd,
}

impl Garden {
    /// Connects to the socket of a server.
    pub(crate) async fn connect(socket: PathBuf) -> Result<Self> {
        let kept = Connection::open(&socket).await?;
        Ok(Garden { socket, kept })
    }

    /// An empty call, in microseconds.
    pub(crate) async fn ping(&mut self) -> Result<f64> {
        let start = Instant::now();
        self.call("GET", "/ping", b"").await?;
        Ok(microseconds(start))
    }

    /// Create, run `/bin/true`, wait, destroy, in microseconds.
    pub(crate) async fn cycle(&mut self, image: &str) -> Result<f64> {
        let start = Instant::now();
        let handle = self.create(image).await?;
        let outcome = self.run(&handle, "/bin/true", &[]).await;
        self.destroy(&handle).await?;
        outcome?;
        Ok(microseconds(start))
    }

    /// `/bin/true` in a container, in microseconds.
    pub(crate) async fn exec(&self, handle: &str) -> Result<f64> {
        let start = Instant::now();
        self.run(handle, "/bin/true", &[]).await?;
        Ok(microseconds(start))
    }

    /// Megabytes a second of standard output.
    pub(crate) async fn stdout(&self, handle: &str, megabytes: u64) -> Result<f64> {
        let count = format!("count={}", megabytes * 16);
        let start = Instant::now();
        let read = self.run(handle, "/bin/dd", &["if=/dev/zero", "bs=65536", &count]).await?;
        ensure!(read == megabytes << 20, "{read} bytes arrived of {megabytes} MiB");
        Ok(per_second(megabytes, start))
    }

    /// The list of this many containers, in milliseconds.
    pub(crate) async fn list(&mut self, containers: usize) -> Result<f64> {
        let start = Instant::now();
        let listed: Value = serde_json::from_slice(&self.call("GET", "/containers", b"").await?)?;
        let took = microseconds(start) / 1000.0;
        let count = listed["Handles"].as_array().map_or(0, Vec::len);
        ensure!(count >= containers, "{count} containers are listed of {containers}");
        Ok(took)
    }

    /// Megabytes a second of a file that is copied into a container.
    pub(crate) async fn stream_in(&mut self, handle: &str, megabytes: u64) -> Result<f64> {
        let tar = tar_of("large", megabytes)?;
        let path = format!("/containers/{handle}/files?user=root&destination=/tmp");
        let start = Instant::now();
        self.call("PUT", &path, &tar).await?;
        Ok(per_second(megabytes, start))
    }

    /// Megabytes a second of that file out of it.
    pub(crate) async fn stream_out(&mut self, handle: &str, megabytes: u64) -> Result<f64> {
        let path = format!("/containers/{handle}/files?user=root&source=/tmp/large");
        let start = Instant::now();
        let mut connection = Connection::open(&self.socket).await?;
        connection.ask("GET", &path, b"").await?;
        let (status, length) = connection.head().await?;
        ensure!(status == 200, "the copy was answered by {status}");
        let read = match length {
            Length::Chunks => connection.chunks(|_| {}).await?,
            Length::ToTheEnd => connection.rest().await?,
            Length::Bytes(length) => length as u64,
        };
        ensure!(read > megabytes << 20, "{read} bytes arrived of {megabytes} MiB");
        Ok(per_second(megabytes, start))
    }

    /// What Garden clients ask for: limits on, unprivileged. The same as over gRPC.
    async fn create(&mut self, image: &str) -> Result<String> {
        let spec = json!({ "image": { "uri": image }, "limits": {
            "cpu_limits": { "limit_in_shares": 512 },
            "memory_limits": { "limit_in_bytes": 256 << 20 },
            "pid_limits": { "max": 100 },
        }});
        let created: Value =
            serde_json::from_slice(&self.call("POST", "/containers", spec.to_string().as_bytes()).await?)?;
        Ok(created["Handle"].as_str().context("the answer to a create names no handle")?.to_owned())
    }

    async fn destroy(&mut self, handle: &str) -> Result<()> {
        self.call("DELETE", &format!("/containers/{handle}"), b"").await.map(drop)
    }

    async fn call(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Vec<u8>> {
        self.kept.ask(method, path, body).await?;
        let answer = self.kept.answer().await?;
        ensure!(
            answer.status == 200,
            "{method} {path}: {} {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        Ok(answer.body)
    }

    /// Runs a program to its end, and counts the bytes of its standard output.
    async fn run(&self, handle: &str, program: &str, arguments: &[&str]) -> Result<u64> {
        let spec = json!({ "path": program, "args": arguments }).to_string();
        let mut talk = Connection::open(&self.socket).await?;
        talk.ask("POST", &format!("/containers/{handle}/processes"), spec.as_bytes()).await?;
        let (status, _) = talk.head().await?;
        ensure!(status == 201, "the run was answered by {status}");
        let first = talk.message().await?.context("there is no first message")?;
        let name = |member: &str| first[member].as_str().context("the first message names no stream");
        let streams =
            format!("/containers/{handle}/processes/{}/attaches/{}", name("process_id")?, name("stream_id")?);
        let (stdout, stderr, end) =
            tokio::join!(self.output(&streams, "stdout"), self.output(&streams, "stderr"), talk.message());
        stderr?;
        let end = end?.context("the conversation ended without an exit status")?;
        ensure!(end["exit_status"] == 0, "the process ended otherwise: {end}");
        stdout
    }

    /// Reads one output to its end, and counts its bytes.
    async fn output(&self, streams: &str, name: &str) -> Result<u64> {
        let mut connection = Connection::open(&self.socket).await?;
        connection.ask("GET", &format!("{streams}/{name}"), b"").await?;
        let (status, _) = connection.head().await?;
        ensure!(status == 200, "{name} was answered by {status}");
        connection.rest().await
    }
}

impl Connection {
    async fn open(socket: &PathBuf) -> Result<Self> {
        let stream = UnixStream::connect(socket).await;
        Ok(Connection(BufReader::new(stream.context("the Garden socket does not answer")?)))
    }

    async fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> Result<()> {
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: api\r\nContent-Length: {length}\r\n\r\n");
        if body.len() < PIECE {
            return Ok(self.0.write_all(&[head.as_bytes(), body].concat()).await?);
        }
        self.0.write_all(head.as_bytes()).await?;
        Ok(self.0.write_all(body).await?)
    }

    /// The status of a response, and how long its body is.
    async fn head(&mut self) -> Result<(u16, Length)> {
        let line = self.line().await?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.with_context(|| format!("{line:?} is no status line"))?;
        let mut length = Length::ToTheEnd;
        loop {
            let line = self.line().await?.to_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => length = Length::Bytes(value.parse()?),
                Some(("transfer-encoding", "chunked")) => length = Length::Chunks,
                Some(_) => {}
                None if line.is_empty() => return Ok((status, length)),
                None => bail!("{line:?} is no header"),
            }
        }
    }

    async fn answer(&mut self) -> Result<Answer> {
        let (status, length) = self.head().await?;
        let mut body = Vec::new();
        match length {
            Length::Bytes(length) => {
                body.resize(length, 0);
                self.0.read_exact(&mut body).await?;
            }
            Length::Chunks => drop(self.chunks(|piece| body.extend_from_slice(piece)).await?),
            Length::ToTheEnd => bail!("the answer does not say how long it is"),
        }
        Ok(Answer { status, body })
    }

    /// The next message; none at the end of the conversation.
    async fn message(&mut self) -> Result<Option<Value>> {
        let mut line = String::new();
        if self.0.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&line)?))
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        ensure!(line.ends_with("\r\n"), "the answer breaks off at {line:?}");
        line.truncate(line.len() - 2);
        Ok(line)
    }

    /// Reads a body in chunks, and counts its bytes.
    async fn chunks(&mut self, mut take: impl FnMut(&[u8])) -> Result<u64> {
        let (mut read, mut piece) = (0, vec![0; PIECE]);
        loop {
            let line = self.line().await?;
            let mut left =
                usize::from_str_radix(&line, 16).with_context(|| format!("a chunk of {line:?}"))?;
            let last = left == 0;
            while left > 0 {
                let part = left.min(PIECE);
                self.0.read_exact(&mut piece[..part]).await?;
                take(&piece[..part]);
                (left, read) = (left - part, read + part as u64);
            }
            ensure!(self.line().await?.is_empty(), "a chunk is longer than it says");
            if last {
                return Ok(read);
            }
        }
    }

    /// Reads to the end of file, and counts the bytes.
    async fn rest(&mut self) -> Result<u64> {
        let read = self.0.buffer().len() as u64;
        self.0.consume(self.0.buffer().len());
        Ok(read + count(self.0.get_mut()).await?)
    }
}

/// Reads a stream to its end, and counts its bytes.
pub(crate) async fn count(stream: &mut UnixStream) -> Result<u64, Error> {
    let (mut read, mut piece) = (0, vec![0; PIECE]);
    loop {
        match stream.read(&mut piece).await {
            Ok(0) => return Ok(read),
            Ok(more) => read += more as u64,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A tar of one file.
fn tar_of(name: &str, megabytes: u64) -> Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_size(megabytes << 20);
    header.set_mode(0o644);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, name, std::io::Read::take(std::io::repeat(7), megabytes << 20))?;
    Ok(archive.into_inner()?)
}

fn microseconds(start: Instant) -> f64 {
    start.elapsed().as_nanos() as f64 / 1000.0
}

/// Megabytes a second, of so many mebibytes since the start.
pub(crate) fn per_second(megabytes: u64, start: Instant) -> f64 {
    megabytes as f64 * 1.048_576 / start.elapsed().as_secs_f64()
}
