//! Work back to back and side by side: floor and engine take turns, a slice each, so that a moment in which the host is slow
//! counts for both.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::floor::Floor;
use crate::processor::Spent;

/// By then namespaces, control groups and files of what was destroyed are gone.
const BEHIND: Duration = Duration::from_millis(1500);

/// Turns of each side.
const TURNS: usize = 4;

/// What one side got done in its turns.
#[derive(Debug, Default)]
pub(crate) struct Share {
    pieces: usize,
    seconds: f64,
    /// Processor time of everybody but this program, in microseconds.
    processor: f64,
}

impl Share {
    pub(crate) fn per_second(&self) -> f64 {
        self.pieces as f64 / self.seconds
    }

    /// Microseconds of processor time for each piece.
    pub(crate) fn processor_us(&self) -> f64 {
        self.processor / self.pieces as f64
    }

    /// Work, and what is done behind it when it was answered: that costs its processor time, and nobody else's turn.
    async fn add(&mut self, pieces: usize, work: impl Future<Output = Result<()>>) -> Result<()> {
        let (start, spent) = (Instant::now(), Spent::now()?);
        work.await?;
        self.seconds += start.elapsed().as_secs_f64();
        tokio::time::sleep(BEHIND).await;
        self.processor += spent.by_others()?;
        self.pieces += pieces;
        Ok(())
    }
}

/// So many pieces of work in each turn, by the floor and, where there is one, the engine.
pub(crate) async fn take_turns(
    pieces: usize,
    mut floor: impl AsyncFnMut(usize) -> Result<()>,
    mut engine: Option<impl AsyncFnMut(usize) -> Result<()>>,
) -> Result<(Share, Option<Share>)> {
    let mut shares = (Share::default(), engine.is_some().then(Share::default));
    for _ in 0..TURNS {
        shares.0.add(pieces, floor(pieces)).await?;
        if let (Some(engine), Some(share)) = (&mut engine, &mut shares.1) {
            share.add(pieces, engine(pieces)).await?;
        }
    }
    Ok(shares)
}

/// Floor programs that work side by side.
pub(crate) struct Crew(Vec<Floor>);

impl Crew {
    /// Starts them, and lets each do one round.
    pub(crate) async fn start(workers: usize, mode: &str, root: &Path, work: &Path) -> Result<Self> {
        let directory = |worker: usize| -> PathBuf { work.join(format!("floor-{mode}-{worker}")) };
        let floors = (0..workers).map(|worker| Floor::start(mode, root, &directory(worker)));
        let mut crew = Crew(floors.collect::<Result<_>>()?);
        crew.rounds(workers).await?;
        Ok(crew)
    }

    /// So many rounds of all together.
    pub(crate) async fn rounds(&mut self, rounds: usize) -> Result<()> {
        let each = rounds.div_ceil(self.0.len());
        for floor in &mut self.0 {
            floor.ask(each).await?;
        }
        for floor in &mut self.0 {
            floor.answers(each).await?;
        }
        Ok(())
    }

    pub(crate) async fn stop(self) -> Result<()> {
        for floor in self.0 {
            floor.stop().await?;
        }
        Ok(())
    }
}
