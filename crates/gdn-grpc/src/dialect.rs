//! Run and Attach say the same things in messages of their own; here both become [`Input`] and [`Answer`].

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{Stream, StreamExt};
use gdn_proto::{garden, status};
use gdn_types::{Error, Result, Signal};
use tonic::{Status, Streaming};

use crate::session::{Answer, Input};

/// One of the two pairs of messages.
pub(crate) trait Dialect: Send + 'static {
    /// Its request.
    type Request: Send + 'static;
    /// Its response.
    type Response: Send + 'static;

    /// A request after the first.
    fn input(request: Self::Request) -> Result<Input>;

    /// A response after the first.
    fn response(answer: Answer) -> Self::Response;
}

/// How long a client may take to end its side after its process did.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The requests after the first.
///
/// Dropped before the client has ended its side, it goes on reading for a while and throws away what it reads. The
/// transport would otherwise reset the call, and count what the client was just sending as errors of its: enough of them
/// end the connection.
pub(crate) struct Inputs<D: Dialect> {
    requests: Option<Streaming<D::Request>>,
}

impl<D: Dialect> Inputs<D> {
    pub(crate) fn new(requests: Streaming<D::Request>) -> Self {
        Inputs { requests: Some(requests) }
    }
}

impl<D: Dialect> Stream for Inputs<D> {
    type Item = Result<Input>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(requests) = &mut self.requests else { return Poll::Ready(None) };
        let request = ready!(requests.poll_next_unpin(context));
        if !matches!(request, Some(Ok(_))) {
            self.requests = None;
        }
        Poll::Ready(
            request.map(|request| request.map_err(|status| status::from_status(&status)).and_then(D::input)),
        )
    }
}

impl<D: Dialect> Drop for Inputs<D> {
    fn drop(&mut self) {
        if let (Some(rest), Ok(runtime)) = (self.requests.take(), tokio::runtime::Handle::try_current()) {
            let ignored = rest.for_each(|_| std::future::ready(()));
            runtime.spawn(tokio::time::timeout(LAST_WORDS, ignored));
        }
    }
}

/// All responses: the first, then the conversation's.
pub(crate) fn responses<D: Dialect>(
    first: D::Response,
    answers: impl Stream<Item = Result<Answer, Status>> + Send + 'static,
) -> futures::stream::BoxStream<'static, Result<D::Response, Status>> {
    let first = futures::stream::once(async { Ok(first) });
    first.chain(answers.map(|answer| answer.map(D::response))).boxed()
}

macro_rules! dialect {
    ($(#[$doc:meta])* $name:ident, $request:ident, $response:ident, $requests:ident, $responses:ident) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl Dialect for $name {
            type Request = garden::$request;
            type Response = garden::$response;

            fn input(request: Self::Request) -> Result<Input> {
                use garden::$requests::Message;
                match request.message {
                    Some(Message::Stdin(chunk)) => Ok(Input::Stdin(chunk)),
                    Some(Message::CloseStdin(garden::CloseStdin {})) => Ok(Input::CloseStdin),
                    Some(Message::Resize(size)) => Ok(Input::Resize(size.try_into()?)),
                    Some(Message::Signal(number)) => Ok(Input::Signal(Signal::new(number)?)),
                    Some(Message::Start(_)) => Err(Error::invalid("start in a message that is not the first")),
                    None => Err(Error::invalid("message without a content that this server knows")),
                }
            }

            fn response(answer: Answer) -> Self::Response {
                use garden::$responses::Message;
                let message = match answer {
                    Answer::Stdout(output) => Message::Stdout(output),
                    Answer::Stderr(output) => Message::Stderr(output),
                    Answer::Exited(status) => Message::Exited(status.into()),
                };
                garden::$response { message: Some(message) }
            }
        }
    };
}

dialect! {
    /// The messages of Run.
    Run, RunRequest, RunResponse, run_request, run_response
}

dialect! {
    /// The messages of Attach.
    Attach, AttachRequest, AttachResponse, attach_request, attach_response
}
