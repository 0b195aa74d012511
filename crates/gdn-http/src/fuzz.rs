//! Whatever arrives, the readers of this crate neither panic nor contradict themselves, and hold no more than they may.
//!
//! Four targets: heads of requests, bodies in chunks, messages of conversations, documents. Each is played with its corpus
//! (`corpus/TARGET/NAME`, raw bytes) and with mutations of it, as many as `GDN_FUZZ_CASES` says for each entry. An input that
//! was found to matter becomes a file of the corpus.

use std::fs;
use std::path::Path;

use bytes::BytesMut;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::AsyncWriteExt;

use crate::connection::{Body, BodyError, Connection};
use crate::head::{self, Length};
use crate::json::{self, Fields};
use crate::payload::{Input, Messages};
use crate::route;
use crate::socket::pair;

/// Mutations of each entry when nobody asks for more.
const CASES: u32 = 40;

/// A change of some bytes.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(usize, u8),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    /// Copies a part to another place.
    Repeat(usize, usize, usize),
    Cut(usize),
}

/// Words of the protocol that chance does not find.
const WORDS: [&[u8]; 12] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\0",
    b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"{",
    b"}",
    b"\"",
    b"\\",
    b"\\ud800",
    b"\xff",
];

fn mutation() -> impl Strategy<Value = Mutation> {
    let place = || any::<usize>();
    let inserted = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..8),
        prop::sample::select(&WORDS[..]).prop_map(<[u8]>::to_vec),
    ];
    prop_oneof![
        (place(), 1_u8..).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        (place(), inserted).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (place(), 1_usize..16).prop_map(|(at, length)| Mutation::Remove(at, length)),
        (place(), 1_usize..64, place()).prop_map(|(at, length, to)| Mutation::Repeat(at, length, to)),
        place().prop_map(Mutation::Cut),
    ]
}

fn mutated(mut bytes: Vec<u8>, mutations: &[Mutation]) -> Vec<u8> {
    for mutation in mutations {
        let place = |at: usize| at % (bytes.len() + 1);
        match mutation {
            Mutation::Flip(at, bits) => {
                let at = place(*at);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bits;
                }
            }
            Mutation::Insert(at, inserted) => {
                let at = place(*at);
                bytes.splice(at..at, inserted.iter().copied());
            }
            Mutation::Remove(at, length) => {
                let at = place(*at);
                bytes.drain(at..(at + length).min(bytes.len()));
            }
            Mutation::Repeat(at, length, to) => {
                let (at, to) = (place(*at), place(*to));
                let part = bytes[at..(at + length).min(bytes.len())].to_vec();
                bytes.splice(to..to, part);
            }
            Mutation::Cut(at) => bytes.truncate(place(*at)),
        }
    }
    bytes
}

/// Plays a target with its corpus and with mutations of it.
fn play(target: &str, check: impl Fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let cases = std::env::var("GDN_FUZZ_CASES").map_or(CASES, |text| text.parse().unwrap());
    let mut entries: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    assert!(entries.len() >= 10, "{}", directory.display());
    for entry in entries {
        let bytes = fs::read(&entry).unwrap();
        check(&bytes);
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let mutations = prop::collection::vec(mutation(), 1..6);
        let outcome = TestRunner::new(config).run(&mutations, |mutations| {
            check(&mutated(bytes.clone(), &mutations));
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{}: {error}", entry.display()));
    }
}

/// A head has one end, and says one thing about its body.
fn check_head(bytes: &[u8]) {
    let end = head::end_of_head(bytes, 0);
    for cut in 0..bytes.len() {
        // What was looked at before is not looked at again, and that makes no difference.
        if head::end_of_head(&bytes[..cut], 0).is_none() {
            assert_eq!(head::end_of_head(bytes, cut), end, "cut at {cut}");
        }
    }
    let Some(end) = end else { return };
    let Ok(head) = head::parse(&bytes[..end]) else { return };
    assert!(head.trace.len() <= 128 && head.trace.bytes().all(|byte| byte.is_ascii_graphic()), "{head:?}");
    let text = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    if head.length == Length::Chunked {
        assert!(!text.contains("\ncontent-length:"), "{text:?}");
    }
    for (name, value) in route::parameters(&head.query) {
        assert!(name.len() + value.len() <= 3 * head.query.len(), "{name:?} {value:?}");
    }
    // Whatever it leads to, a path never leads to two things.
    if let Ok(route) = route::route(&head.method, &head.path) {
        assert!(head.path.starts_with('/') && !route.call.name().is_empty());
    }
}

/// Messages are the same however they arrive, and nothing of them is there twice.
fn check_messages(bytes: &[u8]) {
    let whole = messages(&[bytes]);
    for size in [1, 3, 7, 64] {
        assert_eq!(messages(&bytes.chunks(size).collect::<Vec<_>>()), whole, "pieces of {size}");
    }
    assert!(whole.0.iter().map(Vec::len).sum::<usize>() <= bytes.len());
    for message in whole.0 {
        assert_eq!(
            (message.first(), message.last().is_some_and(|byte| b"}]".contains(byte))),
            (Some(&b'{'), true)
        );
        // It may be refused.
        let _ = Input::parse(&message);
    }
}

/// The messages in some pieces, up to the first that is none, and whether there is one.
fn messages(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
    let (mut messages, mut got) = (Messages::new(BytesMut::new()), Vec::new());
    for piece in pieces {
        messages.buffer.extend_from_slice(piece);
        loop {
            match messages.next() {
                Ok(Some(message)) => got.push(message.to_vec()),
                Ok(None) => break,
                Err(_) => return (got, true),
            }
        }
    }
    (got, false)
}

/// A document is read or refused, whatever it is taken for, and in the same way each time.
fn check_document(bytes: &[u8]) {
    let fields = || Fields::parse(bytes);
    let told: [Option<String>; 9] = [
        fields().and_then(json::container_spec).err(),
        fields().and_then(json::process_spec).err(),
        fields().and_then(json::net_in).err(),
        fields().and_then(json::window_size).err(),
        json::net_out(bytes).err(),
        json::net_out_rules(bytes).err(),
        json::grace_time(bytes).err(),
        json::kill(bytes).err(),
        json::property(bytes).err(),
    ]
    .map(|error| error.map(|error| error.report()));
    for text in told.into_iter().flatten() {
        assert!(text.len() <= 8 * bytes.len() + 400, "{} bytes tell of {}", text.len(), bytes.len());
    }
}

/// A body in chunks ends in one place, holds no more than arrived, and is the same however it arrives.
async fn check_body(bytes: &[u8]) {
    let whole = body(bytes, bytes.len().max(1)).await;
    assert_eq!(body(bytes, 1).await, whole);
    assert_eq!(body(bytes, 5).await, whole);
    assert!(whole.0.len() <= bytes.len());
}

/// What there is of a body that arrives in pieces of this size, and how it ends: what is behind it, or that it is none.
async fn body(bytes: &[u8], size: usize) -> (Vec<u8>, Option<Vec<u8>>) {
    let (mut client, server) = pair();
    let mut connection = Connection::new(server);
    let reading = async move {
        let (mut body, mut whole) = (Body::new(Length::Chunked), Vec::new());
        loop {
            match body.next(&mut connection).await {
                Ok(Some(piece)) => whole.extend_from_slice(&piece),
                Ok(None) => break,
                Err(BodyError::Broken(error)) => panic!("{error}"),
                Err(_) => return (whole, None),
            }
        }
        let mut rest = connection.buffer.to_vec();
        tokio::io::AsyncReadExt::read_to_end(&mut connection.socket, &mut rest).await.unwrap();
        (whole, Some(rest))
    };
    let sending = async move {
        for piece in bytes.chunks(size) {
            // Nobody reads what is behind an error.
            if client.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    futures::future::join(reading, sending).await.0
}

#[test]
fn no_head_makes_the_gate_panic_or_has_two_ends() {
    play("heads", check_head);
}

#[test]
fn messages_are_the_same_however_they_arrive() {
    play("messages", check_messages);
}

#[test]
fn no_document_makes_the_gate_panic_or_talk_much() {
    play("documents", check_document);
}

#[test]
fn bodies_in_chunks_are_the_same_however_they_arrive() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    play("bodies", |bytes| runtime.block_on(check_body(bytes)));
}
