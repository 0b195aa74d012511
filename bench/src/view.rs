//! The host as others see it: its file systems as crun can live with them, its network as a server has it.
//!
//! crun refuses to run where a cgroup2 tree beside the v1 hierarchies has controllers. In a mount namespace without that
//! tree it runs as on any v1 host.
#![allow(unsafe_code, reason = "namespaces are joined")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// Namespaces, held by a process that waits.
pub(crate) struct View {
    mounts: File,
    network: Option<File>,
    _holder: Child,
}

impl View {
    /// A view without the unified tree; `None` where there is no such tree beside others.
    pub(crate) async fn without_unified_tree() -> Result<Option<Self>> {
        if !has_unified_tree() {
            return Ok(None);
        }
        Self::after("", false).await.map(Some)
    }

    /// A view of a host of one's own: without the unified tree, with a network and run-time files that are nobody else's.
    pub(crate) async fn of_a_host() -> Result<Self> {
        let script = "ip link set lo up && mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /dev/shm && ";
        Self::after(script, true).await
    }

    /// What is there after a script.
    async fn after(script: &str, network: bool) -> Result<Self> {
        let unmount = if has_unified_tree() { format!("umount {UNIFIED} && ") } else { String::new() };
        let script = format!("{unmount}{script}echo ready && exec cat");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        command.args(network.then_some("--net")).args(["sh", "-c", &script]);
        // The holder ends with its standard input, so with this program, however that ends.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut holder = command.spawn().context("start unshare")?;
        let mut said = [0; 6];
        let output = holder.stdout.as_mut().expect("standard output is a pipe");
        output.read_exact(&mut said).await.context("the view could not be made")?;
        ensure!(&said == b"ready\n", "unshare said {said:?}");
        let pid = holder.id().context("unshare ended by itself")?;
        let open = |name: &str| File::open(format!("/proc/{pid}/ns/{name}"));
        let network = if network { Some(open("net")?) } else { None };
        Ok(View { mounts: open("mnt")?, network, _holder: holder })
    }

    /// Has the command see the host this way.
    pub(crate) fn enter(&self, command: &mut Command) {
        let mounts = self.mounts.as_raw_fd();
        let network = self.network.as_ref().map(AsRawFd::as_raw_fd);
        // SAFETY: between fork and exec only setns(2) is called, which allocates nothing; the view outlives the command,
        // because its owner waits for the command's end.
        unsafe {
            command.pre_exec(move || {
                let join = |namespace, kind| match libc::setns(namespace, kind) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                };
                network.map_or(Ok(()), |network| join(network, libc::CLONE_NEWNET))?;
                join(mounts, libc::CLONE_NEWNS)
            });
        }
    }
}

fn has_unified_tree() -> bool {
    Path::new(UNIFIED).join("cgroup.controllers").exists()
}

/// Has this thread see the network of another process, for the rest of its life.
pub(crate) fn join_network_of(pid: u32) -> Result<()> {
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    // SAFETY: takes a descriptor that lives until the call returns, and no pointer.
    match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()).context("join the network namespace of the server"),
    }
}
