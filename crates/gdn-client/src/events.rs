//! What happens in the engine, as it happens.

use gdn_proto::garden::{self, watch_events_response};
use gdn_types::{Event, Handle, Result};
use tonic::Streaming;

use crate::Client;
use crate::calls::{answer, failed, missing, present};

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Something happened.
    Event(Event),
    /// This client was too slow: so many events of the whole engine are missing here.
    Gap(u64),
}

/// A watch that has begun. Dropping it ends it.
#[derive(Debug)]
pub struct EventStream {
    messages: Streaming<garden::WatchEventsResponse>,
}

impl Client {
    /// Watches some containers, or all when none is named. Whatever happens after this returned is reported.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn watch_events(&self, handles: &[Handle]) -> Result<EventStream> {
        let request = garden::WatchEventsRequest { handles: handles.iter().map(Handle::to_string).collect() };
        let mut messages = answer(self.service.clone().watch_events(request).await)?;
        let first = messages.message().await.map_err(|status| failed(&status))?;
        match first.and_then(|first| first.message) {
            Some(watch_events_response::Message::Started(_)) => Ok(EventStream { messages }),
            _ => Err(missing("beginning of the watch")),
        }
    }
}

impl EventStream {
    /// What comes next; `None` when the server ends the watch because it stops. Events this client does not know are passed
    /// over.
    ///
    /// # Errors
    /// `Unavailable` when the connection is lost.
    pub async fn next(&mut self) -> Result<Option<Watched>> {
        while let Some(message) = self.messages.message().await.map_err(|status| failed(&status))? {
            match present("message", message.message)? {
                watch_events_response::Message::Gap(gap) => return Ok(Some(Watched::Gap(gap.missed))),
                watch_events_response::Message::Event(event) if event.kind.is_some() => {
                    return Ok(Some(Watched::Event(event.try_into()?)));
                }
                watch_events_response::Message::Event(_) | watch_events_response::Message::Started(_) => {}
            }
        }
        Ok(None)
    }
}
