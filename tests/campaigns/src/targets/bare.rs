//! The weak target: a runtime that does next to nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use engine_tests::host::Namespace;
use engine_tests::images::path_text;

use super::{Seen, Target, finish, probe};

/// A "container" that is a changed root directory and no more: no user namespace, no seccomp, all capabilities, a naive
/// look-up of users. Namespaces are added one by one where an attempt would harm the host without.
#[derive(Clone, Debug)]
pub struct Bare {
    root: PathBuf,
    namespaces: Vec<&'static str>,
    inherited: Vec<(&'static str, &'static str)>,
    wrapper: Vec<&'static str>,
    network: Option<u32>,
}

impl Bare {
    /// On a directory of the host.
    pub fn new(root: &Path) -> Self {
        Bare {
            root: root.to_owned(),
            namespaces: Vec::new(),
            inherited: Vec::new(),
            wrapper: Vec::new(),
            network: None,
        }
    }

    /// With some namespaces of its own: `mount` (with procfs, and the host's `/dev` and `/sys`), `pid`, `ipc`, `uts`, `net`.
    #[must_use]
    pub fn with(self, namespaces: &[&'static str]) -> Self {
        Bare { namespaces: namespaces.to_vec(), ..self }
    }

    /// With every namespace but that of users.
    #[must_use]
    pub fn walled(self) -> Self {
        self.with(&["mount", "pid", "ipc", "uts", "net"])
    }

    /// With a variable of the runtime's own environment, which it hands on.
    #[must_use]
    pub fn inheriting(mut self, name: &'static str, value: &'static str) -> Self {
        self.inherited.push((name, value));
        self
    }

    /// Started by a command of the probe that becomes it.
    #[must_use]
    pub fn started_by(self, wrapper: &[&'static str]) -> Self {
        Bare { wrapper: wrapper.to_vec(), ..self }
    }

    /// In the network namespace of a process.
    #[must_use]
    pub fn in_network(self, pid: u32) -> Self {
        Bare { network: Some(pid), ..self }
    }

    /// Not even a root directory of its own: programs are those of the host.
    #[must_use]
    pub fn unchanged_root(self) -> Self {
        Bare { root: PathBuf::from("/"), ..self }
    }
}

impl Target for Bare {
    fn run(&self, user: &str, words: &[&str]) -> Seen {
        let mut command = match self.network {
            Some(pid) => Namespace::command_in(pid, &path_text(&probe())),
            None => Command::new(probe()),
        };
        if !self.wrapper.is_empty() {
            command.args(&self.wrapper).arg(probe());
        }
        command.arg("bare").arg(&self.root).arg(self.namespaces.join(",")).arg(user).args(words);
        command.env_clear().env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin");
        command.envs(self.inherited.iter().copied());
        finish(command)
    }
}
