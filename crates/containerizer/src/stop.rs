//! Stop: TERM, with patience, then KILL.

use std::time::Duration;

use gdn_launcher::protocol::{Call, Signal as SignalCall};
use gdn_types::{Result, Signal};
use tokio::time::{Instant, sleep_until};

use crate::container::Container;
use crate::failures;

/// How often a signal is sent again (garden-api 2.6).
const ROUND: Duration = Duration::from_secs(1);
/// How many rounds of each signal.
const ROUNDS: u32 = 10;
/// How soon after a signal it is first looked whether all are gone; doubled up to [`ROUND`].
const FIRST_LOOK: Duration = Duration::from_millis(5);

/// Ends every process but init.
pub(crate) async fn stop(container: &Container, kill: bool) -> Result<()> {
    if !kill && send_until_gone(container, Signal::TERM).await? {
        return Ok(());
    }
    send_until_gone(container, Signal::KILL).await?;
    Ok(())
}

/// Sends the signal each second, ten times at most. Returns whether nobody is left.
async fn send_until_gone(container: &Container, signal: Signal) -> Result<bool> {
    for _ in 0..ROUNDS {
        if nobody_left(container)? {
            return Ok(true);
        }
        let call = Call::Signal(SignalCall { process: String::new(), signal: signal.number() });
        container.keeper.call(call, &[]).await.map_err(failures::keeper)?;
        let end = Instant::now() + ROUND;
        let mut pause = FIRST_LOOK;
        while Instant::now() < end {
            sleep_until((Instant::now() + pause).min(end)).await;
            pause *= 2;
            if nobody_left(container)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn nobody_left(container: &Container) -> Result<bool> {
    let init = container.init_pid.load(std::sync::atomic::Ordering::Relaxed);
    let procs = container.cgroup.procs().map_err(|error| {
        gdn_types::Error::caused(gdn_types::ErrorKind::Internal, "list the container's processes", error)
    })?;
    Ok(procs.into_iter().all(|pid| pid == init) && container.shared.sidecars.have_ended())
}
