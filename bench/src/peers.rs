//! Other engines on the same root file system: an OCI bundle for runc and crun.
//!
//! They make no overlay, no network beyond an empty namespace, and load no system call filter: they do less than the engine.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::json;
use tokio::process::Command;

use crate::view::View;

/// One OCI runtime with a bundle of its own.
pub(crate) struct Peer {
    program: &'static str,
    state: PathBuf,
    once: PathBuf,
    stays: PathBuf,
    number: u64,
    view: Option<View>,
}

impl Peer {
    /// Writes the bundles and starts one container to execute in.
    pub(crate) async fn start(
        program: &'static str,
        rootfs: &Path,
        work: &Path,
        view: Option<View>,
    ) -> Result<Self> {
        let peer = Peer {
            program,
            state: work.join("state"),
            once: work.join("once"),
            stays: work.join("stays"),
            number: 0,
            view,
        };
        write_bundle(&peer.once, rootfs, &["/bin/true"])?;
        write_bundle(&peer.stays, rootfs, &["/bin/sleep", "100000"])?;
        let bundle = peer.stays.to_string_lossy();
        peer.call(&["run", "--detach", "--bundle", &bundle, &peer.resident()]).await?;
        Ok(peer)
    }

    /// The whole life of a container, in microseconds: create, run, wait, delete.
    pub(crate) async fn run(&mut self) -> Result<f64> {
        self.number += 1;
        let name = format!("bench-{}-{}", std::process::id(), self.number);
        let bundle = self.once.to_string_lossy();
        let start = Instant::now();
        self.call(&["run", "--bundle", &bundle, &name]).await?;
        Ok(start.elapsed().as_nanos() as f64 / 1000.0)
    }

    /// One process in the running container, in microseconds.
    pub(crate) async fn exec(&self) -> Result<f64> {
        let start = Instant::now();
        self.call(&["exec", &self.resident(), "/bin/true"]).await?;
        Ok(start.elapsed().as_nanos() as f64 / 1000.0)
    }

    fn resident(&self) -> String {
        format!("bench-{}-stays", std::process::id())
    }

    async fn call(&self, arguments: &[&str]) -> Result<()> {
        // A file and no pipe: a detached container keeps it open, and whoever reads this program's output would wait for it.
        let errors = self.state.with_extension("log");
        let mut command = Command::new(self.program);
        command.arg("--root").arg(&self.state).args(arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&errors)?)
            .kill_on_drop(true);
        if let Some(view) = &self.view {
            view.enter(&mut command);
        }
        let status = command.status().await.with_context(|| format!("start {}", self.program))?;
        if !status.success() {
            let said = std::fs::read_to_string(&errors).unwrap_or_default();
            bail!("{} {}: {status}: {}", self.program, arguments.join(" "), said.trim_end());
        }
        Ok(())
    }
}

impl Drop for Peer {
    /// Removes the container that stays, whatever ended the benchmark.
    fn drop(&mut self) {
        let mut command = Command::new(self.program);
        command
            .arg("--root")
            .arg(&self.state)
            .args(["delete", "--force", &self.resident()])
            .stdin(Stdio::null());
        if let Some(view) = &self.view {
            view.enter(&mut command);
        }
        match command.as_std_mut().output() {
            Ok(output) if output.status.success() => {}
            outcome => {
                eprintln!("bench: {} may have left container {}: {outcome:?}", self.program, self.resident())
            }
        }
    }
}

fn write_bundle(directory: &Path, rootfs: &Path, arguments: &[&str]) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "user"].map(|kind| json!({"type": kind}));
    let capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID"];
    let config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": arguments, "env": ["PATH=/bin"], "cwd": "/", "noNewPrivileges": true,
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        },
        "root": {"path": rootfs, "readonly": true},
        "hostname": "bench",
        "mounts": [
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "mode=755"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ],
        "linux": {
            "uidMappings": map, "gidMappings": map,
            "namespaces": namespaces,
            "resources": {
                "memory": {"limit": 268_435_456}, "cpu": {"shares": 512}, "pids": {"limit": 100},
                "devices": [{"allow": false, "access": "rwm"}],
            },
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    });
    std::fs::write(directory.join("config.json"), serde_json::to_vec_pretty(&config)?)?;
    Ok(())
}
