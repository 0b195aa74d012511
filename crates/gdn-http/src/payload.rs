//! The messages on a connection of Run and Attach: JSON documents one after the other, in both directions.

use bytes::{Bytes, BytesMut};
use gdn_types::{Error, Result, Signal, WindowSize};
use serde::Serialize;

use crate::json::{self, Fields};

/// The longest message of a client, in bytes. Go's client sends in one message what it has in one buffer, such as the whole
/// request to a script of Concourse.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// Messages beyond that are copied out of the way of those behind them, in bytes.
const LARGE: usize = 64 * 1024;

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Resize(WindowSize),
    Stdin(Bytes),
    CloseStdin,
    Signal(Signal),
    /// Nothing that has a meaning, today.
    Nothing,
}

impl Input {
    /// Parses a message. Of several things that it says, the window counts before the input, and that before the signal.
    pub(crate) fn parse(message: &[u8]) -> Result<Self> {
        let mut fields = Fields::parse(message)?;
        if let Some(tty) = fields.optional_object("tty")? {
            return Ok(Input::Resize(json::window_size(tty)?));
        }
        match fields.optional_number::<u64>("source")? {
            Some(0) => {
                let data = fields.optional_string("data")?;
                return Ok(data.map_or(Input::CloseStdin, |data| Input::Stdin(data.into_bytes().into())));
            }
            Some(_) => return Ok(Input::Nothing),
            None => {}
        }
        Ok(match fields.optional_number::<u64>("signal")? {
            Some(0) => Input::Signal(Signal::TERM),
            Some(1) => Input::Signal(Signal::KILL),
            _ => Input::Nothing,
        })
    }
}

/// Cuts what arrives into messages.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    pub(crate) buffer: BytesMut,
    /// How much of the buffer was looked at.
    seen: usize,
    /// How many brackets are open there.
    depth: usize,
    within_string: bool,
    after_backslash: bool,
}

impl Messages {
    /// Begins with what was read already.
    pub(crate) fn new(buffer: BytesMut) -> Self {
        Messages { buffer, ..Messages::default() }
    }

    /// The next whole message, if all of it is there.
    ///
    /// # Errors
    /// `InvalidArgument` for what cannot become a message.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(byte) = self.buffer.get(self.seen).copied() {
            self.seen += 1;
            if self.within_string {
                match byte {
                    _ if self.after_backslash => self.after_backslash = false,
                    b'\\' => self.after_backslash = true,
                    b'"' => self.within_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'{' | b'[' if self.depth > 0 || byte == b'{' => self.depth += 1,
                b' ' | b'\t' | b'\r' | b'\n' if self.depth == 0 => {
                    let _blank = self.buffer.split_to(self.seen);
                    self.seen = 0;
                }
                _ if self.depth == 0 => {
                    return Err(Error::invalid("a message of the client is no JSON object"));
                }
                b'"' => self.within_string = true,
                b'}' | b']' => self.depth -= 1,
                _ => {}
            }
            if self.depth == 0 && self.seen > 0 {
                let message = self.buffer.split_to(self.seen).freeze();
                self.seen = 0;
                if message.len() > LARGE {
                    // What is left would keep all of the memory that the two shared.
                    self.buffer = BytesMut::from(&self.buffer[..]);
                }
                return Ok(Some(message));
            }
        }
        if self.buffer.len() > MAX_MESSAGE {
            return Err(Error::invalid(format!("a message of the client has more than {MAX_MESSAGE} bytes")));
        }
        Ok(None)
    }
}

/// The first thing a client is told.
#[derive(Debug, Serialize)]
pub(crate) struct Started<'a> {
    pub(crate) process_id: &'a str,
    pub(crate) stream_id: String,
}

/// The last thing, when the process has ended.
#[derive(Debug, Serialize)]
pub(crate) struct Exited<'a> {
    pub(crate) process_id: &'a str,
    pub(crate) exit_status: i32,
}

/// The last thing, when it cannot be known how.
#[derive(Debug, Serialize)]
pub(crate) struct Failed<'a> {
    pub(crate) process_id: &'a str,
    pub(crate) error: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(messages: &mut Messages) -> Vec<String> {
        std::iter::from_fn(|| messages.next().unwrap())
            .map(|message| String::from_utf8(message.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn messages_are_cut_where_they_end_and_blanks_are_passed_over() {
        let mut messages = Messages::new(BytesMut::from(&b"\n {\"a\":\"}\\\"{\"}{}\n\r\n[1]"[..]));
        assert_eq!(messages.next().unwrap().unwrap(), &b"{\"a\":\"}\\\"{\"}"[..]);
        assert_eq!(messages.next().unwrap().unwrap(), &b"{}"[..]);
        messages.next().unwrap_err();
    }

    #[test]
    fn what_follows_a_large_message_does_not_keep_its_memory() {
        let mut messages = Messages::default();
        messages.buffer.extend_from_slice(format!("{{\"data\":\"{}\"}}{{", "x".repeat(LARGE)).as_bytes());
        drop(messages.next().unwrap().unwrap());
        assert!(messages.next().unwrap().is_none());
        assert_eq!(&messages.buffer[..], b"{");
        assert!(messages.buffer.capacity() < LARGE, "{}", messages.buffer.capacity());
    }

    #[test]
    fn a_message_without_end_is_refused() {
        let mut messages = Messages::new(BytesMut::from(&b"{\"data\":\""[..]));
        messages.buffer.resize(MAX_MESSAGE + 1, b'x');
        messages.next().unwrap_err();
    }

    #[test]
    fn each_message_of_the_go_client_is_understood() {
        for (text, expected) in [
            (r#"{"process_id":"p","source":0,"data":"hi\n"}"#, Input::Stdin(Bytes::from_static(b"hi\n"))),
            (r#"{"process_id":"p","source":0}"#, Input::CloseStdin),
            (r#"{"process_id":"p","signal":0}"#, Input::Signal(Signal::TERM)),
            (r#"{"process_id":"p","signal":1}"#, Input::Signal(Signal::KILL)),
            (
                r#"{"process_id":"p","tty":{"window_size":{"columns":100,"rows":40}}}"#,
                Input::Resize(WindowSize { columns: 100, rows: 40 }),
            ),
            (r#"{"tty":{},"source":0,"signal":1}"#, Input::Resize(WindowSize::default())),
            (r#"{"source":0,"signal":1}"#, Input::CloseStdin),
            (r#"{"source":0,"data":""}"#, Input::Stdin(Bytes::new())),
            (r#"{"source":1,"data":"x"}"#, Input::Nothing),
            (r#"{"signal":7}"#, Input::Nothing),
            ("{}", Input::Nothing),
        ] {
            assert_eq!(Input::parse(text.as_bytes()).unwrap(), expected, "{text}");
        }
        Input::parse(b"{\"source\":\"0\"}").unwrap_err();
    }

    #[test]
    fn answers_have_the_bytes_that_clients_know() {
        let text = |document: Vec<u8>| String::from_utf8(document).unwrap();
        assert_eq!(
            text(json::document(&Started { process_id: "p", stream_id: "7".to_owned() })),
            "{\"process_id\":\"p\",\"stream_id\":\"7\"}\n"
        );
        assert_eq!(
            text(json::document(&Exited { process_id: "p", exit_status: 0 })),
            "{\"process_id\":\"p\",\"exit_status\":0}\n"
        );
        assert_eq!(
            text(json::document(&Failed { process_id: "p", error: "boom".to_owned() })),
            "{\"process_id\":\"p\",\"error\":\"boom\"}\n"
        );
    }

    proptest! {
        #[test]
        fn wherever_the_reads_cut_them_the_messages_are_the_same(
            texts in prop::collection::vec(any::<String>(), 0..6),
            cut in 1_usize..40,
        ) {
            let sent: Vec<String> =
                texts.iter().map(|text| serde_json::json!({ "data": text, "n": [1, {}] }).to_string()).collect();
            let stream = sent.join("\n");
            let mut messages = Messages::default();
            let mut got = Vec::new();
            for piece in stream.as_bytes().chunks(cut) {
                messages.buffer.extend_from_slice(piece);
                got.extend(all(&mut messages));
            }
            prop_assert_eq!(got, sent);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut messages = Messages::new(BytesMut::from(&bytes[..]));
            while let Ok(Some(message)) = messages.next() {
                let _ = Input::parse(&message);
            }
        }
    }
}
