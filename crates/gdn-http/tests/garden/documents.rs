//! Documents that a decoder may stumble over (row A1.07 of the campaigns), and what Go's does with them.
//!
//! Refused documents have the status 500, as with the reference engine: clients look at the body.

use std::fmt::Write;

use super::gate::Open;

/// What comes of a create with a body.
enum Outcome {
    /// A container of this name.
    Made(&'static str),
    /// An error that says this.
    Refused(&'static str),
    /// A response of this status.
    Status(u16),
}

use Outcome::{Made, Refused, Status};

/// Conformance: A15
#[tokio::test]
async fn documents_are_read_as_gos_decoder_reads_them() {
    let open = Open::new().await;
    let deep = |open: &str, close: &str, number: usize| {
        format!("{{\"x\":{}{}}}", open.repeat(number), close.repeat(number))
    };
    let mut keys = String::from("{\"handle\":\"keys\"");
    for number in 0..1_000_000 {
        write!(keys, ",\"k{number}\":0").unwrap();
    }
    keys.push('}');
    let text = |bytes: &str| bytes.as_bytes().to_vec();
    let spread = |number: usize| {
        [b"{\"x\":\"".to_vec(), vec![b'x'; number], b"\",\"handle\":\"long\"}".to_vec()].concat()
    };
    let cases: Vec<(&str, Vec<u8>, Outcome)> = vec![
        // What is taken.
        ("unknown members", text(r#"{"handle":"a","new":[{"x":null}],"newer":1.5}"#), Made("a")),
        ("names in other cases", text(r#"{"HANDLE":"a","Properties":{"K":"v"}}"#), Made("a")),
        ("a name twice", text(r#"{"handle":"b","handle":"a"}"#), Made("a")),
        ("null for a document", text("null"), Made("")),
        (
            "null for all members",
            text(
                r#"{"handle":"a","grace_time":null,"image":null,"env":null,"properties":null,"limits":null,"bind_mounts":null,"netin":null,"netout_rules":null,"privileged":null,"network":null,"rootfs":null}"#,
            ),
            Made("a"),
        ),
        (
            "null within",
            text(
                r#"{"handle":"a","limits":{"cpu_limits":null,"pid_limits":{"max":null}},"properties":{"k":null}}"#,
            ),
            Made("a"),
        ),
        ("blanks around", text(" \r\n\t{\"handle\":\"a\"}\n\n"), Made("a")),
        ("a second document behind", text(r#"{"handle":"a"}{"handle":"b"}"#), Made("a")),
        ("nonsense behind", text(r#"{"handle":"a"} ]]"#), Made("a")),
        ("escapes", text(r#"{"\u0068andle":"\u0061","properties":{"\u003ck\u003e":"\/"}}"#), Made("a")),
        ("half a surrogate pair", text(r#"{"handle":"a","properties":{"k":"\ud800"}}"#), Made("a")),
        ("the other half", text(r#"{"handle":"a","properties":{"k":"x\udfffy"}}"#), Made("a")),
        (
            "bytes that are no text",
            b"{\"handle\":\"a\",\"properties\":{\"k\":\"\xff\xfe\"}}".to_vec(),
            Made("a"),
        ),
        ("an empty object", text("{}"), Made("")),
        (
            "the largest number",
            text(r#"{"handle":"a","limits":{"memory_limits":{"limit_in_bytes":18446744073709551615}}}"#),
            Made("a"),
        ),
        ("a text of ten mebibytes that nobody asks for", spread(10 << 20), Made("long")),
        // What is not.
        ("nothing", text(""), Refused("EOF")),
        ("blanks", text("  \n"), Refused("EOF")),
        ("half a document", text(r#"{"handle":"a""#), Refused("unexpected EOF")),
        ("half a text", text(r#"{"handle":"a"#), Refused("unexpected EOF")),
        ("half an escape", text(r#"{"handle":"\u00"#), Refused("unexpected EOF")),
        ("no document", text("hello"), Refused("no JSON")),
        ("a mark of byte order", text("\u{feff}{\"handle\":\"a\"}"), Refused("no JSON")),
        ("another encoding", b"\xff\xfe{\0}\0".to_vec(), Refused("no JSON")),
        ("single quotes", text("{'handle':'a'}"), Refused("no JSON")),
        ("a comma too many", text(r#"{"handle":"a",}"#), Refused("no JSON")),
        ("a comment", text("{/* */}"), Refused("no JSON")),
        ("no number", text(r#"{"grace_time":NaN}"#), Refused("no JSON")),
        ("infinity", text(r#"{"grace_time":-Infinity}"#), Refused("no JSON")),
        ("a number beyond a double", text(r#"{"grace_time":1e999}"#), Refused("no JSON")),
        ("a number with a zero before", text(r#"{"grace_time":01}"#), Refused("no JSON")),
        ("a control character in a text", text("{\"handle\":\"a\nb\"}"), Refused("no JSON")),
        ("a list", text("[]"), Refused("list")),
        ("a text", text("\"a\""), Refused("string")),
        ("a number as text", text(r#"{"grace_time":"1"}"#), Refused("grace_time")),
        ("a text as number", text(r#"{"handle":1}"#), Refused("handle")),
        ("a number as truth", text(r#"{"privileged":1}"#), Refused("privileged")),
        ("a fraction", text(r#"{"limits":{"pid_limits":{"max":1.5}}}"#), Refused("max")),
        ("a whole number with a point", text(r#"{"limits":{"pid_limits":{"max":1.0}}}"#), Refused("max")),
        ("a whole number with an exponent", text(r#"{"limits":{"pid_limits":{"max":1e3}}}"#), Refused("max")),
        ("below zero", text(r#"{"limits":{"pid_limits":{"max":-1}}}"#), Refused("max")),
        (
            "one more than the largest",
            text(r#"{"limits":{"memory_limits":{"limit_in_bytes":18446744073709551616}}}"#),
            Refused("limit_in_bytes"),
        ),
        (
            "a port beyond all",
            text(r#"{"netin":[{"host_port":65536,"container_port":1}]}"#),
            Refused("host_port"),
        ),
        ("an object as list", text(r#"{"env":{}}"#), Refused("env")),
        ("a list as object", text(r#"{"properties":[]}"#), Refused("properties")),
        ("a text in a list of objects", text(r#"{"netin":["x"]}"#), Refused("netin")),
        ("lists in lists", text(&deep("[", "]", 100_000)), Refused("no JSON")),
        ("objects in objects", text(&deep("{\"x\":", "}", 100_000)), Refused("no JSON")),
        ("a million names", text(&keys), Refused("values")),
        ("a million brackets", [b"[".repeat(1_000_000), b"]".repeat(1_000_000)].concat(), Refused("values")),
        (
            "a million values",
            [b"[0".to_vec(), b",0".repeat(1_000_000), b"]".to_vec()].concat(),
            Refused("values"),
        ),
        ("a text of a hundred mebibytes", spread(100 << 20), Status(413)),
    ];
    let (mut wrong, number) = (Vec::new(), cases.len());
    for (case, body, outcome) in cases {
        let head = format!(
            "POST /containers HTTP/1.1\r\nHost: api\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let (statuses, told) = open.hostile(&[head.as_bytes(), &body].concat()).await;
        let handle =
            told.split_once("{\"Handle\":\"").and_then(|(_, rest)| rest.split('"').next()).map(str::to_owned);
        let held = match outcome {
            Made(name) => handle.as_deref().is_some_and(|handle| name.is_empty() || handle == name),
            Refused(says) => statuses == [500] && told.contains(says),
            Status(status) => statuses == [status],
        };
        println!("{} {case}", if held { "ok   " } else { "WRONG" });
        if !held {
            wrong.push(format!("{case}: {}", &told[..told.floor_char_boundary(400)]));
        }
        if let Some(handle) = handle {
            let destroy = format!("DELETE /containers/{handle} HTTP/1.1\r\nHost: api\r\n\r\n");
            assert_eq!(open.hostile(destroy.as_bytes()).await.0, [200], "{case}");
        }
        assert_eq!(open.hostile(b"GET /ping HTTP/1.1\r\nHost: api\r\n\r\n").await.0, [200], "{case}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(number >= 40, "{number} cases");
    assert!(open.world.leftovers().is_empty());
    open.close().await;
}
