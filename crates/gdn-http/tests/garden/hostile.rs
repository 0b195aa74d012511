//! Requests that mean harm (row A1.05 of the campaigns): each is refused, or read in the one way there is; the gate goes on.
//!
//! Each case has a line of its own; all of them are played before the test fails.

use std::time::Duration;

use gdn_http::HttpConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::gate::{Open, rest, until};

/// How each case went.
#[derive(Default)]
struct Verdicts {
    cases: usize,
    wrong: Vec<String>,
}

impl Verdicts {
    /// Notes a case, and that the gate answers all the same.
    async fn note(&mut self, open: &Open, case: &str, held: bool, told: &str) {
        let (alive, _) = open.hostile(b"GET /ping HTTP/1.1\r\nHost: api\r\n\r\n").await;
        let held = held && alive == [200];
        println!("{} {case}", if held { "ok   " } else { "WRONG" });
        self.cases += 1;
        if !held {
            self.wrong
                .push(format!("{case}: {}, then ping {alive:?}", &told[..told.floor_char_boundary(300)]));
        }
    }

    fn expect_all(&self, cases: usize) {
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
        assert!(self.cases >= cases, "{} cases", self.cases);
    }
}

/// A create with these header lines and this body, and a request behind it that must not be taken for one when the first can be
/// read in two ways.
fn create(lines: &str, body: &str) -> Vec<u8> {
    format!("POST /containers HTTP/1.1\r\nHost: api\r\n{lines}\r\n{body}GET /capacity HTTP/1.1\r\nHost: api\r\n\r\n")
        .into_bytes()
}

fn line(request: &str) -> Vec<u8> {
    format!("{request}\r\nHost: api\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn bodies_that_end_in_two_places_are_refused_and_what_follows_is_not_heard() {
    let open = Open::new().await;
    let mut verdicts = Verdicts::default();
    let long = "x".repeat(1 << 20);
    let ends = "Connection: close\r\n";
    for (case, lines, body, statuses) in [
        ("both lengths", "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "{}", &[400][..]),
        (
            "both, the other way round",
            "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
            "0\r\n\r\n",
            &[400],
        ),
        ("two lengths", "Content-Length: 2\r\nContent-Length: 3\r\n", "{}", &[400]),
        ("two lengths in one line", "Content-Length: 2, 3\r\n", "{}", &[400]),
        ("one length twice in one line", "Content-Length: 2, 2\r\n", "{}", &[400]),
        ("a length with a sign", "Content-Length: +2\r\n", "{}", &[400]),
        ("a length below zero", "Content-Length: -2\r\n", "{}", &[400]),
        ("a length in hexadecimal", "Content-Length: 0x2\r\n", "{}", &[400]),
        ("no number", "Content-Length: \r\n", "{}", &[400]),
        ("a blank within", "Content-Length: 2 2\r\n", "{}", &[400]),
        ("a blank that is none", "Content-Length: \u{a0}2\r\n", "{}", &[400]),
        ("digits of another script", "Content-Length: \u{662}\r\n", "{}", &[400]),
        ("a length beyond all numbers", "Content-Length: 99999999999999999999\r\n", "{}", &[400]),
        ("a tebibyte to come", "Content-Length: 1099511627776\r\n", "{}", &[413]),
        ("another encoding", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n", &[501]),
        ("no encoding", "Transfer-Encoding: identity\r\n", "{}", &[501]),
        ("nearly chunked", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n", &[501]),
        ("chunked behind a blank that is none", "Transfer-Encoding: \u{a0}chunked\r\n", "0\r\n\r\n", &[501]),
        ("chunked behind a vertical tab", "Transfer-Encoding: \u{b}chunked\r\n", "0\r\n\r\n", &[400]),
        (
            "chunked twice",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
            &[501],
        ),
        ("a blank before the colon", "Transfer-Encoding : chunked\r\n", "0\r\n\r\n", &[400]),
        ("a folded line", "Transfer-Encoding: chunked\r\n X: y\r\n", "0\r\n\r\n", &[400]),
        ("a folded value", "Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n", &[400]),
        ("a carriage return within", "Transfer-Encoding: chun\rked\r\n", "0\r\n\r\n", &[400]),
        ("a NUL within", "X: a\0b\r\n", "", &[400]),
        ("a second host", "Host: other\r\n", "", &[400]),
        ("a chunk without size", "Transfer-Encoding: chunked\r\n", "\r\n", &[400]),
        ("a chunk with a sign", "Transfer-Encoding: chunked\r\n", "+2\r\n{}\r\n0\r\n\r\n", &[400]),
        ("a chunk with a prefix", "Transfer-Encoding: chunked\r\n", "0x2\r\n{}\r\n0\r\n\r\n", &[400]),
        ("a chunk beyond all numbers", "Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\n", &[400]),
        ("a chunk that is longer", "Transfer-Encoding: chunked\r\n", "2\r\n{}}\r\n0\r\n\r\n", &[400]),
        ("a chunk line without return", "Transfer-Encoding: chunked\r\n", "2\n{}\r\n0\r\n\r\n", &[400]),
        ("a return in an extension", "Transfer-Encoding: chunked\r\n", "2;a\rb\r\n{}\r\n0\r\n\r\n", &[400]),
        (
            "a line feed in an extension",
            "Transfer-Encoding: chunked\r\n",
            "2;\n{}\r\n0\r\n\r\nGET /nope HTTP/1.1\r\nHost: api\r\n\r\n",
            &[400],
        ),
        ("an extension without end", "Transfer-Encoding: chunked\r\n", &long, &[400]),
        (
            "trailers without end",
            "Transfer-Encoding: chunked\r\n",
            &format!("0\r\n{}", "T: v\r\n".repeat(40)),
            &[400],
        ),
        // Those that have one meaning are taken.
        (
            "one length twice",
            "Content-Length: 14\r\nContent-Length: 14\r\n",
            "{\"handle\":\"a\"}",
            &[200, 200],
        ),
        (
            "blanks around",
            "Transfer-Encoding: \t chunked \t\r\n",
            "e\r\n{\"handle\":\"b\"}\r\n0\r\n\r\n",
            &[200, 200],
        ),
        (
            "an extension",
            "Transfer-Encoding: Chunked\r\n",
            "E;a=\"b\"\r\n{\"handle\":\"c\"}\r\n0\r\nT: v\r\n\r\n",
            &[200, 200],
        ),
        ("no body", ends, "", &[500]),
    ] {
        let (got, told) = open.hostile(&create(lines, body)).await;
        verdicts.note(&open, case, got == statuses, &told).await;
    }
    let (_, listed) = open.hostile(&line("GET /containers HTTP/1.1")).await;
    assert!(listed.contains("[\"a\",\"b\",\"c\"]"), "{listed}");
    verdicts.expect_all(40);
    open.close().await;
}

#[tokio::test]
async fn heads_that_are_none_too_long_or_for_somebody_else_are_refused() {
    let open = Open::new().await;
    let mut verdicts = Verdicts::default();
    open.hostile(&create("Content-Length: 14\r\n", "{\"handle\":\"h\"}")).await;
    let with = |lines: &str| format!("GET /ping HTTP/1.1\r\nHost: api\r\n{lines}\r\n").into_bytes();
    for (case, request, statuses) in [
        ("a header of a mebibyte", with(&format!("X: {}\r\n", "y".repeat(1 << 20))), &[431][..]),
        ("a target of a mebibyte", line(&format!("GET /{} HTTP/1.1", "y".repeat(1 << 20))), &[431]),
        ("ten thousand headers", with(&"X: y\r\n".repeat(10_000)), &[431]),
        ("a header without name", with(": y\r\n"), &[400]),
        ("a header without colon", with("nothing\r\n"), &[400]),
        ("no host", b"GET /ping HTTP/1.1\r\n\r\n".to_vec(), &[400]),
        ("HTTP/0.9", b"GET /ping\r\n\r\n".to_vec(), &[400]),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[505]),
        ("HTTP/1.2", line("GET /ping HTTP/1.2"), &[505]),
        ("TLS", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\r\n\r\n".to_vec(), &[400]),
        ("gRPC's upgrade", with("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"), &[200]),
        ("a blank in the target", line("GET /pi ng HTTP/1.1"), &[505]),
        ("a NUL in the target", line("GET /ping\0 HTTP/1.1"), &[400]),
        ("a method in lower case", line("get /ping HTTP/1.1"), &[405]),
        ("a method that is none", line("GE\u{1}T /ping HTTP/1.1"), &[400]),
        ("a method by header", with("X-HTTP-Method-Override: DELETE\r\n"), &[200]),
        ("a destroy by header", line("GET /containers/h HTTP/1.1\r\nX-HTTP-Method-Override: DELETE"), &[405]),
        ("a destroy by parameter", line("POST /containers/h?_method=DELETE HTTP/1.1"), &[405]),
        ("an absolute target", line("GET http://elsewhere/ping HTTP/1.1"), &[200]),
        ("an absolute target without path", line("GET http://elsewhere HTTP/1.1"), &[404]),
        ("a target of a proxy", line("CONNECT elsewhere:443 HTTP/1.1"), &[404]),
        ("the server itself", line("OPTIONS * HTTP/1.1"), &[404]),
        ("two slashes", line("GET //ping HTTP/1.1"), &[404]),
        ("a way up", line("GET /containers/../ping HTTP/1.1"), &[404]),
        ("a way up, encoded", line("GET /containers/%2e%2e/info HTTP/1.1"), &[404]),
        (
            "a way up and down, encoded",
            line("GET /containers/%2e%2e%2f%2e%2e%2fetc%2fpasswd/info HTTP/1.1"),
            &[404],
        ),
        ("encoded twice", line("GET /containers/%252e%252e/info HTTP/1.1"), &[404]),
        ("a letter, encoded", line("GET /%70ing HTTP/1.1"), &[404]),
        ("a NUL, encoded", line("GET /containers/h%00/info HTTP/1.1"), &[404]),
        ("a line feed, encoded", line("GET /containers/h%0d%0aX:%20y/info HTTP/1.1"), &[404]),
        ("no text, encoded", line("GET /containers/%ff/info HTTP/1.1"), &[404]),
        ("half an encoding", line("GET /containers/%2/info HTTP/1.1"), &[404]),
        ("an expectation that nobody has", with("Expect: 200-ok\r\n"), &[200]),
        ("leave for no body", with("Expect: 100-continue\r\n"), &[200]),
        (
            "a body where there is none to be",
            with("Content-Length: 5\r\n").into_iter().chain(*b"hello").collect(),
            &[200],
        ),
        (
            "a second request behind such a body",
            [with("Content-Length: 5\r\n"), b"hello".to_vec(), line("GET /capacity HTTP/1.1")].concat(),
            &[200, 200],
        ),
        ("half a head", b"GET /ping HTT".to_vec(), &[400]),
        ("nothing", Vec::new(), &[]),
        ("empty lines only", b"\r\n".repeat(1000), &[]),
        ("HEAD", line("HEAD /ping HTTP/1.1"), &[405]),
    ] {
        let (got, told) = open.hostile(&request).await;
        verdicts.note(&open, case, got == statuses, &told).await;
    }
    let (_, listed) = open.hostile(&line("GET /containers HTTP/1.1")).await;
    assert!(listed.contains("[\"h\"]"), "{listed}");
    verdicts.expect_all(40);
    open.close().await;
}

#[tokio::test]
async fn slow_clients_are_cut_off_and_hold_nobody_up() {
    let config = HttpConfig { read_header_timeout: Duration::from_millis(300), ..HttpConfig::default() };
    let open = Open::with(config).await;
    let mut verdicts = Verdicts::default();
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut connection = open.connect().await;
        connection.write_all(b"GET /ping HTTP/1.1\r\nX: ").await.unwrap();
        slow.push(connection);
    }
    verdicts.note(&open, "twenty that have begun", true, "").await;
    for mut connection in slow {
        let told = rest(&mut connection).await;
        verdicts.note(&open, "a slow head", told.starts_with("HTTP/1.1 408 "), &told).await;
    }
    // A byte now and then is no reason to wait longer.
    let (mut answers, mut requests) = open.connect().await.into_split();
    let dripping = tokio::spawn(async move {
        while requests.write_all(b"G").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut told = Vec::new();
    // What was not read may turn the end into a reset.
    let _ = answers.read_to_end(&mut told).await;
    drop(answers);
    dripping.await.unwrap();
    let told = String::from_utf8(told).unwrap();
    verdicts.note(&open, "a head that drips", told.starts_with("HTTP/1.1 408 "), &told).await;
    verdicts.expect_all(22);
    open.close().await;
}

/// A process of the container `h`: its connection, and the number of the conversation.
async fn conversation(open: &Open, handle: &str, id: &str) -> (tokio::net::UnixStream, String) {
    let spec = format!(r#"{{"id":"{id}","path":"/bin/sleep"}}"#);
    let request = format!(
        "POST /containers/{handle}/processes HTTP/1.1\r\nHost: api\r\nContent-Length: {}\r\n\r\n{spec}",
        spec.len()
    );
    let mut connection = open.connect().await;
    connection.write_all(request.as_bytes()).await.unwrap();
    let told = until(&mut connection, "\"}\n").await;
    let (_, number) = told.trim_end().rsplit_once(':').unwrap();
    (connection, number.trim_matches(['"', '}']).to_owned())
}

#[tokio::test]
async fn outputs_are_found_once_and_by_their_own_names_only() {
    let open = Open::new().await;
    let mut verdicts = Verdicts::default();
    for handle in ["h", "other"] {
        let body = format!("{{\"handle\":\"{handle}\"}}");
        open.hostile(&create(&format!("Content-Length: {}\r\n", body.len()), &body)).await;
    }
    let (mut one, stream) = conversation(&open, "h", "p").await;
    let (mut two, others) = conversation(&open, "other", "q").await;
    assert!(stream != others && stream.len() > 31 && others.len() > 31, "{stream} {others}");
    let path = |handle: &str, process: &str, stream: &str, name: &str| {
        format!("/containers/{handle}/processes/{process}/attaches/{stream}/{name}")
    };
    let neighbour = (stream.parse::<u128>().unwrap() + 1).to_string();
    let huge = "9".repeat(60);
    for (case, path) in [
        ("the first number", path("h", "p", "1", "stdout")),
        ("zero", path("h", "p", "0", "stdout")),
        ("the next number", path("h", "p", &neighbour, "stdout")),
        ("a number beyond all", path("h", "p", &huge, "stdout")),
        ("a number below zero", path("h", "p", "-1", "stdout")),
        ("no number", path("h", "p", "x", "stdout")),
        ("another conversation's", path("h", "p", &others, "stdout")),
        ("its own, by another container", path("other", "p", &stream, "stdout")),
        ("its own, by another process", path("h", "q", &stream, "stdout")),
        ("its own, by a container that is none", path("..%2fh", "p", &stream, "stdout")),
    ] {
        // Who asks for what there is not reads an end at once, as with the reference engine.
        let (statuses, told) = open.hostile(&line(&format!("GET {path} HTTP/1.1"))).await;
        verdicts.note(&open, case, statuses == [200] && told.ends_with("\r\n\r\n"), &told).await;
    }
    let (statuses, told) =
        open.hostile(&line(&format!("GET {} HTTP/1.1", path("h", "p", &stream, "stdin")))).await;
    verdicts.note(&open, "an output that there is not", statuses == [404], &told).await;

    // All that did not take it from the one who has the right to it.
    let mut output = open.connect().await;
    output.write_all(&line(&format!("GET {} HTTP/1.1", path("h", "p", &stream, "stdout")))).await.unwrap();
    until(&mut output, "\r\n\r\n").await;
    let (statuses, told) =
        open.hostile(&line(&format!("GET {} HTTP/1.1", path("h", "p", &stream, "stdout")))).await;
    verdicts
        .note(&open, "its own, a second time", statuses == [200] && told.ends_with("\r\n\r\n"), &told)
        .await;

    // What follows a request for a conversation is said in it, and is no request.
    one.write_all(&line("GET /ping HTTP/1.1")).await.unwrap();
    let told = rest(&mut one).await;
    let held = told.starts_with("{\"process_id\":\"p\",\"error\":") && !told.contains("HTTP/1.1 ");
    verdicts.note(&open, "a request within a conversation", held, &told).await;
    verdicts.note(&open, "its output ends", rest(&mut output).await.is_empty(), "").await;
    two.write_all(b"{\"process_id\":\"p\",\"signal\":1}\n").await.unwrap();
    // The name in a message counts for nothing: the conversation is about its own process.
    let told = rest(&mut two).await;
    let held = told == "{\"process_id\":\"q\",\"exit_status\":137}\n";
    verdicts.note(&open, "a signal with another's name", held, &told).await;
    verdicts.expect_all(15);
    open.close().await;
}

/// Those who send much of a body and then nothing take the room for much from others, for as long as a body may take, and
/// nothing else. What is only announced takes none.
#[tokio::test]
async fn what_all_clients_send_together_is_bounded() {
    let open = Open::new().await;
    let announced =
        "POST /containers HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 16777216\r\n\r\n";
    let much = vec![b' '; 16_777_215];
    let mut stalled = Vec::new();
    for _ in 0..100 {
        let mut connection = open.connect().await;
        connection.write_all(announced.as_bytes()).await.unwrap();
        stalled.push(connection);
    }
    for connection in stalled.iter_mut().take(16) {
        connection.write_all(&much).await.unwrap();
    }
    let small = "POST /containers HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
    let served = open.exchange(small).await;
    assert!(served.starts_with("HTTP/1.1 200 OK\r\n"), "{served}");
    // 4 MiB are left, of which this one may have its own part beside.
    let (mut answer, mut request) = open.connect().await.into_split();
    let sending = tokio::spawn(async move {
        request.write_all(announced.as_bytes()).await.unwrap();
        // It is refused in the middle.
        let _ = request.write_all(&much).await;
    });
    let mut refused = vec![0; 12];
    answer.read_exact(&mut refused).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&refused), "HTTP/1.1 503");
    let mut refused = Vec::new();
    let _ = answer.read_to_end(&mut refused).await;
    let refused = String::from_utf8_lossy(&refused);
    sending.await.unwrap();
    assert!(refused.contains("too much is being sent by all clients together"), "{refused}");
    drop(stalled);
    open.close().await;
}
