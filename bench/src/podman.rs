//! podman with a bridge, where it is installed: the usual engine of a single host, on the same root file system.
//!
//! It sees a host of its own (network, run-time files), so that nothing of its bridge and firewall reaches this one.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::view::View;

/// How long its first container may take.
const FIRST: Duration = Duration::from_secs(30);

/// The node below which it makes its control groups.
const PARENT: &str = "gdn-bench-podman";

/// A podman with its storage in a directory.
pub(crate) struct Podman {
    rootfs: PathBuf,
    work: PathBuf,
    view: View,
}

impl Podman {
    /// Nothing where it is not installed.
    pub(crate) async fn start(rootfs: &Path, work: &Path) -> Result<Option<Self>> {
        let version = Command::new("podman").arg("--version").stdout(Stdio::null()).status().await;
        if !version.is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        let works = async {
            let view = View::of_a_host().await?;
            let podman = Podman { rootfs: rootfs.to_owned(), work: work.to_owned(), view };
            // The first container makes the bridge, and the storage.
            podman.run().await.map(|_| podman)
        };
        match tokio::time::timeout(FIRST, works).await.context("it took longer than 30 s").flatten() {
            Ok(podman) => Ok(Some(podman)),
            Err(error) => {
                eprintln!("bench: podman does not work here, and is left out: {error:#}");
                Ok(None)
            }
        }
    }

    /// The whole life of a container with a network and a mapped port, in microseconds.
    pub(crate) async fn run(&self) -> Result<f64> {
        let errors = self.work.with_extension("log");
        let mut command = Command::new("podman");
        for (option, name) in
            [("--root", "store"), ("--runroot", "run"), ("--tmpdir", "tmp"), ("--network-config-dir", "net")]
        {
            command.arg(option).arg(self.work.join(name));
        }
        command.args(["--cgroup-manager", "cgroupfs", "--runtime", "crun", "--events-backend", "none"]);
        command.args(["run", "--rm", "--network", "bridge", "--publish", "8080"]);
        command.args(["--memory", "256m", "--cpu-shares", "512", "--pids-limit", "100"]);
        command.args([
            "--cgroup-parent",
            PARENT,
            "--ulimit",
            "nofile=1024:1024",
            "--ulimit",
            "nproc=1000:1000",
        ]);
        command.arg("--rootfs").arg(&self.rootfs).arg("/bin/true");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&errors)?);
        self.view.enter(&mut command);
        let start = Instant::now();
        let status = command.kill_on_drop(true).status().await.context("start podman")?;
        let took = start.elapsed().as_nanos() as f64 / 1000.0;
        if !status.success() {
            bail!(
                "podman run: {status}: {}",
                std::fs::read_to_string(&errors).unwrap_or_default().trim_end()
            );
        }
        Ok(took)
    }
}

impl Drop for Podman {
    /// Removes the control groups that it leaves.
    fn drop(&mut self) {
        let hierarchies = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        let nodes = hierarchies.map(|hierarchy| hierarchy.path()).chain([PathBuf::from("/sys/fs/cgroup")]);
        // It is there only in those that podman uses.
        for node in nodes.map(|node| node.join(PARENT)).filter(|node| node.exists()) {
            let below = std::fs::read_dir(&node).into_iter().flatten().flatten().map(|child| child.path());
            let removed = below.filter(|child| child.is_dir()).try_for_each(std::fs::remove_dir);
            if let Err(error) = removed.and_then(|()| std::fs::remove_dir(&node)) {
                eprintln!("bench: podman may have left {}: {error}", node.display());
            }
        }
    }
}
