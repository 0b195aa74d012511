//! The guest as a process of the host.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The kernel, from Debian's package `user-mode-linux`.
const KERNEL: &str = "linux.uml";

/// Memory of the guest. The host gives it page by page as it is used.
const MEMORY: &str = "mem=2G";

/// What the kernel says at last, whether it was told to halt by its first program or by a user.
const HALTED: &str = "reboot: System halted";

/// What the guest's first program says when it is set up. What comes before is the kernel's talk, shown only when it failed.
const IS_UP: &str = "guest: ";

/// Lines of the console that are shown of a guest that did not end well.
const SHOWN_LINES: usize = 60;

/// How long a killed guest's processes may take to disappear.
const GROUP_ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Where the guest's console leads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Console {
    /// To the log, and from the first program on to this program's output.
    Log,
    /// To this program's terminal.
    Terminal,
}

/// A guest that can be started.
pub(super) struct Machine {
    /// Its working directory.
    pub(super) root: PathBuf,
    /// What the guest's first program knows as `$guest_dir`.
    pub(super) directory: PathBuf,
    pub(super) disk: PathBuf,
    pub(super) log: PathBuf,
    pub(super) console: Console,
}

impl Machine {
    /// Boots the guest and waits until it has halted.
    ///
    /// # Errors
    /// A guest that ends otherwise, for example by a panic, or does not end before the deadline: it is ended then, and the
    /// end of its console shown.
    pub(super) fn run(&self, deadline: Duration) -> Result<()> {
        let mut command = self.command()?;
        if self.console == Console::Terminal {
            let status = command.status().with_context(|| format!("start {KERNEL}"))?;
            return if status.success() { Ok(()) } else { bail!("the guest ended with {status}") };
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut guest = Guest(command.spawn().with_context(|| format!("start {KERNEL}"))?);
        let lines = lines_of(guest.0.stdout.take().context("the console is a pipe")?);
        let mut log = File::create(&self.log).with_context(|| format!("write {}", self.log.display()))?;
        let outcome = watch(&lines, &mut log, Instant::now() + deadline);
        let status = guest.end(outcome.is_ok())?;
        outcome.with_context(|| format!("the guest ended with {status}"))
    }

    /// The guest on one of the host's processors. Its kernel and its programs are processes of the host that take turns at
    /// every call and fault; to wake one on another, sleeping processor costs ten times as much as the rest of the turn.
    fn command(&self) -> Result<Command> {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &one_processor()?, KERNEL]);
        command.current_dir(&self.root).args([MEMORY, "quiet", "root=/dev/root", "rootfstype=hostfs"]);
        // The host's root is read-only in the guest: what a test does wrong there cannot reach the host.
        command.args(["rootflags=/", "ro", "con=null", "con0=fd:0,fd:1"]);
        command.arg(format!("ubd0={}", self.disk.display()));
        command.arg(format!("uml_dir={}", self.directory.join("control").display()));
        command.arg(format!("init={}", self.directory.join("init.sh").display()));
        command.arg(format!("guest_dir={}", self.directory.display()));
        command.arg(format!("source_dir={}", self.root.display()));
        let target = self.directory.parent().unwrap_or(&self.directory);
        command.arg(format!("target_dir={}", target.display()));
        if self.console == Console::Log {
            // A guest that panics sends SIGTERM to its whole process group; this program must not be in it. At a terminal
            // it must, or it could not read.
            command.process_group(0);
        }
        Ok(command)
    }
}

/// The last of the processors that this program may run on, as `taskset` counts them.
fn one_processor() -> Result<String> {
    let status = std::fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let last = allowed.and_then(|list| list.trim().rsplit([',', '-']).next());
    last.map(str::to_owned).context("/proc/self/status names no processor to run on")
}

/// A guest that runs. Its processes are processes of the host too, in one group with it.
struct Guest(Child);

impl Guest {
    /// Waits for the end of a guest that says it has halted; ends any other.
    fn end(&mut self, has_halted: bool) -> Result<ExitStatus> {
        if !has_halted {
            self.kill();
        }
        let status = self.0.wait().context("wait for the guest")?;
        self.outlive_group()?;
        Ok(status)
    }

    /// Waits until the last process of the group has ended: each ends on its own after the signal, some behind the first.
    fn outlive_group(&self) -> Result<()> {
        let group = format!("-{}", self.0.id());
        let deadline = Instant::now() + GROUP_ENDS_WITHIN;
        while Command::new("kill").args(["-0", "--", &group]).stderr(Stdio::null()).status()?.success() {
            if Instant::now() > deadline {
                bail!(
                    "processes of the guest have not ended within {GROUP_ENDS_WITHIN:?} (process group {group})"
                );
            }
            #[allow(clippy::disallowed_methods, reason = "no descriptor tells the end of a process group")]
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn kill(&mut self) {
        // Not yet waited for, so its number, and that of its group, cannot be a stranger's. The group holds the guest's
        // processes, which are the host's children of the guest and would stay.
        let group = format!("-{}", self.0.id());
        let killed = Command::new("kill").args(["-KILL", "--", &group]).status();
        if !killed.is_ok_and(|status| status.success()) {
            // It may have ended by itself just now.
            let _ = self.0.kill();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.kill();
            // Nobody is left to be told.
            let _ = self.0.wait();
        }
    }
}

/// The console's lines as they come. The channel's end is the console's.
fn lines_of(mut console: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        let mut line = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = console.read(&mut chunk) {
            for byte in &chunk[..count] {
                line.push(*byte);
                if *byte == b'\n' && sender.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        }
        // What a dying kernel says last may lack its end of line. Nobody listens when the guest is being ended.
        let _ = sender.send(line);
    });
    lines
}

/// Copies the console to the log, and to the terminal once the guest is up, until the guest halts.
fn watch(lines: &Receiver<Vec<u8>>, log: &mut File, deadline: Instant) -> Result<()> {
    let mut said: Vec<String> = Vec::new();
    let (mut is_up, mut has_halted) = (false, false);
    let fault = loop {
        let line = match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => String::from_utf8_lossy(&line).trim_end().to_owned(),
            Err(RecvTimeoutError::Disconnected) if has_halted => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => break "the guest ended without halting",
            Err(RecvTimeoutError::Timeout) => break "the guest did not end before its deadline",
        };
        writeln!(log, "{line}").context("write the console's log")?;
        has_halted |= line == HALTED;
        is_up |= line.starts_with(IS_UP);
        if is_up {
            println!("{line}");
        }
        said.push(line);
    };
    let shown = &said[said.len().saturating_sub(SHOWN_LINES)..];
    bail!("{fault}; the end of its console:\n{}", shown.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;

    /// Far more than a boot takes, and short enough for a test that waits for it.
    const BOOT: Duration = Duration::from_secs(60);

    fn boot(script: &str, deadline: Duration) -> (tempfile::TempDir, Result<()>) {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::prepare_in(directory.path(), script).unwrap();
        let outcome = place.machine(directory.path(), Console::Log).run(deadline);
        (directory, outcome)
    }

    /// The processes of the host whose command line names this guest's directory.
    fn processes_of(directory: &std::path::Path) -> Vec<String> {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let command_lines =
            entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
        command_lines.filter(|line| line.contains(directory.to_str().unwrap())).collect()
    }

    #[test]
    fn a_guest_runs_its_plan_and_cannot_write_to_the_host() {
        let (directory, outcome) = boot("echo fine > /run/out/results; echo bad > /run/guest/init.sh", BOOT);
        outcome.unwrap();
        assert_eq!(std::fs::read_to_string(directory.path().join("out/results")).unwrap(), "fine\n");
        assert!(std::fs::read_to_string(directory.path().join("init.sh")).unwrap().starts_with("#!"));
        assert_eq!(processes_of(directory.path()), Vec::<String>::new());
    }

    #[test]
    fn a_guest_that_panics_is_a_failure_that_shows_its_console() {
        let (directory, outcome) = boot("echo the last words; echo c > /proc/sysrq-trigger", BOOT);
        let error = format!("{:#}", outcome.unwrap_err());
        assert!(error.contains("the last words") && error.contains("panic"), "{error}");
        assert_eq!(processes_of(directory.path()), Vec::<String>::new());
    }

    #[test]
    fn a_guest_that_hangs_is_ended_with_its_processes() {
        let (directory, outcome) = boot("echo the last words; sleep 1000", Duration::from_secs(15));
        let error = format!("{:#}", outcome.unwrap_err());
        assert!(error.contains("the last words") && error.contains("deadline"), "{error}");
        assert_eq!(processes_of(directory.path()), Vec::<String>::new());
    }
}
