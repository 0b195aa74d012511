//! WatchEvents: the engine's events as one client's stream.

use std::collections::HashSet;

use gdn_proto::garden::{self, watch_events_response::Message};
use gdn_types::{Error, ErrorKind, Event};
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::answer::Subject;

/// Events in line for one client; behind them waits the engine's own, much longer queue.
const QUEUE: usize = 64;

/// Sends the events of the given containers (of all, when none is given) until the client or the engine goes away.
pub(crate) fn watch(
    subject: Subject,
    handles: HashSet<String>,
    events: broadcast::Receiver<Event>,
    shutdown: CancellationToken,
) -> ReceiverStream<Result<garden::WatchEventsResponse, Status>> {
    let (answers, stream) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        tokio::select! {
            () = answers.closed() => {}
            () = shutdown.cancelled() => {
                let stopping = Error::new(ErrorKind::Unavailable, "the engine stops");
                // A client that went away meanwhile does not get it, and needs not.
                let _ = answers.send(Err(subject.refuse(&stopping))).await;
            }
            () = forward(handles, events, &answers) => {}
        }
    });
    ReceiverStream::new(stream)
}

async fn forward(
    handles: HashSet<String>,
    mut events: broadcast::Receiver<Event>,
    answers: &mpsc::Sender<Result<garden::WatchEventsResponse, Status>>,
) {
    let mut next = Some(Message::Started(garden::WatchStarted {}));
    loop {
        if let Some(message) = next.take()
            && answers.send(Ok(garden::WatchEventsResponse { message: Some(message) })).await.is_err()
        {
            return;
        }
        next = match events.recv().await {
            Ok(event) => (handles.is_empty() || handles.contains(event.handle.as_str()))
                .then(|| Message::Event(event.into())),
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                Some(Message::Gap(garden::EventGap { missed }))
            }
            Err(broadcast::error::RecvError::Closed) => return,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use gdn_types::{EventKind, Handle};
    use std::time::SystemTime;

    fn event(handle: &str) -> Event {
        Event { at: SystemTime::UNIX_EPOCH, handle: Handle::parse(handle).unwrap(), kind: EventKind::Created }
    }

    fn start(
        handles: &[&str],
        events: broadcast::Receiver<Event>,
    ) -> ReceiverStream<Result<garden::WatchEventsResponse, Status>> {
        let handles = handles.iter().map(|handle| (*handle).to_owned()).collect();
        watch(Subject::new("WatchEvents", "", ""), handles, events, CancellationToken::new())
    }

    #[tokio::test]
    async fn a_slow_client_is_told_how_much_it_missed() {
        let (engine, events) = broadcast::channel(2);
        for handle in ["a", "b", "c", "d", "e"] {
            engine.send(event(handle)).unwrap();
        }
        drop(engine);
        let messages: Vec<_> =
            start(&[], events).map(|message| message.unwrap().message.unwrap()).collect().await;
        let [Message::Started(_), Message::Gap(gap), Message::Event(d), Message::Event(e)] =
            messages.as_slice()
        else {
            panic!("{messages:?}");
        };
        assert_eq!((gap.missed, d.handle.as_str(), e.handle.as_str()), (3, "d", "e"));
    }

    #[tokio::test]
    async fn only_the_containers_that_were_asked_for_are_reported() {
        let (engine, events) = broadcast::channel(8);
        for handle in ["a", "b", "a"] {
            engine.send(event(handle)).unwrap();
        }
        drop(engine);
        assert_eq!(start(&["a"], events).count().await, 3);
    }
}
