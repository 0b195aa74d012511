//! One connection as HTTP/1.1 sees it: heads and bodies in, responses out, nothing read beyond what was asked for is lost.

use std::io;
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWriteExt;

use crate::head::{self, Head, Length, MAX_HEAD, Refusal};
use crate::room::Share;
use crate::socket::Socket;

/// The buffer a connection begins with: most requests are smaller.
const FIRST_BUFFER: usize = 8 * 1024;

/// What is read of a large body at once.
const LARGE_READ: usize = 256 * 1024;

/// The longest line between two chunks, with its end: a size, and extensions that nobody uses.
const MAX_CHUNK_LINE: usize = 1024;

/// The most trailer lines behind the last chunk; they are thrown away.
const MAX_TRAILERS: usize = 32;

/// A connection and what was read of it already.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    pub(crate) buffer: BytesMut,
}

/// How the wait for a head ended.
#[derive(Debug)]
pub(crate) enum Heard {
    Request(Head),
    /// The client has closed, or fell silent between two requests.
    Nothing,
    Refused(Refusal),
}

/// Why a body cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("unexpected EOF")]
    CutOff,
    #[error("chunk of the request's body {0}")]
    Malformed(&'static str),
    #[error("the request's body has more than {0} bytes")]
    TooLarge(usize),
    #[error("the request's body did not arrive within {0:?}")]
    TooSlow(Duration),
    #[error("{}", .0.message())]
    NoRoom(gdn_types::Error),
    #[error("read the request's body")]
    Broken(#[from] io::Error),
}

impl Connection {
    pub(crate) fn new(socket: Socket) -> Self {
        Connection { socket, buffer: BytesMut::new() }
    }

    /// Waits for a request: `idle` for its first byte, and `patience` from then on for all of its head.
    pub(crate) async fn hear(&mut self, idle: Duration, patience: Duration) -> Heard {
        if self.buffer.is_empty() {
            match tokio::time::timeout(idle, self.read()).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) | Err(_) => return Heard::Nothing,
            }
        }
        match tokio::time::timeout(patience, self.head()).await {
            Ok(heard) => heard,
            Err(_) => Heard::Refused(Refusal::new(
                408,
                format!("the head of the request did not arrive within {patience:?}"),
            )),
        }
    }

    async fn head(&mut self) -> Heard {
        let mut seen = 0;
        loop {
            // Empty lines before a request are passed over (RFC 9112, 2.2).
            while matches!(self.buffer.first(), Some(b'\r' | b'\n')) {
                self.buffer.advance(1);
                seen = 0;
            }
            if let Some(end) = head::end_of_head(&self.buffer, seen) {
                let bytes = self.buffer.split_to(end);
                return match head::parse(&bytes) {
                    Ok(head) => Heard::Request(head),
                    Err(refusal) => Heard::Refused(refusal),
                };
            }
            if self.buffer.len() > MAX_HEAD {
                let message = format!("the head of the request has more than {MAX_HEAD} bytes");
                return Heard::Refused(Refusal::new(431, message));
            }
            seen = self.buffer.len();
            match self.read().await {
                Ok(1..) => {}
                Ok(0) if self.buffer.is_empty() => return Heard::Nothing,
                Ok(0) => return Heard::Refused(Refusal::malformed("the head of the request is cut off")),
                Err(_) => return Heard::Nothing,
            }
        }
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.socket.read_beside(&mut self.buffer, FIRST_BUFFER).await
    }

    /// Says that the body may come, if the client waits for that.
    pub(crate) async fn permit(&mut self, head: &Head) -> io::Result<()> {
        if head.expects_continue && self.buffer.is_empty() {
            self.socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        Ok(())
    }

    /// Reads a whole body, which takes that share of the room for all of them.
    pub(crate) async fn body(
        &mut self,
        head: &Head,
        most: usize,
        patience: Duration,
        share: &mut Share,
    ) -> Result<Vec<u8>, BodyError> {
        let whole = async {
            let mut body = Body::new(head.length);
            if matches!(head.length, Length::Known(length) if length > most as u64) {
                return Err(BodyError::TooLarge(most));
            }
            if !body.is_over() {
                self.permit(head).await?;
            }
            let mut whole = Vec::new();
            while let Some(piece) = body.next(self).await? {
                if whole.len() + piece.len() > most {
                    return Err(BodyError::TooLarge(most));
                }
                share.cover(whole.len() + piece.len()).await.map_err(BodyError::NoRoom)?;
                whole.extend_from_slice(&piece);
            }
            Ok(whole)
        };
        match tokio::time::timeout(patience, whole).await {
            Ok(outcome) => outcome,
            Err(_) => Err(BodyError::TooSlow(patience)),
        }
    }
}

/// Where in a body the reading is.
#[derive(Debug)]
pub(crate) struct Body(Place);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// So many bytes of a body of known length are to come.
    Within(u64),
    ChunkLine,
    WithinChunk(u64),
    AfterChunk,
    Over,
}

impl Body {
    pub(crate) fn new(length: Length) -> Self {
        Body(match length {
            Length::Known(0) => Place::Over,
            Length::Known(length) => Place::Within(length),
            Length::Chunked => Place::ChunkLine,
        })
    }

    /// Whether all of it was read.
    pub(crate) fn is_over(&self) -> bool {
        self.0 == Place::Over
    }

    /// The next bytes, never empty; `None` at the end. A dropped future loses nothing.
    pub(crate) async fn next(&mut self, connection: &mut Connection) -> Result<Option<Bytes>, BodyError> {
        loop {
            match self.0 {
                Place::Over => return Ok(None),
                Place::Within(left) => {
                    let piece = piece(connection, left).await?;
                    let left = left - piece.len() as u64;
                    self.0 = if left == 0 { Place::Over } else { Place::Within(left) };
                    return Ok(Some(piece));
                }
                Place::WithinChunk(left) => {
                    let piece = piece(connection, left).await?;
                    let left = left - piece.len() as u64;
                    self.0 = if left == 0 { Place::AfterChunk } else { Place::WithinChunk(left) };
                    return Ok(Some(piece));
                }
                Place::AfterChunk => {
                    if !line(connection).await?.is_empty() {
                        return Err(BodyError::Malformed("is longer than its size says"));
                    }
                    self.0 = Place::ChunkLine;
                }
                Place::ChunkLine => match chunk_size(&line(connection).await?)? {
                    0 => {
                        trailers(connection).await?;
                        self.0 = Place::Over;
                    }
                    size => self.0 = Place::WithinChunk(size),
                },
            }
        }
    }
}

/// At most `left` bytes that follow, and at least one.
async fn piece(connection: &mut Connection, left: u64) -> Result<Bytes, BodyError> {
    if connection.buffer.is_empty() {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).clamp(FIRST_BUFFER, LARGE_READ);
        if connection.socket.read_beside(&mut connection.buffer, wanted).await? == 0 {
            return Err(BodyError::CutOff);
        }
    }
    let there = connection.buffer.len();
    let taken = usize::try_from(left).map_or(there, |left| left.min(there));
    Ok(connection.buffer.split_to(taken).freeze())
}

/// The next line, without its end, which is a carriage return and a line feed: whoever took one of them alone for an end would
/// see other chunks.
async fn line(connection: &mut Connection) -> Result<Bytes, BodyError> {
    loop {
        // One that is too long is that also when all of it is there.
        if let Some(end) = connection.buffer.iter().take(MAX_CHUNK_LINE).position(|byte| *byte == b'\n') {
            let mut line = connection.buffer.split_to(end + 1);
            line.truncate(end);
            let whole = line.last() == Some(&b'\r');
            line.truncate(end.saturating_sub(1));
            if !whole || line.contains(&b'\r') {
                return Err(BodyError::Malformed("has a line that ends in another way than all others"));
            }
            return Ok(line.freeze());
        }
        if connection.buffer.len() >= MAX_CHUNK_LINE {
            return Err(BodyError::Malformed("has a line without an end"));
        }
        if connection.read().await? == 0 {
            return Err(BodyError::CutOff);
        }
    }
}

/// The size at the beginning of a chunk: hexadecimal digits, and perhaps extensions.
fn chunk_size(line: &[u8]) -> Result<u64, BodyError> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    let text = str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let size = text.filter(|text| text.len() <= 15).and_then(|text| u64::from_str_radix(text, 16).ok());
    size.ok_or(BodyError::Malformed("has no size"))
}

async fn trailers(connection: &mut Connection) -> Result<(), BodyError> {
    for _ in 0..MAX_TRAILERS {
        if line(connection).await?.is_empty() {
            return Ok(());
        }
    }
    Err(BodyError::Malformed("has too many trailers"))
}

/// What a head says besides its status line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A JSON document of so many bytes.
    Json(usize),
    /// A tar, really chunked.
    ChunkedTar,
    /// A tar up to the end of the connection, for HTTP/1.0.
    Tar,
    /// Bytes of a process, or messages: what follows the head is raw, whatever the head says. Clients of this protocol
    /// insist on a length in the head, and on no other word of it.
    Raw,
}

/// The head of a response.
pub(crate) fn response_head(status: u16, framing: Framing, keep_alive: bool, allow: Option<&str>) -> String {
    use std::fmt::Write;

    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    let lines = match framing {
        Framing::Json(length) => format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"),
        Framing::ChunkedTar => "Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n".to_owned(),
        Framing::Tar => "Content-Type: application/x-tar\r\n".to_owned(),
        Framing::Raw => "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n".to_owned(),
    };
    head.push_str(&lines);
    let date = httpdate::fmt_http_date(SystemTime::now());
    write!(head, "Date: {date}\r\n").expect("a string takes everything");
    if let Some(methods) = allow {
        write!(head, "Allow: {methods}\r\n").expect("a string takes everything");
    }
    if !keep_alive && framing != Framing::Raw {
        head.push_str("Connection: close\r\n");
    }
    head.push_str("\r\n");
    head
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::Room;
    use crate::socket::pair;

    const SOON: Duration = Duration::from_secs(5);

    /// A connection on which these bytes came, and then the end.
    async fn having(bytes: &[u8]) -> Connection {
        let (mut client, server) = pair();
        client.write_all(bytes).await.unwrap();
        Connection::new(server)
    }

    async fn request(body: &str) -> (Head, Connection) {
        let head = "POST / HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut connection = having(format!("{head}{body}").as_bytes()).await;
        let Heard::Request(head) = connection.hear(SOON, SOON).await else { panic!("no request") };
        (head, connection)
    }

    #[tokio::test]
    async fn a_chunked_body_ends_where_it_says_and_the_rest_stays() {
        let (head, mut connection) =
            request("3;x=y\r\nabc\r\n00a\r\n0123456789\r\n0\r\nT: v\r\n\r\nGET /").await;
        assert_eq!(
            connection.body(&head, 100, SOON, &mut Room::default().share()).await.unwrap(),
            b"abc0123456789"
        );
        assert_eq!(&connection.buffer[..], b"GET /");
    }

    #[tokio::test]
    async fn chunks_that_lie_about_their_size_are_refused() {
        for body in [
            "3\r\nabcd\r\n0\r\n\r\n",
            "x\r\n",
            "-1\r\n",
            "\r\n",
            "ffffffffffffffff\r\na",
            "+3\r\nabc\r\n",
            "3\nabc\r\n0\r\n\r\n",
            "3;x\ry\r\nabc\r\n",
            "3\r\nabc\n0\r\n\r\n",
            "\n",
        ] {
            let (head, mut connection) = request(body).await;
            let error = connection.body(&head, 100, SOON, &mut Room::default().share()).await.unwrap_err();
            assert!(matches!(error, BodyError::Malformed(_)), "{body:?}: {error:?}");
        }
        let (head, mut connection) = request("5\r\nabc").await;
        assert!(matches!(
            connection.body(&head, 100, SOON, &mut Room::default().share()).await.unwrap_err(),
            BodyError::CutOff
        ));
        let (head, mut connection) = request("5\r\nabcde\r\n0\r\n\r\n").await;
        assert!(matches!(
            connection.body(&head, 4, SOON, &mut Room::default().share()).await.unwrap_err(),
            BodyError::TooLarge(4)
        ));
    }

    #[tokio::test]
    async fn a_head_that_never_ends_is_given_up() {
        let (_client, server) = pair();
        let mut connection = Connection::new(server);
        connection.buffer.extend_from_slice(b"GET /");
        let Heard::Refused(refusal) = connection.hear(SOON, Duration::from_millis(1)).await else {
            panic!("it was not refused")
        };
        assert_eq!(refusal.status, 408);
    }

    #[tokio::test]
    async fn a_head_without_end_costs_a_bounded_buffer() {
        let (mut client, server) = pair();
        let flood = tokio::spawn(async move { while client.write_all(&[b'x'; 4096]).await.is_ok() {} });
        let mut connection = Connection::new(server);
        let Heard::Refused(refusal) = connection.hear(SOON, SOON).await else { panic!("it was not refused") };
        assert_eq!(refusal.status, 431);
        assert!(connection.buffer.len() <= 2 * MAX_HEAD);
        drop(connection);
        flood.await.unwrap();
    }

    #[tokio::test]
    async fn a_request_may_follow_another_at_once() {
        let mut connection =
            having(b"\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n").await;
        for path in ["/a", "/b"] {
            let Heard::Request(head) = connection.hear(SOON, SOON).await else { panic!("no request") };
            assert_eq!(head.path, path);
        }
        assert!(matches!(connection.hear(SOON, SOON).await, Heard::Nothing));
    }

    #[test]
    fn the_head_of_a_stream_says_chunked_and_never_close() {
        let head = response_head(201, Framing::Raw, false, None);
        assert!(head.starts_with("HTTP/1.1 201 Created\r\n"), "{head}");
        assert!(head.contains("\r\nTransfer-Encoding: chunked\r\n") && head.ends_with("\r\n\r\n"));
        assert!(!head.to_lowercase().contains("connection:"));
    }
}
