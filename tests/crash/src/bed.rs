//! One root directory on which cases are played, one after the other.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use gdn_testkit::leak::{DEADLINE, Scope, Snapshot};
use gdn_types::EngineId;
use tempfile::TempDir;

use crate::client::{self, Client, pause};
use crate::script::{Ledger, Scenario, Script, Step};
use crate::server::Server;
use crate::stepper::Trail;
use crate::{orphans, recovery, trace};

/// How long the server may go on by itself after the script's end before the chosen call counts as not reached.
const AFTERMATH: Duration = Duration::from_millis(200);

/// A root directory whose engine has been used once, so that a case differs from the next only by what it leaves.
pub struct Bed {
    folder: TempDir,
    client: Client,
    scenario: Scenario,
    scope: Scope,
    before: Snapshot,
    played: u64,
}

/// A case up to the server's end.
#[derive(Clone, Debug)]
pub struct Played {
    /// The container's name.
    pub handle: String,
    /// What the server did up to its end.
    pub trail: Trail,
    /// What the client had sent and was told.
    pub ledger: Ledger,
}

/// What came of one case.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What the server did up to its end.
    pub trail: Trail,
    /// What the client had sent and was told.
    pub ledger: Ledger,
    /// What is wrong, each in one line.
    pub violations: Vec<String>,
}

impl Bed {
    /// Makes a root, plays the script once without a kill, and remembers what the host looks like then.
    ///
    /// This process becomes the parent of orphans, and must make no other children meanwhile.
    ///
    /// # Errors
    /// When there is no engine to test, or the script does not work even without a kill.
    pub fn make(scenario: Scenario) -> anyhow::Result<Self> {
        trace::adopt_orphans()?;
        let folder = tempfile::Builder::new().prefix("gdn-crash-").tempdir()?;
        let root = folder.path().join("root");
        let client = Client { program: client::program()?, socket: client::socket_of(&root) };
        let scope = Scope::engine("no engine yet");
        let mut bed = Bed { folder, client, scenario, scope, before: Snapshot::default(), played: 0 };
        let server = bed.start()?;
        let ledger = bed.script("first").run()?;
        recovery::destroy_all(&bed.client)?;
        ensure!(ledger.acknowledged(Step::Destroy), "the script fails without a kill: {}", ledger.complaint);
        bed.reclaimed()?;
        server.stop()?;
        bed.scope = bed.own_scope()?;
        settled()?;
        bed.before = Snapshot::take(&bed.scope)?;
        Ok(bed)
    }

    /// Plays one case and judges it.
    ///
    /// # Errors
    /// As [`play`](Self::play) and [`judge`](Self::judge).
    pub fn case(&mut self, kill_at: Option<u64>) -> anyhow::Result<Verdict> {
        let played = self.play(kill_at)?;
        self.judge(played)
    }

    /// Plays create, run and destroy, and kills the server before its `kill_at`-th counted call, or after the script.
    ///
    /// # Errors
    /// When the case could not be played.
    pub fn play(&mut self, kill_at: Option<u64>) -> anyhow::Result<Played> {
        self.played += 1;
        let handle = format!("case-{}", self.played);
        let server = self.start().context("start the server to be killed")?;
        let stepper = server.trace(kill_at)?;
        let ledger = self.script(&handle).run();
        stepper.reached(AFTERMATH);
        let trail = stepper.finish().context("trace the server")?;
        Ok(Played { handle, trail, ledger: ledger? })
    }

    /// Starts the server again, looks at what it knows, destroys what it lists, stops it, and looks at what is left.
    ///
    /// # Errors
    /// When the host cannot be looked at; what is wrong with the engine is in the verdict.
    pub fn judge(&mut self, played: Played) -> anyhow::Result<Verdict> {
        let Played { handle, trail, ledger } = played;
        let mut violations = Vec::new();
        if !trail.reached && !ledger.acknowledged(Step::Destroy) {
            violations.push(format!("a verb failed before the kill: {}", ledger.complaint));
        }
        violations.extend(self.recover(&handle, &ledger).iter().map(|error| format!("{error:#}")));
        violations.extend(self.leaks(DEADLINE)?);
        Ok(Verdict { trail, ledger, violations })
    }

    /// What differs now from before the first case, each in one line.
    ///
    /// # Errors
    /// When the host cannot be looked at.
    pub fn left(&self) -> anyhow::Result<Vec<String>> {
        self.leaks(Duration::ZERO)
    }

    /// Removes what a failed case has left, so that it harms no other: its processes, then whatever the engine still knows.
    ///
    /// # Errors
    /// When the engine does not even start any more.
    pub fn clear(&self) -> anyhow::Result<()> {
        orphans::kill()?;
        settled()?;
        let server = self.start()?;
        let destroyed = recovery::destroy_all(&self.client);
        server.stop().and(destroyed)
    }

    /// What the server has logged, for a person.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_else(|error| error.to_string())
    }

    fn recover(&self, handle: &str, ledger: &Ledger) -> Vec<anyhow::Error> {
        let server = match self.start() {
            Ok(server) => server,
            Err(error) => return vec![error.context("start the server after the kill")],
        };
        let checked = recovery::check(&self.script(handle), ledger);
        let destroyed = recovery::destroy_all(&self.client).and_then(|()| self.reclaimed());
        [checked, destroyed, server.stop()].into_iter().filter_map(Result::err).collect()
    }

    fn script<'a>(&'a self, handle: &'a str) -> Script<'a> {
        Script { client: &self.client, scenario: self.scenario, handle }
    }

    /// Waits for the running server to have removed the files of what was destroyed, which it does behind the answer.
    fn reclaimed(&self) -> anyhow::Result<()> {
        let end = Instant::now() + DEADLINE;
        let root = self.folder.path().join("root");
        for folder in ["volumes", "trash"].map(|name| root.join(name)) {
            loop {
                let left =
                    std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?.count();
                if left == 0 {
                    break;
                }
                ensure!(Instant::now() < end, "leak: {left} entries stay in {}", folder.display());
                pause();
            }
        }
        Ok(())
    }

    fn start(&self) -> anyhow::Result<Server> {
        Server::start(&self.client, &self.folder.path().join("root"), &self.log_path())
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What carries the engine's name or lies below the root. The journal's and index's files come and go as they like.
    fn own_scope(&self) -> anyhow::Result<Scope> {
        let root = self.folder.path().join("root");
        let path = root.join("state/engine-id");
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        let id = text.split_ascii_whitespace().nth(1).context("the engine id has an unknown form")?;
        let bits = u64::from_str_radix(id, 16).with_context(|| format!("engine id {id:?} is no number"))?;
        let name = format!("gdn-{}", EngineId::from_bits(bits));
        Ok(Scope::engine(name).below(root).ignoring("/state/"))
    }

    /// What differs from before, once asynchronous removal had its time.
    fn leaks(&self, patience: Duration) -> anyhow::Result<Vec<String>> {
        let end = Instant::now() + patience;
        loop {
            let living = orphans::living()?.into_iter().map(|orphan| format!("leak: process {orphan}"));
            let after = Snapshot::take(&self.scope)?;
            let leaks: Vec<_> = living
                .chain(self.before.diff(&after).into_iter().map(|leak| format!("leak: {leak}")))
                .collect();
            if leaks.is_empty() || Instant::now() >= end {
                return Ok(leaks);
            }
            pause();
        }
    }
}

/// Waits until no process of a stopped server is left.
fn settled() -> anyhow::Result<()> {
    let end = Instant::now() + DEADLINE;
    loop {
        let living = orphans::living()?;
        if living.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < end, "left by a server that was stopped in order: {}", living.join(", "));
        pause();
    }
}
