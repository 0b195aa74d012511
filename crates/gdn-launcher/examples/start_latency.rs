//! How long a keeper needs to run `/bin/true`, from the request to the news of its end: `start_latency [ROUNDS]`.
//!
//! Needs root and a static busybox. Limits are left out; the system call filter is the default one.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use gdn_launcher::protocol::{Call, Create, Prepare, Run, Window};
use gdn_launcher::{Keeper, Launcher, News};
use gdn_mounts::Detached;
use tokio::sync::mpsc::unbounded_channel;

const CAPABILITIES: u64 = 0xa804_25fb;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn root_file_system(at: &Path) -> std::io::Result<()> {
    for directory in ["bin", "proc", "sys", "dev"] {
        std::fs::create_dir_all(at.join(directory))?;
    }
    std::fs::copy("/bin/busybox", at.join("bin/true"))?;
    std::os::unix::fs::chown(at, Some(u32::MAX - 1), Some(u32::MAX - 1))
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(500), |rounds| rounds.parse())?;
    let directory = tempfile::tempdir()?;
    let rootfs = directory.path().join("rootfs");
    root_file_system(&rootfs)?;
    let launcher = Launcher::start()?;
    launcher.launch(directory.path()).await?;
    let (sender, mut news) = unbounded_channel();
    let (keeper, _, _) = Keeper::connect(directory.path(), move |item| drop(sender.send(item))).await?;
    keeper.call(Call::Prepare(Prepare::default()), &[]).await?;
    let root: OwnedFd = std::fs::File::open(&rootfs)?.into();
    let root = Detached::copy_of(root.as_fd())?;
    let seccomp = gdn_seccomp::Profile::default_profile().compile()?.as_bytes();
    let create = Create { capabilities: CAPABILITIES, seccomp, ..Create::default() };
    keeper.call(Call::Create(create), &[root.as_fd()]).await?;
    for tty in [None, Some(Window { rows: 24, columns: 80 })] {
        let mut told = Vec::new();
        let mut ended = Vec::new();
        for _ in 0..rounds {
            let run = Run {
                process: "true".into(),
                args: vec![b"/bin/true".to_vec()],
                bounding: CAPABILITIES,
                tty,
                ..Run::default()
            };
            let start = Instant::now();
            keeper.call(Call::Run(run), &[]).await?;
            told.push(start.elapsed());
            while !matches!(news.recv().await, Some(News::Exited(_)) | None) {}
            ended.push(start.elapsed());
        }
        told.sort();
        ended.sort();
        let kind = if tty.is_some() { "terminal" } else { "pipes" };
        println!(
            "{kind}: started after {:?}, ended after {:?} (medians)",
            told[rounds / 2],
            ended[rounds / 2]
        );
    }
    keeper.kill().await?;
    keeper.shut_down().await?;
    Ok(())
}
