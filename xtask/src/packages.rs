//! The programs that tests and benchmarks need from the distribution, and their installation.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// A Debian package, the file or program that shows it is there, and what needs it.
struct Package {
    name: &'static str,
    shows: Shows,
    reason: &'static str,
}

enum Shows {
    Program(&'static str),
    File(&'static str),
}

use Shows::{File, Program};

const TESTS: [Package; 16] = [
    Package {
        name: "busybox-static",
        shows: Program("busybox"),
        reason: "the root file system of test containers",
    },
    Package { name: "runc", shows: Program("runc"), reason: "a peer to compare with" },
    Package { name: "crun", shows: Program("crun"), reason: "a peer to compare with" },
    Package { name: "umoci", shows: Program("umoci"), reason: "an oracle for image unpacking" },
    Package { name: "skopeo", shows: Program("skopeo"), reason: "an oracle for image formats" },
    Package {
        name: "e2fsprogs",
        shows: Program("mkfs.ext4"),
        reason: "tests on loop devices: power loss, frozen files",
    },
    Package { name: "xfsprogs", shows: Program("mkfs.xfs"), reason: "power loss tests on loop devices" },
    Package {
        name: "util-linux",
        shows: Program("unshare"),
        reason: "namespaces, loop devices and IPC planted by tests",
    },
    Package { name: "mount", shows: Program("losetup"), reason: "loop devices planted by tests" },
    Package { name: "strace", shows: Program("strace"), reason: "crash points by system call" },
    Package {
        name: "perl-base",
        shows: File("/usr/bin/perl"),
        reason: "system calls without a command of their own",
    },
    Package {
        name: "user-mode-linux",
        shows: Program("linux.uml"),
        reason: "the guest with cgroup v2 and an older kernel",
    },
    Package { name: "kmod", shows: Program("modprobe"), reason: "the guest's kernel modules" },
    Package { name: "iproute2", shows: Program("ip"), reason: "links of test hosts, and of the guest" },
    Package {
        name: "iptables",
        shows: Program("iptables-nft"),
        reason: "others' firewalls beside the engine's",
    },
    Package { name: "nftables", shows: Program("nft"), reason: "an oracle for rules, sets and maps" },
];

/// For a whole run of the benchmark.
const PEERS: [Package; 3] = [
    Package { name: "podman", shows: Program("podman"), reason: "a peer with a network to compare with" },
    Package { name: "netavark", shows: File("/usr/lib/podman/netavark"), reason: "podman's network" },
    Package { name: "aardvark-dns", shows: File("/usr/lib/podman/aardvark-dns"), reason: "podman's names" },
];

/// Installs what tests and short benchmarks need and is missing, announcing each package and why.
pub(crate) fn install_for_tests() -> Result<()> {
    install(&TESTS)
}

/// Installs the peers of a whole run of the benchmark.
pub(crate) fn install_peers() -> Result<()> {
    install(&PEERS)
}

fn install(packages: &[Package]) -> Result<()> {
    let missing: Vec<&Package> = packages.iter().filter(|package| !package.is_there()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for package in &missing {
        println!("installing {} with apt-get: {}", package.name, package.reason);
    }
    apt_get(&["update", "-q"])?;
    let names = missing.iter().map(|package| package.name);
    apt_get(
        &["install", "-y", "-q", "--no-install-recommends"].into_iter().chain(names).collect::<Vec<_>>(),
    )?;
    if let Some(package) = missing.iter().find(|package| !package.is_there()) {
        bail!("package {} is installed, but what is needed of it is still not found", package.name);
    }
    Ok(())
}

impl Package {
    fn is_there(&self) -> bool {
        match self.shows {
            Program(name) => shell::has(name),
            File(path) => Path::new(path).exists(),
        }
    }
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    shell::run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
        .context("install what is needed (this must run as root on a Debian machine)")
}
