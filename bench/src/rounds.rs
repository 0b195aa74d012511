//! The contest: who takes part, and the rounds in which each takes its turn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::Options;
use crate::bars::Results;
use crate::engine::{Engine, Network};
use crate::figures::{Amounts, Figures};
use crate::floor::Floor;
use crate::garden::Garden;
use crate::peers::Peer;
use crate::podman::Podman;
use crate::rootfs;
use crate::samples::Samples;
use crate::view::View;

/// Rounds before those that count.
const WARM_UP: usize = 2;

/// Between two turns: what one leaves behind for later, in the kernel or on threads that nobody waits for, is not paid by the
/// next.
const BETWEEN_TURNS: Duration = Duration::from_millis(20);

/// Executions of one turn, one after the other: with 30 rounds about the thousand that the goal speaks of.
const EXECS: usize = 34;

/// The longest that one step of one round may take.
const STEP: Duration = Duration::from_secs(10);

/// The longest for all figures, which take many steps.
const FIGURES: Duration = Duration::from_secs(400);

/// Rows in the order of a round.
const ROWS: [&str; 15] = [
    "floor cycle",
    "floor net cycle",
    "gdn cycle",
    "gdn http cycle",
    "gdn net cycle",
    "podman run",
    "runc run",
    "crun run",
    "floor exec",
    "gdn exec",
    "gdn exec tty",
    "gdn http exec",
    "gdn http ping",
    "runc exec",
    "crun exec",
];

/// The first execution of a turn, after other programs had the processors.
const COLD_EXEC: &str = "gdn exec after others";

/// Everyone who takes part.
pub(crate) struct Contest {
    floor_cycle: Floor,
    floor_net: Floor,
    floor_exec: Floor,
    runc: Peer,
    crun: Peer,
    podman: Option<Podman>,
    engine: Option<Engine>,
    garden: Option<Garden>,
    networked: Option<Engine>,
    root: PathBuf,
    work: PathBuf,
}

impl Contest {
    /// Makes the shared root file system and starts everyone.
    pub(crate) async fn prepare(options: &Options, work: &Path) -> Result<Self> {
        let (root, tar) = rootfs::make(work)?;
        let (engine, networked) = match &options.gdn {
            Some(gdn) if !options.without_engine => (
                Some(Engine::start(gdn, &work.join("engine"), &tar, Network::None).await?),
                Some(Engine::start(gdn, &work.join("networked"), &tar, Network::Pool).await?),
            ),
            _ => (None, None),
        };
        let garden = match &engine {
            Some(engine) => Some(engine.garden().await?),
            None => None,
        };
        Ok(Contest {
            floor_cycle: Floor::start("cycle", &root, &work.join("floor-cycle"))?,
            floor_net: Floor::start("net", &root, &work.join("floor-net"))?,
            floor_exec: Floor::start("exec", &root, &work.join("floor-exec"))?,
            runc: Peer::start("runc", &root, &work.join("runc"), None).await?,
            crun: Peer::start("crun", &root, &work.join("crun"), View::without_unified_tree().await?).await?,
            podman: Podman::start(&root, &work.join("podman")).await?,
            engine,
            garden,
            networked,
            root,
            work: work.to_owned(),
        })
    }

    /// All rounds, then the figures that are no rounds.
    pub(crate) async fn measure(&mut self, options: &Options) -> Result<Results> {
        let chosen: Vec<&str> = ROWS.into_iter().filter(|row| self.takes_part(row, options)).collect();
        let mut rows: BTreeMap<&'static str, Samples> = BTreeMap::new();
        for round in 0..WARM_UP + options.rounds {
            let mut kept = Vec::new();
            for row in &chosen {
                tokio::time::sleep(BETWEEN_TURNS).await;
                self.turn(row, &mut kept).await.with_context(|| format!("round {round} of {row}"))?;
            }
            if round >= WARM_UP {
                kept.into_iter().for_each(|(row, value)| rows.entry(row).or_default().add(value));
            }
        }
        let figures = self.figures(options).await?;
        let rows = rows.into_iter().filter_map(|(row, samples)| Some((row, samples.summary()?))).collect();
        Ok(Results { rows, figures })
    }

    /// Everyone puts away what it made.
    pub(crate) async fn stop(self) -> Result<()> {
        self.floor_cycle.stop().await?;
        self.floor_net.stop().await?;
        self.floor_exec.stop().await?;
        drop((self.runc, self.crun, self.podman));
        // One that cannot be stopped does not keep the other from it.
        let mut outcome = Ok(());
        for engine in [self.engine, self.networked].into_iter().flatten() {
            let stopped = engine.stop().await;
            outcome = outcome.and(stopped);
        }
        outcome
    }

    fn takes_part(&self, row: &str, options: &Options) -> bool {
        let asked = options.rows.is_empty() || options.rows.iter().any(|word| row.contains(word.as_str()));
        let there = match row {
            "podman run" => self.podman.is_some(),
            row => self.engine.is_some() || !row.starts_with("gdn"),
        };
        asked && there
    }

    async fn turn(&mut self, row: &str, kept: &mut Vec<(&'static str, f64)>) -> Result<()> {
        let step = async {
            match (row, &self.engine) {
                ("floor cycle", _) => kept.push(("floor cycle", self.floor_cycle.round().await?)),
                ("floor net cycle", _) => kept.push(("floor net cycle", self.floor_net.round().await?)),
                ("floor exec", _) => {
                    for _ in 0..EXECS {
                        kept.push(("floor exec", self.floor_exec.round().await?));
                    }
                }
                ("podman run", _) => {
                    let podman = self.podman.as_ref().context("there is no podman")?;
                    kept.push(("podman run", podman.run().await?));
                }
                ("runc run", _) => kept.push(("runc run", self.runc.run().await?)),
                ("crun run", _) => kept.push(("crun run", self.crun.run().await?)),
                ("runc exec", _) => kept.push(("runc exec", self.runc.exec().await?)),
                ("crun exec", _) => kept.push(("crun exec", self.crun.exec().await?)),
                ("gdn exec", Some(engine)) => {
                    // What others left in the processor's caches is paid by the first.
                    kept.push((COLD_EXEC, engine.exec(false).await?));
                    for _ in 0..EXECS {
                        kept.push(("gdn exec", engine.exec(false).await?));
                    }
                }
                ("gdn exec tty", Some(engine)) => {
                    for _ in 0..EXECS {
                        kept.push(("gdn exec tty", engine.exec(true).await?));
                    }
                }
                ("gdn http exec", Some(engine)) => {
                    for _ in 0..EXECS {
                        kept.push((
                            "gdn http exec",
                            present(&mut self.garden)?.exec(engine.resident().as_str()).await?,
                        ));
                    }
                }
                ("gdn http ping", _) => {
                    for _ in 0..EXECS {
                        kept.push(("gdn http ping", present(&mut self.garden)?.ping().await?));
                    }
                }
                ("gdn http cycle", Some(engine)) => {
                    kept.push(("gdn http cycle", present(&mut self.garden)?.cycle(engine.image()).await?));
                }
                ("gdn cycle", Some(engine)) => {
                    let cycle = engine.cycle().await?;
                    kept.push(("gdn create", cycle.create));
                    kept.push(("gdn destroy", cycle.destroy));
                    kept.push(("gdn cycle", cycle.whole));
                }
                ("gdn net cycle", _) => {
                    let engine = self.networked.as_ref().context("there is no such engine")?;
                    let cycle = engine.cycle().await?;
                    kept.push(("gdn net create", cycle.create));
                    kept.push(("gdn net destroy", cycle.destroy));
                    kept.push(("gdn net cycle", cycle.whole));
                }
                _ => bail!("nobody takes this turn"),
            };
            anyhow::Ok(())
        };
        tokio::time::timeout(STEP, step).await.context("took longer than 10 s")?
    }

    async fn figures(&mut self, options: &Options) -> Result<Figures> {
        if !options.rows.is_empty() {
            return Ok(Figures::new());
        }
        let amounts = Amounts::new(options.smoke);
        let measure = async {
            let engines = (self.engine.as_ref(), self.networked.as_ref());
            let places = (self.root.as_path(), self.work.as_path());
            let mut figures = amounts.in_turns(&mut self.floor_cycle, engines, places).await?;
            if let Some(engine) = &self.engine {
                figures.extend(amounts.of_engine(engine).await?);
            }
            if let Some(engine) = &self.networked {
                figures.extend(amounts.of_network(engine).await?);
            }
            anyhow::Ok(figures)
        };
        tokio::time::timeout(FIGURES, measure).await.context("the figures took longer than 400 s")?
    }
}

fn present(garden: &mut Option<Garden>) -> Result<&mut Garden> {
    garden.as_mut().context("there is no such engine")
}
