//! What is no row of rounds: throughput, processor time, memory, streaming, and cycles beside hogs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::engine::Engine;
use crate::floor::Floor;
use crate::hogs::Hogs;
use crate::processor::Spent;
use crate::ramp::Ramp;
use crate::samples::Samples;
use crate::splice;

/// Workers at the same time.
const WORKERS: usize = 8;

/// Figures by name.
pub(crate) type Figures = BTreeMap<&'static str, f64>;

/// How much of everything.
pub(crate) struct Amounts {
    cycles: usize,
    execs: usize,
    containers: usize,
    megabytes: u64,
    file_megabytes: u64,
    rules: usize,
    ramp: Ramp,
}

impl Amounts {
    /// Enough for figures that repeat, or to see that everything works.
    pub(crate) fn new(smoke: bool) -> Self {
        if smoke {
            Amounts {
                cycles: 16,
                execs: 40,
                containers: 5,
                megabytes: 10,
                file_megabytes: 10,
                rules: 100,
                ramp: Ramp { containers: 10, at_once: 5 },
            }
        } else {
            Amounts {
                cycles: 200,
                execs: 2000,
                containers: 50,
                megabytes: 2000,
                file_megabytes: 100,
                rules: 10_000,
                ramp: Ramp { containers: 1000, at_once: 250 },
            }
        }
    }

    /// The floor's: cycles back to back with their processor time, and executions by as many workers.
    pub(crate) async fn of_floor(&self, cycle: &mut Floor, root: &Path, work: &Path) -> Result<Figures> {
        let mut figures = Figures::new();
        // Back to back the kernel's locks stay warm; the rounds, where others have their turn in between, show them cold.
        let (start, spent) = (Instant::now(), Spent::now()?);
        cycle.batch(self.cycles).await?;
        figures.insert("floor CPU us per cycle", spent.by_others()? / self.cycles as f64);
        figures.insert("floor cycles/s", self.cycles as f64 / start.elapsed().as_secs_f64());

        figures.insert("splice MB/s", splice::floor(root, self.megabytes).await?);
        let by_workers = async |mode, rounds| floors_per_second(mode, root, work, rounds).await;
        figures.insert("floor execs/s by 8 workers", by_workers("exec", self.execs).await?);
        figures.insert("floor net cycles/s by 8 workers", by_workers("net", self.cycles).await?);
        Ok(figures)
    }

    /// The engine's.
    pub(crate) async fn of_engine(&self, engine: &Engine) -> Result<Figures> {
        let mut figures = Figures::new();
        let spent = Spent::now()?;
        figures.insert("cycles/s by 1 worker", engine.cycles_per_second(1, self.cycles).await?);
        figures.insert("CPU us per cycle", spent.by_others()? / self.cycles as f64);
        figures.insert("cycles/s by 8 workers", engine.cycles_per_second(WORKERS, self.cycles).await?);
        figures.insert("execs/s by 8 workers", engine.execs_per_second(WORKERS, self.execs).await?);
        figures.insert("stdout MB/s", engine.stdout(self.megabytes).await?);
        figures.extend(self.of_garden(engine).await?);
        let crowd = engine.crowd(self.containers).await?;
        figures.insert("KB per idle container", crowd.kilobytes);
        figures.insert("extra processes per process", crowd.extra_processes);
        // Their number is in the name, so a smaller crowd has no such figure.
        if self.containers == 50 {
            figures.insert("ms for metrics of 50", crowd.metrics_ms);
        }
        figures.insert("quiet cycle p99 ms", self.p99(engine).await?);
        let hogs = Hogs::start()?;
        let beside = self.p99(engine).await;
        hogs.stop().await?;
        figures.insert("cycle beside hogs p99 ms", beside?);
        Ok(figures)
    }

    /// The engine's other front door.
    async fn of_garden(&self, engine: &Engine) -> Result<Figures> {
        let mut figures = Figures::new();
        let mut garden = engine.garden().await?;
        let handle = engine.resident().as_str();
        figures.insert("http stdout MB/s", garden.stdout(handle, self.megabytes).await?);
        // The second one of each finds pages and memory as a host that works has them.
        for _ in 0..2 {
            figures.insert("http StreamIn MB/s", garden.stream_in(handle, self.file_megabytes).await?);
        }
        for _ in 0..2 {
            figures.insert("http StreamOut MB/s", garden.stream_out(handle, self.file_megabytes).await?);
        }
        Ok(figures)
    }

    /// The engine's network.
    pub(crate) async fn of_network(&self, engine: &Engine) -> Result<Figures> {
        let mut figures = Figures::new();
        figures.insert("net cycles/s by 8 workers", engine.cycles_per_second(WORKERS, self.cycles).await?);
        let few = engine.rules(0).await?;
        let many = engine.rules(self.rules).await?;
        figures.insert("us for a port", few.port_us);
        figures.insert("us for a rule", few.rule_us);
        figures.insert("ms for 3000 rules", few.bulk_ms);
        // Their number is in the name, so fewer have no such figure.
        if self.rules == 10_000 {
            figures.insert("us for a port beside 10000 rules", many.port_us);
            figures.insert("us for a rule beside 10000 rules", many.rule_us);
        }
        figures.extend(self.ramp.measure(engine).await?);
        Ok(figures)
    }

    async fn p99(&self, engine: &Engine) -> Result<f64> {
        let mut samples = Samples::default();
        for _ in 0..self.cycles {
            samples.add(engine.cycle().await?.whole / 1000.0);
        }
        Ok(samples.summary().context("no cycle was measured")?.p99)
    }
}

/// Rounds a second of as many floor programs as there are workers.
async fn floors_per_second(mode: &str, root: &Path, work: &Path, rounds: usize) -> Result<f64> {
    let directory = |worker: usize| -> PathBuf { work.join(format!("floor-{mode}-{worker}")) };
    let mut floors = (0..WORKERS)
        .map(|worker| Floor::start(mode, root, &directory(worker)))
        .collect::<Result<Vec<_>>>()?;
    for floor in &mut floors {
        floor.round().await?;
    }
    let each = rounds / WORKERS;
    let start = Instant::now();
    for floor in &mut floors {
        floor.ask(each).await?;
    }
    for floor in &mut floors {
        floor.answers(each).await?;
    }
    let elapsed = start.elapsed().as_secs_f64();
    for floor in floors {
        floor.stop().await?;
    }
    Ok((each * WORKERS) as f64 / elapsed)
}
