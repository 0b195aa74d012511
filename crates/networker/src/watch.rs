//! The thread that looks whether others change the firewall, or the host its name servers.
//!
//! The kernel would tell of each change, ours included, and each element of a set would cost a message to ourselves. Asking
//! for its count of changes now and then costs microseconds and nothing on a request's path.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use gdn_types::{Error, ErrorKind, Result};

use crate::files::Files;
use crate::firewall::Firewall;

/// Between two looks: so long may a firewall that somebody starts keep containers from others.
const LOOK: Duration = Duration::from_millis(500);

/// Ends the thread when it is dropped.
#[derive(Debug)]
pub(crate) struct Watch(#[allow(dead_code, reason = "dropping it is its use")] Sender<()>);

impl Watch {
    /// Starts the thread. It calls `put_back` when somebody took the firewall away, until that succeeds.
    pub(crate) fn start(
        firewall: Arc<Firewall>,
        files: Arc<Files>,
        put_back: impl Fn() -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let (running, over) = channel();
        std::thread::Builder::new()
            .name("gdn-firewall".to_owned())
            .spawn(move || {
                while over.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                    match firewall.look() {
                        Ok(false) => {}
                        Ok(true) => {
                            tracing::warn!("somebody took the firewall of containers away; it is put back");
                            if let Err(error) = put_back() {
                                tracing::error!(%error, "the firewall of containers is not whole; it will be tried again");
                            }
                        }
                        Err(error) => tracing::warn!(%error, "cannot tell whether others change the firewall"),
                    }
                    if let Err(error) = files.follow_host() {
                        tracing::warn!(%error, "containers may have name servers that the host has no more");
                    }
                }
            })
            .map_err(|error| {
                Error::caused(ErrorKind::Internal, "start the thread that watches the firewall", error)
            })?;
        Ok(Watch(running))
    }
}
