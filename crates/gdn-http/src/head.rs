//! The head of a request: what HTTP/1.1 (RFC 9112) says about a message before its body.
//!
//! Two answers about where a body ends are none: such a request is refused, since whoever stands in between may believe the
//! other one.

/// The most bytes of a head: a list of a thousand handles fits into its first line many times over.
pub(crate) const MAX_HEAD: usize = 256 * 1024;

/// The most header lines.
const MAX_HEADERS: usize = 100;

/// The most of a client's own request id that is logged, in characters.
const MAX_TRACE: usize = 128;

/// What may stand around a header's value and between the words of a list (RFC 9110, 5.6.3). Nothing else is blank: what other
/// programs take for a part of the value must not be passed over here.
const BLANKS: [char; 2] = [' ', '\t'];

/// A request without its body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) method: String,
    /// As sent, not decoded, without the query.
    pub(crate) path: String,
    /// As sent, without the question mark.
    pub(crate) query: String,
    pub(crate) length: Length,
    /// HTTP/1.1, and not 1.0.
    pub(crate) modern: bool,
    /// Whether the connection may serve another request.
    pub(crate) keep_alive: bool,
    /// Whether the client waits for leave before it sends the body.
    pub(crate) expects_continue: bool,
    /// What the client calls this request (`X-Vcap-Request-Id`), for the log.
    pub(crate) trace: String,
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// So many bytes; 0 for none.
    Known(u64),
    Chunked,
}

/// Why a request is refused before it is looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Refusal { status, message: message.into() }
    }

    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Refusal::new(400, message)
    }
}

/// The length of the head that these bytes begin with, its blank line included, looking from `from` on.
pub(crate) fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let from = from.saturating_sub(3);
    let end = |window: &[u8], blank: &[u8]| window.windows(blank.len()).position(|lines| lines == blank);
    let bytes = &bytes[from..];
    let (crlf, lf) = (end(bytes, b"\r\n\r\n").map(|at| at + 4), end(bytes, b"\n\n").map(|at| at + 2));
    crlf.into_iter().chain(lf).min().map(|end| from + end)
}

/// Parses a whole head.
pub(crate) fn parse(bytes: &[u8]) -> Result<Head, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Ok(httparse::Status::Complete(_)) => {
            return Err(Refusal::malformed("the head of the request has two ends"));
        }
        Ok(httparse::Status::Partial) => {
            return Err(Refusal::malformed("the head of the request is cut off"));
        }
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal::new(431, format!("the request has more than {MAX_HEADERS} header lines")));
        }
        Err(httparse::Error::Version) => return Err(Refusal::new(505, "the request is not of HTTP/1")),
        Err(error) => return Err(Refusal::malformed(format!("the request is not of HTTP/1: {error}"))),
    }
    let modern = request.version == Some(1);
    let headers = Headers(request.headers);
    let length = length(&headers, modern)?;
    if modern && headers.all("host").count() != 1 {
        return Err(Refusal::malformed("the request does not have one header Host"));
    }
    let (path, query) = target(request.path.unwrap_or_default());
    Ok(Head {
        method: request.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        length,
        modern,
        keep_alive: modern && !headers.lists("connection", "close"),
        expects_continue: modern && headers.lists("expect", "100-continue"),
        trace: trace(&headers),
    })
}

/// The path and the query of a request target, in origin form or in absolute form.
fn target(target: &str) -> (&str, &str) {
    let target = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => rest.find('/').map_or("/", |path| &rest[path..]),
        _ => target,
    };
    target.split_once('?').unwrap_or((target, ""))
}

fn length(headers: &Headers<'_>, modern: bool) -> Result<Length, Refusal> {
    let mut lengths = headers.all("content-length");
    let encoded = headers.all("transfer-encoding").count() > 0;
    if encoded {
        if lengths.next().is_some() {
            return Err(Refusal::malformed("the request has both Content-Length and Transfer-Encoding"));
        }
        let chunked = headers.all("transfer-encoding").collect::<Vec<_>>();
        return match chunked[..] {
            [one] if one.eq_ignore_ascii_case("chunked") && modern => Ok(Length::Chunked),
            _ => Err(Refusal::new(501, "the request has a Transfer-Encoding other than chunked")),
        };
    }
    let Some(first) = lengths.next() else { return Ok(Length::Known(0)) };
    if lengths.any(|other| other != first) {
        return Err(Refusal::malformed("the request has two lengths"));
    }
    let digits = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
    match first.parse() {
        Ok(length) if digits => Ok(Length::Known(length)),
        _ => Err(Refusal::malformed(format!("Content-Length {first:?} is not a number of bytes"))),
    }
}

/// A client's request id as far as a line of the log can show it.
fn trace(headers: &Headers<'_>) -> String {
    let given = headers.all("x-vcap-request-id").next().unwrap_or_default();
    given.chars().filter(|shown| shown.is_ascii_graphic()).take(MAX_TRACE).collect()
}

struct Headers<'a>(&'a [httparse::Header<'a>]);

impl Headers<'_> {
    /// Every value of a header, in order; one that is not text counts as none.
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| str::from_utf8(header.value).unwrap_or_default().trim_matches(BLANKS))
    }

    /// Whether a word is in a header that is a list.
    fn lists(&self, name: &str, word: &str) -> bool {
        let mut words = self.all(name).flat_map(|value| value.split(','));
        words.any(|listed| listed.trim_matches(BLANKS).eq_ignore_ascii_case(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Head, Refusal> {
        parse(text.replace('\n', "\r\n").as_bytes())
    }

    #[test]
    fn the_head_of_an_ordinary_request_is_read() {
        let head = head(
            "PUT /containers/h/files?user=u&destination=/d HTTP/1.1\nHost: api\nTransfer-Encoding: chunked\n\
             X-Vcap-Request-Id: t-1\nconnection: x, Close\n\n",
        );
        let head = head.unwrap();
        assert_eq!((&*head.method, &*head.path), ("PUT", "/containers/h/files"));
        assert_eq!((&*head.query, &*head.trace), ("user=u&destination=/d", "t-1"));
        assert_eq!((head.length, head.keep_alive, head.modern), (Length::Chunked, false, true));
    }

    #[test]
    fn a_target_may_be_absolute() {
        for (text, path) in [("http://api/ping?x", "/ping"), ("http://api", "/"), ("/a?u=x://y/z", "/a")] {
            assert_eq!(head(&format!("GET {text} HTTP/1.1\nHost: api\n\n")).unwrap().path, path);
        }
    }

    #[test]
    fn a_request_that_can_be_read_in_two_ways_is_refused() {
        for lines in [
            "Content-Length: 3\nTransfer-Encoding: chunked\n",
            "Content-Length: 3\nContent-Length: 4\n",
            "Content-Length: +3\n",
            "Content-Length: \n",
            "Content-Length: 3, 3\n",
            "Content-Length: 99999999999999999999\n",
            "Transfer-Encoding: gzip, chunked\n",
            "Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n",
            "Transfer-Encoding : chunked\n",
            "Transfer-Encoding: \u{a0}chunked\n",
            "Content-Length: \u{a0}3\n",
            "Host: other\n",
        ] {
            let refusal = head(&format!("POST /containers HTTP/1.1\nHost: api\n{lines}\n")).unwrap_err();
            assert!([400, 501].contains(&refusal.status), "{lines:?}: {refusal:?}");
        }
        assert_eq!(head("POST / HTTP/1.0\nTransfer-Encoding: chunked\n\n").unwrap_err().status, 501);
        assert_eq!(head("GET /ping HTTP/1.1\n\n").unwrap_err().status, 400);
    }

    #[test]
    fn too_many_headers_and_other_versions_have_their_statuses() {
        let many = "X: y\n".repeat(MAX_HEADERS + 1);
        assert_eq!(head(&format!("GET / HTTP/1.1\n{many}\n")).unwrap_err().status, 431);
        assert_eq!(parse(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap_err().status, 505);
        assert_eq!(parse(b"\x16\x03\x01\x02\x00\x01\r\n\r\n").unwrap_err().status, 400);
    }

    #[test]
    fn the_end_of_a_head_is_found_wherever_the_reads_cut_it() {
        let bytes = b"GET / HTTP/1.1\r\n\r\n{";
        for cut in 0..bytes.len() {
            assert_eq!(end_of_head(bytes, cut.min(17)), Some(18), "{cut}");
        }
        assert_eq!(end_of_head(b"GET / HTTP/1.1\r\n\r", 0), None);
        assert_eq!(end_of_head(b"GET / HTTP/1.1\n\nrest", 0), Some(16));
    }

    #[test]
    fn a_trace_is_of_one_line_and_short() {
        let long = "a b\u{7f}".repeat(200);
        let head = head(&format!("GET / HTTP/1.1\nHost: api\nX-Vcap-Request-Id: {}\n\n", "ab".repeat(200)));
        assert_eq!(head.unwrap().trace.len(), MAX_TRACE);
        let header = httparse::Header { name: "x-vcap-request-id", value: long.as_bytes() };
        assert!(trace(&Headers(&[header])).starts_with("abab"));
    }
}
