//! The runtime's program and how it is called.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use gdn_launcher::protocol::Client;
use gdn_types::{Error, Result};

use super::bundle::Bundle;

/// Where a runtime without a slash in its name is looked for, once, when the engine starts.
const DIRECTORIES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// An OCI runtime: a program with the command line of runc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    program: String,
    extra: Vec<String>,
}

impl Runtime {
    /// The runtime of this name or path. `extra` are arguments that come first at every call.
    ///
    /// # Errors
    /// `InvalidArgument` when there is no such program.
    pub fn find(name: &str, extra: Vec<String>) -> Result<Self> {
        let executable = |path: &Path| {
            path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        let missing = |whence: &str| Error::invalid(format!("no runtime plug-in {name:?} {whence}"));
        if name.contains('/') {
            let path = std::path::absolute(name).map_err(|_| missing("can be reached"))?;
            return match path.to_str() {
                Some(program) if executable(&path) => Ok(Runtime { program: program.to_owned(), extra }),
                _ => Err(missing("can be executed")),
            };
        }
        let candidates = DIRECTORIES.iter().map(|directory| Path::new(directory).join(name));
        let found: Option<PathBuf> = candidates.into_iter().find(|path| !name.is_empty() && executable(path));
        let program = found.and_then(|path| path.to_str().map(str::to_owned));
        let program = program.ok_or_else(|| missing("in the usual directories"))?;
        Ok(Runtime { program, extra })
    }

    /// The path of its program.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Makes a container, whose init it leaves.
    pub(super) fn run(&self, state: &Path, bundle: &Bundle, id: &str, terminal: bool) -> Client {
        let mut client = self.starting("run", state, bundle, terminal);
        client.args.extend(["--bundle".to_owned(), bundle.text(), id.to_owned()]);
        client
    }

    /// Starts a process, described by `process.json`, in a container.
    pub(super) fn exec(&self, state: &Path, bundle: &Bundle, id: &str, terminal: bool) -> Client {
        let mut client = self.starting("exec", state, bundle, terminal);
        client.args.extend(["--process".to_owned(), bundle.file("process.json"), id.to_owned()]);
        client
    }

    /// Forgets a container, alive or not.
    pub(super) fn delete(&self, state: &Path, bundle: &Bundle, id: &str) -> Client {
        let mut client = self.command("delete", state, bundle);
        client.args.extend(["--force".to_owned(), id.to_owned()]);
        client
    }

    fn starting(&self, verb: &str, state: &Path, bundle: &Bundle, terminal: bool) -> Client {
        let mut client = self.command(verb, state, bundle);
        client.pid_file = bundle.file("pid");
        client.args.extend(["--detach".to_owned(), "--pid-file".to_owned(), client.pid_file.clone()]);
        if terminal {
            // Relative to the directory it is started in: a socket's path must be short.
            client.console = "console".to_owned();
            client.args.extend(["--console-socket".to_owned(), client.console.clone()]);
        }
        client
    }

    fn command(&self, verb: &str, state: &Path, bundle: &Bundle) -> Client {
        let options =
            ["--root", &state.display().to_string(), "--log", &bundle.log(), "--log-format", "json"]
                .map(str::to_owned);
        let args = [self.program.clone()].into_iter().chain(self.extra.iter().cloned()).chain(options);
        Client { args: args.chain([verb.to_owned()]).collect(), dir: bundle.text(), ..Client::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_found_by_name_and_by_path_or_refused() {
        assert_eq!(Runtime::find("sh", Vec::new()).unwrap().program(), "/usr/bin/sh");
        assert_eq!(Runtime::find("/bin/sh", Vec::new()).unwrap().program(), "/bin/sh");
        for name in ["", "no-such-runtime", "/etc/passwd", "/etc", "./missing", ".."] {
            let error = Runtime::find(name, Vec::new()).unwrap_err();
            assert_eq!(error.kind(), gdn_types::ErrorKind::InvalidArgument, "{name:?}");
        }
    }

    /// Conformance: Q394-404
    #[test]
    fn arguments_of_the_operator_come_first_and_secrets_never() {
        let directory = tempfile::tempdir().unwrap();
        let bundle = Bundle::make(directory.path().join("b")).unwrap();
        let runtime = Runtime::find("/bin/sh", vec!["--systemd-cgroup=false".into()]).unwrap();
        let state = Path::new("/state");
        let dir = bundle.text();
        let expected = |verb: &str, rest: &[&str]| -> Vec<String> {
            let log = format!("{dir}/log");
            let first = [
                "/bin/sh",
                "--systemd-cgroup=false",
                "--root",
                "/state",
                "--log",
                &log,
                "--log-format",
                "json",
            ];
            first.iter().chain([&verb]).chain(rest).map(ToString::to_string).collect()
        };
        let (pid, process) = (format!("{dir}/pid"), format!("{dir}/process.json"));
        let run = runtime.run(state, &bundle, "c1", false);
        assert_eq!(run.args, expected("run", &["--detach", "--pid-file", &pid, "--bundle", &dir, "c1"]));
        let exec = runtime.exec(state, &bundle, "c1", true);
        let console = ["--detach", "--pid-file", &pid, "--console-socket", "console"];
        assert_eq!(exec.args, expected("exec", &[&console[..], &["--process", &process, "c1"]].concat()));
        assert_eq!(exec.console, "console");
        let delete = runtime.delete(state, &bundle, "c1");
        assert_eq!(delete.args, expected("delete", &["--force", "c1"]));
        assert_eq!((delete.pid_file.as_str(), delete.console.as_str()), ("", ""));
    }
}
