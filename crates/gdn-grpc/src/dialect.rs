//! Run and Attach say the same things in messages of their own; here both become [`Input`] and [`Answer`].

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

/// The requests after the first.
pub(crate) fn inputs<D: Dialect>(
    requests: Streaming<D::Request>,
) -> impl Stream<Item = Result<Input>> + Send + Unpin {
    requests.map(|request| request.map_err(|status| status::from_status(&status)).and_then(D::input))
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
