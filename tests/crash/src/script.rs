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

/// Which kind of container the script makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// With nothing asked for.
    #[default]
    Plain,
    /// Without a user namespace.
    Privileged,
    /// With a bind mount and limits.
    Limited,
}

impl Scenario {
    fn options(self) -> &'static [&'static str] {
        match self {
            Scenario::Plain => &[],
            Scenario::Privileged => &["--privileged"],
            Scenario::Limited => {
                &["--bind", "/etc:/mnt/etc", "--memory", "64M", "--pids", "20", "--cpu-weight", "512"]
            }
        }
    }

    /// The name by which a person chooses it.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Plain => "plain",
            Scenario::Privileged => "privileged",
            Scenario::Limited => "limited",
        }
    }
}

/// What was sent and what was acknowledged, in order.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Each verb sent, and whether it was answered with success.
    pub entries: Vec<(Step, bool)>,
    /// The first process of the container, where the client had been told of it.
    pub init: Option<Init>,
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

/// A container's first process: its pid may be used again, the pair is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Init {
    /// Its pid.
    pub pid: u64,
    /// When it began, in clock ticks since the host's boot.
    pub started: u64,
}

/// Create, run, destroy of one container.
pub(crate) struct Script<'a> {
    pub(crate) client: &'a Client,
    pub(crate) scenario: Scenario,
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
            if step == Step::Create {
                ledger.init = self.init();
            }
        }
        Ok(ledger)
    }

    /// The command line of a step.
    pub(crate) fn words(&self, step: Step) -> Vec<&str> {
        match step {
            Step::Create => [&["create", "--handle", self.handle], self.scenario.options()].concat(),
            // The image's own command, wherever it has it.
            Step::Run => vec!["exec", self.handle],
            Step::Destroy => vec!["destroy", self.handle],
        }
    }

    /// The container's first process; `None` when the server does not tell (any more).
    pub(crate) fn init(&self) -> Option<Init> {
        let told = self.client.must(&["inspect", "--format", "json", self.handle]).ok()?;
        let told: serde_json::Value = serde_json::from_str(&told).ok()?;
        let pid = told.get(0)?.get("init_pid")?.as_u64()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // proc(5): the start time is field 22, the state behind the bracketed name field 3.
        let started = stat.rsplit_once(") ")?.1.split(' ').nth(22 - 3)?.parse().ok()?;
        Some(Init { pid, started })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_was_sent_is_not_thereby_acknowledged() {
        let ledger = Ledger { entries: vec![(Step::Create, true), (Step::Run, false)], ..Ledger::default() };
        assert!(ledger.acknowledged(Step::Create));
        assert!(ledger.sent(Step::Run) && !ledger.acknowledged(Step::Run));
        assert!(!ledger.sent(Step::Destroy));
    }
}
