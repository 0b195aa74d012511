//! Garden's own suite, row by row, as its clients would play it: few servers, many rows for each.
//!
//! What is not here is in the other files of this directory, or has a mark in `docs/conformance`.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;

use engine_tests::Engine;
use engine_tests::garden::{Conversation, Finished, Garden};
use serde_json::{Value, json};

mod containers;
mod ends;
mod files;
mod images;
mod limits;
mod loads;
mod names;
mod processes;
mod sandbox;
mod security;
mod sidecars;
mod throttling;

/// An engine that serves, and a client of it.
struct Bed {
    engine: Engine,
    garden: Garden,
}

impl Bed {
    fn start() -> Self {
        Bed::start_with(&[])
    }

    fn start_with(options: &[&str]) -> Self {
        let mut engine = Engine::new();
        engine.start_server(options);
        let garden = engine.garden();
        Bed { engine, garden }
    }

    /// A container of busybox, with these members besides.
    #[track_caller]
    fn create(&self, more: Value) -> String {
        self.garden.create(&self.engine.busybox(more))
    }

    /// A process's end.
    #[track_caller]
    fn run(&self, handle: &str, spec: Value) -> Finished {
        match self.garden.run(handle, &spec) {
            Ok(process) => process.finish(),
            Err(refused) => panic!("{spec}: {}", refused.text()),
        }
    }

    /// What a script of a user says that succeeds.
    #[track_caller]
    fn said(&self, handle: &str, user: &str, text: &str) -> String {
        self.run(handle, with(script(text), json!({ "user": user }))).expect(0).text()
    }

    /// A process that has said "ready", and its standard output.
    fn ready(&self, handle: &str, spec: Value) -> (Conversation, BufReader<UnixStream>) {
        let process = self.garden.run_unheard(handle, &spec).expect("the process starts");
        let mut output = process.open(&self.garden, handle, "stdout");
        next_line(&mut output, "ready");
        (process, output)
    }

    #[track_caller]
    fn finish(self) {
        self.engine.finish();
    }
}

/// Asserts what the next line is, whatever ends it.
#[track_caller]
fn next_line(output: &mut impl BufRead, wanted: &str) {
    let mut line = String::new();
    output.read_line(&mut line).expect("the line comes in time");
    assert_eq!(line.trim_end(), wanted);
}

/// A program and its arguments.
fn program(words: &[&str]) -> Value {
    json!({ "path": words[0], "args": words[1..] })
}

/// A script of the image's shell.
fn script(text: &str) -> Value {
    program(&["sh", "-c", text])
}

/// The same on a terminal of the usual size.
fn on_terminal(spec: Value) -> Value {
    with(spec, json!({ "tty": {} }))
}

/// A document with more members.
fn with(mut document: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("the members are an object") };
    document.as_object_mut().expect("the document is an object").extend(more);
    document
}
