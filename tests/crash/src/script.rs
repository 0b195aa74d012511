//! What the client does while the server is killed, and the ledger of it.

use crate::client::Client;

/// One verb of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create the container.
    Create,
    /// Run a program in it to its end.
    Run,
    /// Destroy it.
    Destroy,
}

/// What was sent and what was acknowledged, in order.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: Vec<(Step, bool)>,
    /// What the client was told when a verb failed.
    pub complaint: String,
}

impl Ledger {
    /// Whether this was asked for.
    pub fn sent(&self, step: Step) -> bool {
        self.entries.iter().any(|(sent, _)| *sent == step)
    }

    /// Whether this was answered with success.
    pub fn acknowledged(&self, step: Step) -> bool {
        self.entries.contains(&(step, true))
    }
}

/// Create, run, destroy of one container.
pub(crate) struct Script<'a> {
    pub(crate) client: &'a Client,
    pub(crate) handle: &'a str,
}

impl Script<'_> {
    /// Up to the first verb that fails.
    pub(crate) fn run(&self) -> anyhow::Result<Ledger> {
        let mut ledger = Ledger::default();
        for step in [Step::Create, Step::Run, Step::Destroy] {
            ledger.entries.push((step, false));
            let answer = self.client.call(&self.words(step))?;
            if !answer.status.success() {
                ledger.complaint = answer.complaint.trim().to_owned();
                break;
            }
            if let Some(entry) = ledger.entries.last_mut() {
                entry.1 = true;
            }
        }
        Ok(ledger)
    }

    /// The command line of a step.
    pub(crate) fn words(&self, step: Step) -> Vec<&str> {
        match step {
            Step::Create => vec!["create", "--handle", self.handle],
            Step::Run => vec!["exec", self.handle, "--", "/hello"],
            Step::Destroy => vec!["destroy", self.handle],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_was_sent_is_not_thereby_acknowledged() {
        let ledger =
            Ledger { entries: vec![(Step::Create, true), (Step::Run, false)], complaint: String::new() };
        assert!(ledger.acknowledged(Step::Create));
        assert!(ledger.sent(Step::Run) && !ledger.acknowledged(Step::Run));
        assert!(!ledger.sent(Step::Destroy));
    }
}
