//! Memory for what clients send: a bound on the bodies and messages of all of them together.
//!
//! Each body and each message has a bound of its own, which is far more than any honest one needs. What they take beyond a small
//! part that everybody has comes out of one room, as it arrives. Who finds it full is not read from for a while, and is refused
//! then: others may wait for the same.

use std::sync::Arc;
use std::time::Duration;

use gdn_types::{Error, ErrorKind, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most that all clients together have beyond [`FREE`], in KiB.
const MOST: usize = 256 * 1024;

/// What every body and every message may have without asking, in bytes. The Go client sends 32 KiB of input at once, which
/// are 192 KiB if each of them has to be written as an escape.
const FREE: usize = 256 * 1024;

/// How long it is waited for room.
const PATIENCE: Duration = Duration::from_secs(10);

/// The room of one gate.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Room(Arc::new(Semaphore::new(MOST)))
    }
}

impl Room {
    /// A part of it, empty at first.
    pub(crate) fn share(&self) -> Share {
        Share { room: self.clone(), taken: None }
    }
}

/// What one body, or the messages of one conversation, take of the room. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    room: Room,
    taken: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// Takes what so many bytes in all need, and gives back what is more than that.
    ///
    /// # Errors
    /// `ResourceExhausted` when there is not enough for a while.
    pub(crate) async fn cover(&mut self, bytes: usize) -> Result<()> {
        let wanted = bytes.saturating_sub(FREE).div_ceil(1024);
        let has = self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if wanted < has {
            // What is split off is dropped.
            let _less = self.taken.as_mut().and_then(|taken| taken.split(has - wanted));
        } else if wanted > has {
            let more = u32::try_from(wanted - has).map_err(|_| full(bytes))?;
            let more = Arc::clone(&self.room.0).acquire_many_owned(more);
            let more = tokio::time::timeout(PATIENCE, more).await;
            let more = more.map_err(|_| full(bytes))?.map_err(|_| full(bytes))?;
            match &mut self.taken {
                Some(taken) => taken.merge(more),
                none => *none = Some(more),
            }
        }
        Ok(())
    }
}

fn full(bytes: usize) -> Error {
    let message =
        format!("too much is being sent by all clients together: there is no room for {bytes} bytes");
    Error::new(ErrorKind::ResourceExhausted, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_shares_together_are_bounded_and_what_is_small_is_free() {
        let room = Room::default();
        let (mut large, mut small) = (room.share(), room.share());
        large.cover(MOST * 1024 + FREE).await.unwrap();
        small.cover(FREE).await.unwrap();
        let refused = small.cover(FREE + 1).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ResourceExhausted);
        // It waits for what others give back, a part of theirs or all of it.
        let waiting = tokio::spawn(async move { small.cover(FREE + 1024).await.map(|()| small) });
        tokio::task::yield_now().await;
        large.cover(MOST * 1024 + FREE - 1024).await.unwrap();
        let mut small = waiting.await.unwrap().unwrap();
        small.cover(FREE + 1025).await.unwrap_err();
        drop(large);
        small.cover(MOST * 1024 + FREE).await.unwrap();
        small.cover(0).await.unwrap();
        assert_eq!(room.0.available_permits(), MOST);
    }
}
