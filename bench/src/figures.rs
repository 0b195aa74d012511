//! What is no row of rounds: throughput, processor time, memory, streaming, and cycles beside hogs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::engine::Engine;
use crate::floor::Floor;
use crate::hogs::Hogs;
use crate::ramp::Ramp;
use crate::samples::Samples;
use crate::splice;
use crate::turns::{Crew, take_turns};

/// Workers at the same time.
const WORKERS: usize = 8;

/// Figures by name.
pub(crate) type Figures = BTreeMap<&'static str, f64>;

/// How much of everything.
pub(crate) struct Amounts {
    /// In each turn, as many by each worker as by others.
    cycles: usize,
    /// In each turn.
    execs: usize,
    /// Cycles without turns.
    steady: usize,
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
                steady: 16,
                containers: 5,
                megabytes: 10,
                file_megabytes: 10,
                rules: 100,
                ramp: Ramp { containers: 10, at_once: 5 },
            }
        } else {
            Amounts {
                cycles: 96,
                execs: 800,
                steady: 200,
                containers: 50,
                megabytes: 2000,
                file_megabytes: 100,
                rules: 10_000,
                ramp: Ramp { containers: 1000, at_once: 250 },
            }
        }
    }

    /// Cycles and executions back to back and side by side, floor and engine in turns; and a splice, which is the floor of
    /// streams.
    pub(crate) async fn in_turns(
        &self,
        cycle: &mut Floor,
        engines: (Option<&Engine>, Option<&Engine>),
        (root, work): (&Path, &Path),
    ) -> Result<Figures> {
        let (engine, networked) = engines;
        let mut figures = Figures::new();
        // Back to back the kernel's locks stay warm; the rounds, where others have their turn in between, show them cold.
        let alone = engine.map(|engine| async |count| engine.cycles(1, count).await);
        let (floor, ours) = take_turns(self.cycles, async |count| cycle.batch(count).await, alone).await?;
        figures.insert("floor CPU us per cycle", floor.processor_us());
        figures.insert("floor cycles/s", floor.per_second());
        if let Some(ours) = ours {
            figures.insert("CPU us per cycle", ours.processor_us());
            figures.insert("cycles/s by 1 worker", ours.per_second());
        }

        let mut crew = Crew::start(WORKERS, "exec", root, work).await?;
        let execs = engine.map(|engine| async |count| engine.execs(WORKERS, count).await);
        let (floor, ours) = take_turns(self.execs, async |count| crew.rounds(count).await, execs).await?;
        crew.stop().await?;
        figures.insert("floor execs/s by 8 workers", floor.per_second());
        figures.extend(ours.map(|ours| ("execs/s by 8 workers", ours.per_second())));

        let mut crew = Crew::start(WORKERS, "net", root, work).await?;
        let cycles = networked.map(|engine| async |count| engine.cycles(WORKERS, count).await);
        let (floor, ours) = take_turns(self.cycles, async |count| crew.rounds(count).await, cycles).await?;
        crew.stop().await?;
        figures.insert("floor net cycles/s by 8 workers", floor.per_second());
        figures.extend(ours.map(|ours| ("net cycles/s by 8 workers", ours.per_second())));

        figures.insert("splice MB/s", splice::floor(root, self.megabytes).await?);
        Ok(figures)
    }

    /// The engine's.
    pub(crate) async fn of_engine(&self, engine: &Engine) -> Result<Figures> {
        let mut figures = Figures::new();
        let start = Instant::now();
        engine.cycles(WORKERS, self.steady).await?;
        figures.insert("cycles/s by 8 workers", self.steady as f64 / start.elapsed().as_secs_f64());
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
        for _ in 0..self.steady {
            samples.add(engine.cycle().await?.whole / 1000.0);
        }
        Ok(samples.summary().context("no cycle was measured")?.p99)
    }
}
