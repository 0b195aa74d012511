//! The requests of a connection, one after the other.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use gardener_core::Gardener;
use gdn_types::{AttachFrom, Error, ErrorKind, Result, StreamInSpec, StreamOutSpec};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::{Fault, Subject, caught};
use crate::calls;
use crate::connection::{Body, BodyError, Connection, Framing, Heard, response_head};
use crate::files::{self, Tar};
use crate::head::Head;
use crate::json::{self, Fields, Nothing};
use crate::output::Which;
use crate::room::{Room, Share};
use crate::route::{self, Call, Route, Stray, parameter};
use crate::session::Session;
use crate::sides::SideStreams;
use crate::socket;

/// How long a connection may be silent between two requests: clients with a pool send again what an end of file met, but not
/// everything.
const IDLE: Duration = Duration::from_secs(15 * 60);

/// The largest JSON body, in bytes: some ten thousand rules.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// How long a JSON body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(60);

/// How long a client may take to read an answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// What every request is answered with.
pub(crate) struct Requests {
    pub(crate) gardener: Arc<Gardener>,
    pub(crate) streams: Arc<SideStreams>,
    pub(crate) room: Room,
    pub(crate) tasks: TaskTracker,
    /// Calls that the engine is busy with, up to their answers.
    pub(crate) calls: TaskTracker,
    pub(crate) shutdown: CancellationToken,
    pub(crate) read_header_timeout: Duration,
}

/// What becomes of a connection after a request.
enum Next {
    /// Another request.
    Request(Connection),
    /// It ends.
    Close(Connection),
    /// Others have it, or it is broken.
    Gone,
}

/// An answer that was not sent yet.
struct Answer {
    status: u16,
    document: Vec<u8>,
    allow: Option<String>,
}

impl Answer {
    fn of(outcome: Result<Vec<u8>>, subject: &Subject) -> Self {
        match outcome {
            Ok(document) => Answer { status: 200, document, allow: None },
            Err(error) => {
                let (status, fault) = subject.refuse(&error);
                Answer { status, document: json::document(&fault), allow: None }
            }
        }
    }

    fn refusal(status: u16, message: &str) -> Self {
        Answer { status, document: json::document(&Fault::untyped(message)), allow: None }
    }

    async fn send(&self, connection: &mut Connection, keep_alive: bool) -> io::Result<()> {
        let framing = Framing::Json(self.document.len());
        let mut bytes = response_head(self.status, framing, keep_alive, self.allow.as_deref()).into_bytes();
        bytes.extend_from_slice(&self.document);
        tokio::time::timeout(ANSWER_PATIENCE, connection.socket.write_all(&bytes)).await?
    }
}

impl Requests {
    /// Answers requests until the connection ends.
    pub(crate) async fn answer_all(&self, mut connection: Connection) {
        let mut idle = self.read_header_timeout;
        loop {
            let heard = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return socket::close(connection.socket).await,
                heard = connection.hear(idle, self.read_header_timeout) => heard,
            };
            let head = match heard {
                Heard::Request(head) => head,
                Heard::Nothing => return,
                Heard::Refused(refusal) => {
                    tracing::info!(status = refusal.status, reason = refusal.message, "request refused");
                    let answer = Answer::refusal(refusal.status, &refusal.message);
                    // It need not be read.
                    let _ = answer.send(&mut connection, false).await;
                    return socket::close(connection.socket).await;
                }
            };
            connection = match Box::pin(self.answer(connection, &head)).await {
                Next::Request(connection) => connection,
                Next::Close(connection) => return socket::close(connection.socket).await,
                Next::Gone => return,
            };
            idle = IDLE;
        }
    }

    async fn answer(&self, mut connection: Connection, head: &Head) -> Next {
        let route = match route::route(&head.method, &head.path) {
            Ok(route) => route,
            Err(stray) => {
                let mut answer = match stray {
                    Stray::Path => Answer::refusal(404, "404 page not found"),
                    Stray::Method(_) => Answer::refusal(405, "Method Not Allowed"),
                };
                if let Stray::Method(allow) = stray {
                    answer.allow = Some(allow);
                }
                // The answer to a HEAD has no body, which this one has: the next request would be answered by it.
                let in_step = Body::new(head.length).is_over() && head.method != "HEAD";
                return self.finish(connection, head, &answer, in_step).await;
            }
        };
        let mut subject = Subject {
            operation: route.call.name(),
            handle: route.handle.clone(),
            process: route.process.clone(),
            trace: head.trace.clone(),
        };
        tracing::debug!(
            operation = subject.operation,
            handle = subject.handle,
            process = subject.process,
            trace = subject.trace,
            "request"
        );
        match route.call {
            Call::StreamIn => self.stream_in(connection, head, &subject).await,
            Call::StreamOut => self.stream_out(connection, head, &subject).await,
            Call::Stdout => self.side(connection, &route, Which::Stdout).await,
            Call::Stderr => self.side(connection, &route, Which::Stderr).await,
            _ => {
                let mut share = self.room.share();
                let body = match connection.body(head, MAX_BODY, BODY_PATIENCE, &mut share).await {
                    Ok(body) => body,
                    Err(error) => return self.without_body(connection, head, &subject, &error).await,
                };
                match route.call {
                    Call::Run => self.run(connection, head, subject, (body, share)).await,
                    Call::Attach => {
                        drop((body, share));
                        self.attach(connection, head, subject).await
                    }
                    _ => {
                        let _call = self.calls.token();
                        let outcome =
                            caught(calls::answer(&self.gardener, &mut subject, &route, &head.query, &body));
                        let answer = Answer::of(outcome.await, &subject);
                        self.finish(connection, head, &answer, true).await
                    }
                }
            }
        }
    }

    /// Sends an answer. The connection goes on when the client wants that, and all of the body was read.
    async fn finish(&self, mut connection: Connection, head: &Head, answer: &Answer, whole: bool) -> Next {
        let keep_alive = whole && head.keep_alive && !self.shutdown.is_cancelled();
        match answer.send(&mut connection, keep_alive).await {
            Ok(()) if keep_alive => Next::Request(connection),
            Ok(()) => Next::Close(connection),
            Err(_) => Next::Gone,
        }
    }

    /// Answers a request whose body did not come.
    async fn without_body(
        &self,
        connection: Connection,
        head: &Head,
        subject: &Subject,
        error: &BodyError,
    ) -> Next {
        let status = match error {
            BodyError::CutOff => 500,
            BodyError::Malformed(_) | BodyError::Broken(_) => 400,
            BodyError::TooLarge(_) => 413,
            BodyError::TooSlow(_) => 408,
            BodyError::NoRoom(_) => 503,
        };
        subject.log(&Error::invalid(error.to_string()), "request failed");
        self.finish(connection, head, &Answer::refusal(status, &error.to_string()), false).await
    }

    async fn run(
        &self,
        connection: Connection,
        head: &Head,
        mut subject: Subject,
        body: (Vec<u8>, Share),
    ) -> Next {
        let asked = caught(async {
            let handle = subject.handle()?;
            Ok((handle, json::process_spec(Fields::parse(&body.0)?)?))
        });
        let asked = asked.await;
        // Not to be kept for as long as the process runs.
        drop(body);
        let started = caught(async {
            let (handle, spec) = asked?;
            if let Some(id) = &spec.id {
                subject.process = id.to_string();
            }
            Box::pin(self.gardener.run(&handle, spec)).await
        });
        let started = started.await;
        if let Ok(process) = &started {
            subject.process = process.id.to_string();
        }
        self.converse(connection, head, subject, started, 201).await
    }

    async fn attach(&self, connection: Connection, head: &Head, subject: Subject) -> Next {
        let attached = caught(async {
            let (handle, id) = (subject.handle()?, subject.process()?);
            Box::pin(self.gardener.attach(&handle, &id, AttachFrom::default())).await
        });
        let attached = attached.await;
        self.converse(connection, head, subject, attached, 200).await
    }

    async fn converse(
        &self,
        connection: Connection,
        head: &Head,
        subject: Subject,
        process: Result<gardener_core::RunningProcess>,
        status: u16,
    ) -> Next {
        let (process, handle) = match process.and_then(|process| Ok((process, subject.handle()?))) {
            Ok(both) => both,
            Err(error) => {
                return self.finish(connection, head, &Answer::of(Err(error), &subject), true).await;
            }
        };
        let session = Session {
            gardener: self.gardener.clone(),
            subject: subject.clone(),
            handle,
            process,
            status,
            streams: self.streams.clone(),
            share: self.room.share(),
            tasks: self.tasks.clone(),
            shutdown: self.shutdown.clone(),
        };
        match Box::pin(session.talk(connection)).await {
            Ok(()) => Next::Gone,
            Err((connection, error)) => {
                self.finish(connection, head, &Answer::of(Err(error), &subject), true).await
            }
        }
    }

    /// Hands the connection to the output it is for. One that is over, or never was, has no bytes.
    async fn side(&self, connection: Connection, route: &Route, which: Which) -> Next {
        let Err(mut connection) = self.streams.claim(route, which, connection) else {
            return Next::Gone;
        };
        let head = response_head(200, Framing::Raw, true, None);
        match connection.socket.write_all(head.as_bytes()).await {
            Ok(()) => Next::Close(*connection),
            Err(_) => Next::Gone,
        }
    }

    async fn stream_in(&self, mut connection: Connection, head: &Head, subject: &Subject) -> Next {
        let spec = StreamInSpec {
            path: parameter(&head.query, "destination"),
            user: parameter(&head.query, "user"),
        };
        let mut body = Body::new(head.length);
        let extracted = caught(async {
            let handle = subject.handle()?;
            files::stream_in(&self.gardener, &handle, &spec, &mut connection, head, &mut body).await
        });
        let outcome = extracted.await.map(|()| json::document(&Nothing {})).map_err(as_clients_expect);
        let answer = Answer::of(outcome, subject);
        let whole = body.is_over();
        self.finish(connection, head, &answer, whole).await
    }

    async fn stream_out(&self, mut connection: Connection, head: &Head, subject: &Subject) -> Next {
        let spec =
            StreamOutSpec { path: parameter(&head.query, "source"), user: parameter(&head.query, "user") };
        let whole = Body::new(head.length).is_over();
        let tar =
            caught(async { Tar::begin(self.gardener.stream_out(&subject.handle()?, &spec).await?).await });
        let tar = match tar.await {
            Ok(tar) => tar,
            Err(error) => {
                return self.finish(connection, head, &Answer::of(Err(error), subject), whole).await;
            }
        };
        let keep_alive = whole && head.keep_alive && !self.shutdown.is_cancelled();
        match tar.send(subject, &mut connection, head, keep_alive).await {
            Ok(()) if keep_alive => Next::Request(connection),
            Ok(()) => Next::Close(connection),
            Err(_) => Next::Gone,
        }
    }
}

/// The response to a client that there is no room for.
pub(crate) fn unavailable(message: &str) -> Vec<u8> {
    let fault = Fault::of(&Error::new(ErrorKind::Unavailable, message), "", "");
    let document = json::document(&fault);
    let mut response = response_head(503, Framing::Json(document.len()), false, None).into_bytes();
    response.extend(document);
    response
}

/// Clients look for these words where the user does not exist.
fn as_clients_expect(error: Error) -> Error {
    match error.kind() {
        ErrorKind::UserNotFound => {
            Error::new(ErrorKind::UserNotFound, format!("error streaming in: {}", error.report()))
        }
        _ => error,
    }
}
