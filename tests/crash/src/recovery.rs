//! What the restarted engine must know, by the ledger.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::client::{Client, pause};
use crate::script::{Ledger, Script, Step};

/// How long the engine may take to finish, after its start, the destroys that it found unfinished.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks I1 to I3 against a server that was started after the kill.
pub(crate) fn check(script: &Script<'_>, ledger: &Ledger) -> anyhow::Result<()> {
    let (client, handle) = (script.client, script.handle);
    let listed = |all| client.list(all).map(|handles| handles.iter().any(|listed| listed == handle));
    let runs = || client.must(&script.words(Step::Run));
    if ledger.acknowledged(Step::Destroy) {
        ensure!(!listed(true)?, "an acknowledged destroy is still listed");
    } else if ledger.sent(Step::Destroy) {
        // Either nothing of it has happened, or it goes on by itself: both end in a destroy that succeeds.
    } else if ledger.acknowledged(Step::Create) {
        ensure!(listed(false)?, "an acknowledged create is not listed");
        runs().context("an acknowledged container does not run")?;
        let init = script.init();
        ensure!(
            ledger.init.is_none() || init == ledger.init,
            "its init was {:?} and is now {init:?}",
            ledger.init
        );
    } else if listed(false)? {
        runs().context("an unacknowledged create is listed but does not run")?;
    } else {
        gone(client, handle)?;
        client
            .must(&script.words(Step::Create))
            .context("the handle of an unacknowledged create is not free")?;
    }
    Ok(())
}

/// Waits until a container is not even being destroyed.
fn gone(client: &Client, handle: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while client.list(true)?.iter().any(|listed| listed == handle) {
        ensure!(Instant::now() < deadline, "an unacknowledged create is neither there nor gone");
        pause();
    }
    Ok(())
}

/// Destroys whatever is listed until nothing is.
pub(crate) fn destroy_all(client: &Client) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let handles = client.list(true)?;
        if handles.is_empty() {
            return Ok(());
        }
        for handle in handles {
            let answer = client.call(&["destroy", &handle])?;
            // The engine may be at it itself.
            if !answer.status.success() && Instant::now() >= deadline {
                bail!("{handle} cannot be destroyed: {}", answer.complaint.trim());
            }
        }
    }
}
