//! Processes that do nothing but use the processors, beside which others are measured.

use std::process::Stdio;

use anyhow::{Context, Result};
use tokio::process::{Child, Command};

/// Hogs for each processor.
const PER_PROCESSOR: usize = 2;

/// Hogs of normal priority, ended when this is dropped, and by the kernel should this program die.
pub(crate) struct Hogs {
    running: Vec<Child>,
}

impl Hogs {
    /// Starts them; they lie, like the floor, beside this program.
    pub(crate) fn start() -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("gdn-bench-floor");
        let processors = std::thread::available_parallelism()?.get();
        let mut running = Vec::new();
        for _ in 0..PER_PROCESSOR * processors {
            let mut command = Command::new(&program);
            command.args(["hog", "/", "/"]).stdin(Stdio::null()).kill_on_drop(true);
            running.push(command.spawn().with_context(|| format!("start {}", program.display()))?);
        }
        Ok(Hogs { running })
    }

    /// Ends them and waits until they are gone.
    pub(crate) async fn stop(self) -> Result<()> {
        for mut hog in self.running {
            hog.kill().await?;
        }
        Ok(())
    }
}
