//! Drives the floor program: one line to it is one round.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A running floor program.
pub(crate) struct Floor {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Floor {
    /// Starts it; it lies beside this program.
    pub(crate) fn start(mode: &str, rootfs: &Path, work: &Path) -> Result<Self> {
        std::fs::create_dir_all(work)?;
        let program = std::env::current_exe()?.with_file_name("gdn-bench-floor");
        let mut command = Command::new(&program);
        command
            .arg(mode)
            .arg(rootfs)
            .arg(work)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("start {}", program.display()))?;
        let input = child.stdin.take().expect("standard input is a pipe");
        let output = BufReader::new(child.stdout.take().expect("standard output is a pipe")).lines();
        Ok(Floor { child, input, output })
    }

    /// One round, in microseconds as the program itself measured them.
    pub(crate) async fn round(&mut self) -> Result<f64> {
        self.ask(1).await?;
        self.answer().await
    }

    /// Rounds back to back.
    pub(crate) async fn batch(&mut self, rounds: usize) -> Result<()> {
        self.ask(rounds).await?;
        self.answers(rounds).await
    }

    /// Begins rounds that follow each other without a word from here.
    pub(crate) async fn ask(&mut self, rounds: usize) -> Result<()> {
        Ok(self.input.write_all(&vec![b'\n'; rounds]).await?)
    }

    /// Waits for the end of rounds that were begun.
    pub(crate) async fn answers(&mut self, rounds: usize) -> Result<()> {
        for _ in 0..rounds {
            self.answer().await?;
        }
        Ok(())
    }

    async fn answer(&mut self) -> Result<f64> {
        let line = self.output.next_line().await?.context("the floor program ended")?;
        line.parse().with_context(|| format!("the floor program said {line:?}"))
    }

    /// Lets it remove what it made.
    pub(crate) async fn stop(mut self) -> Result<()> {
        drop(self.input);
        self.child.wait().await?;
        Ok(())
    }
}
