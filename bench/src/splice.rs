//! The floor of a stream: what a program writes into a pipe is led from there to a socket, without a copy through a program.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, splice};
use tokio::net::UnixStream;

use crate::garden::{count, per_second};

/// Size of the pipe.
const PIPE: usize = 1 << 20;

/// Megabytes a second through a pipe and a unix socket, from `dd` of the root file system that all share.
pub(crate) async fn floor(root: &Path, megabytes: u64) -> Result<f64> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut reader = UnixStream::from_std(ours)?;
    let start = Instant::now();
    let mut writer = Command::new(root.join("bin/busybox"))
        .args(["dd", "if=/dev/zero", "bs=65536", &format!("count={}", megabytes * 16)])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("start dd")?;
    let pipe = OwnedFd::from(writer.stdout.take().context("dd has no output")?);
    fcntl_setpipe_size(&pipe, PIPE)?;
    let led = thread::spawn(move || -> rustix::io::Result<()> {
        while splice(&pipe, None, &theirs, None, PIPE, SpliceFlags::MOVE | SpliceFlags::MORE)? > 0 {}
        Ok(())
    });
    let read = count(&mut reader).await?;
    let took = per_second(megabytes, start);
    led.join().map_err(|_| anyhow::anyhow!("the splicing thread panicked"))??;
    writer.wait()?;
    ensure!(read == megabytes << 20, "{read} bytes arrived of {megabytes} MiB");
    Ok(took)
}
