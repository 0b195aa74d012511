//! The floor: what this kernel needs at least for one container, or for one process in a container, without any engine.
//!
//! `gdn-bench-floor cycle ROOTFS WORK` makes and removes a whole sandbox a round, `net` one with a link, an address and a
//! mapped port; `exec` runs `/bin/true` a round in one sandbox; `gdn-bench-floor hog / /` uses a processor until killed. Each
//! line on standard input is one round; its microseconds are printed as a line. At the end of input everything is removed.
#![allow(unsafe_code, reason = "the floor is made of direct system calls")]

mod cgroups;
mod child;
mod network;
mod seccomp;
mod sys;

use std::ffi::{CString, OsString};
use std::io::{self, BufRead, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use cgroups::Cgroups;
use child::{Plan, Then};
use network::Network;

fn main() -> Result<()> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [mode, rootfs, work] = &arguments[..] else {
        bail!("usage: gdn-bench-floor cycle|net|exec|hog ROOTFS WORK")
    };
    if mode == "hog" {
        sys::end_with_parent()?;
        hog();
    }
    let mut host = Host::prepare(PathBuf::from(rootfs), PathBuf::from(work))?;
    match mode.to_str() {
        Some("cycle") => rounds(|number| host.cycle(number)),
        Some("net") => {
            host.network = Some(Network::prepare()?);
            rounds(|number| host.cycle(number))
        }
        Some("exec") => {
            let sandbox = host.start(0, Then::Stay)?;
            let outcome = rounds(|_| sandbox.exec_true());
            sandbox.remove()?;
            outcome
        }
        _ => bail!("unknown mode {mode:?}"),
    }
}

/// Uses one processor until killed.
fn hog() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

/// One round for each line on standard input.
fn rounds(mut round: impl FnMut(u64) -> Result<()>) -> Result<()> {
    for (number, line) in io::stdin().lock().lines().enumerate() {
        line?;
        let start = Instant::now();
        round(number as u64)?;
        let elapsed = start.elapsed();
        println!("{}", elapsed.as_nanos() as f64 / 1000.0);
        io::stdout().flush()?;
    }
    Ok(())
}

/// What is made once: the mount namespace of this program, the `/dev` template, the system call filter.
struct Host {
    rootfs: PathBuf,
    work: PathBuf,
    plan: Plan,
    /// Where sandboxes have a link.
    network: Option<Network>,
}

impl Host {
    fn prepare(rootfs: PathBuf, work: PathBuf) -> Result<Self> {
        sys::unshare(libc::CLONE_NEWNS).context("unshare the mount namespace")?;
        sys::mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE).context("make mounts private")?;
        for directory in ["dev", "mnt"] {
            std::fs::create_dir_all(work.join(directory))?;
        }
        let dev = path(&work.join("dev"))?;
        sys::mount(Some(c"tmpfs"), &dev, Some(c"tmpfs"), libc::MS_NOSUID)
            .context("mount the /dev template")?;
        child::fill_dev(&work.join("dev"))?;
        let plan = Plan { root: path(&work.join("mnt"))?, filter: seccomp::filter() };
        Ok(Host { rootfs, work, plan, network: None })
    }

    /// One container from nothing to nothing, running `/bin/true`.
    fn cycle(&mut self, number: u64) -> Result<()> {
        let sandbox = self.start(number, Then::ExecTrue)?;
        let status = sys::wait(sandbox.pid)?;
        if status != 0 {
            bail!("the sandbox failed at step {}", status >> 8);
        }
        if let Some(network) = &mut self.network {
            network.leave(number).context("take the network away")?;
        }
        sandbox.remove_files()
    }

    fn start(&mut self, number: u64, then: Then) -> Result<Sandbox> {
        let directory = self.work.join(format!("container-{number}"));
        for name in ["upper", "work"] {
            std::fs::create_dir_all(directory.join(name))?;
        }
        let overlay = self.overlay(&directory).context("mount the overlay")?;
        let dev = sys::clone_mount(&path(&self.work.join("dev"))?).context("clone the /dev template")?;
        let cgroups = Cgroups::create(&format!("gdn-floor-{}-{number}", std::process::id()))
            .context("create cgroups")?;
        let (go_read, go_write) = sys::pipe()?;
        let (mut ready_read, ready_write) = sys::pipe()?;
        let pid = sys::fork_with(child::NAMESPACES)?;
        if pid == 0 {
            drop((go_write, ready_read));
            child::main(&self.plan, &overlay, &dev, go_read, ready_write, then);
        }
        cgroups.attach(pid).context("attach to cgroups")?;
        sys::map_users(pid).context("map users")?;
        if let Some(network) = &mut self.network {
            network.join(number, pid).context("give it a network")?;
        }
        drop((go_read, ready_write, overlay, dev));
        (&go_write).write_all(b"g")?;
        if then == Then::Stay {
            ready_read.read_exact(&mut [0]).context("wait for the sandbox")?;
        }
        Ok(Sandbox { pid, pidfd: sys::pidfd(pid)?, cgroups, directory })
    }

    fn overlay(&self, directory: &Path) -> Result<OwnedFd> {
        let context = sys::fsopen(c"overlay")?;
        sys::fsconfig(&context, c"lowerdir", &path(&self.rootfs)?)?;
        sys::fsconfig(&context, c"upperdir", &path(&directory.join("upper"))?)?;
        sys::fsconfig(&context, c"workdir", &path(&directory.join("work"))?)?;
        Ok(sys::fsmount(&context)?)
    }
}

/// One container that exists.
struct Sandbox {
    pid: libc::pid_t,
    pidfd: OwnedFd,
    cgroups: Cgroups,
    directory: PathBuf,
}

impl Sandbox {
    /// Joins all namespaces and executes `/bin/true`, to its end.
    fn exec_true(&self) -> Result<()> {
        sys::join(self.pidfd.as_raw_fd(), libc::CLONE_NEWPID).context("join the pid namespace")?;
        let status = sys::wait(sys::vfork_with(child::join_and_exec, self.pidfd.as_raw_fd())?)?;
        if status != 0 {
            bail!("/bin/true in the sandbox failed: wait status {status}");
        }
        Ok(())
    }

    fn remove(self) -> Result<()> {
        sys::kill(self.pid)?;
        sys::wait(self.pid)?;
        self.remove_files()
    }

    fn remove_files(self) -> Result<()> {
        self.cgroups.remove().context("remove cgroups")?;
        for name in ["work/work", "work", "upper", ""] {
            std::fs::remove_dir(self.directory.join(name)).with_context(|| format!("remove {name:?}"))?;
        }
        Ok(())
    }
}

fn path(path: &Path) -> Result<CString> {
    Ok(CString::new(path.as_os_str().to_owned().into_vec())?)
}
