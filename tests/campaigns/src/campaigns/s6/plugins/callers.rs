//! Who has a plug-in make networks: the engine, and a caller that trusts whatever it hears.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use engine_tests::host::Namespace;
use engine_tests::images::path_text;
use engine_tests::{Engine, PATIENCE, eventually};

use crate::{Bed, Verdict};

/// Does what the case has put beside it.
const PROGRAM: &str = r#"#!/bin/sh
here=${0%/*}
while [ $# -gt 0 ]; do
    [ "$1" = --action ] && action=$2
    [ "$1" = --handle ] && handle=$2
    shift
done
cat > /dev/null
echo "$action $handle" >> "$here/calls"
export PLUGIN="$here"
[ -e "$here/$action.sh" ] && . "$here/$action.sh"
exit 0
"#;
/// What a client would have run in its place.
const STRANGER: &str = "#!/bin/sh\necho > \"${0%/*}/stranger-ran\"\necho > '@/stranger-ran'\n";
/// Runs what its client names and keeps what that answers.
const CARELESS: &str = r#"
while read -r name; do
    answer=$("$1/$name" --action up --handle bad < /dev/null)
    echo answered
done
"#;
/// The most that a call may add to a caller's memory: far less than the longest answer of a case.
pub(super) const MOST_MEMORY_KIB: u64 = 64 << 10;

/// Who calls a plug-in for a client.
pub(super) trait Caller {
    /// Where the programs are that it knows.
    fn place(&self) -> &Path;

    /// Its client wants a network of this name, by every word that it can say.
    fn asked(&mut self, name: &str);

    /// Nothing but what the operator chose was run, nothing of its processes and answers stays, and others are served.
    fn finish(self) -> Verdict;
}

/// What is looked at of every caller, strong or weak.
struct Watched {
    place: PathBuf,
    pid: u32,
    memory: u64,
}

impl Watched {
    fn begin(place: PathBuf, pid: u32) -> Self {
        Watched { place, pid, memory: most_memory(pid) }
    }

    /// Whether a client or a plug-in has had more than is due; processes may take this long to be gone.
    fn outcome(&self, patience: Duration) -> Verdict {
        let stranger = self.place.join("stranger-ran");
        let gone = eventually(patience, || runs(&self.place, self.pid).is_empty().then_some(()));
        let grown = most_memory(self.pid).saturating_sub(self.memory);
        Verdict::all([
            Verdict::held_unless(stranger.exists(), || "the program that was named has run".into()),
            Verdict::held_unless(gone.is_none(), || "a process of the plug-in is left".into()),
            Verdict::held_unless(grown > MOST_MEMORY_KIB, || format!("the caller grew by {grown} KiB")),
        ])
    }
}

/// An engine of its own whose networks a script makes.
pub(super) struct Plugged {
    pub(super) engine: Engine,
    watched: Watched,
}

impl Plugged {
    pub(super) fn start(bed: &mut Bed) -> Self {
        Plugged::on(bed, None)
    }

    /// On a host of its own, if there is one.
    pub(super) fn on(bed: &mut Bed, host: Option<&Namespace>) -> Self {
        let place = place_in(bed);
        let mut engine = Engine::new();
        serve(&mut engine, &place, host);
        let watched = watched_server(&engine, place);
        Plugged { engine, watched }
    }

    /// Stops the server and starts another.
    pub(super) fn restart(&mut self) {
        self.engine.stop_server();
        serve(&mut self.engine, &self.watched.place, None);
        self.watched = watched_server(&self.engine, self.watched.place.clone());
    }

    /// Puts a script there that the plug-in does.
    pub(super) fn put(&self, name: &str, script: &str) {
        fs::write(self.watched.place.join(name), script).unwrap();
    }

    /// A create fails, and the client is told why.
    pub(super) fn refuses(&self, told: &str) {
        self.engine.gdn(["create", "--handle", "bad", self.engine.image()]).expect_error(told);
    }
}

impl Caller for Plugged {
    fn place(&self) -> &Path {
        &self.watched.place
    }

    fn asked(&mut self, name: &str) {
        for key in ["network.type", "network.plugin", "type"] {
            let property = format!("{key}={name}");
            let create = ["create", "--handle", "client", "--property", &property, self.engine.image()];
            self.engine.gdn(create).expect_status(0);
            self.engine.gdn(["destroy", "client"]).expect_status(0);
        }
        for word in ["--network", "--handle"] {
            let asked = self.engine.gdn(["create", word, name, self.engine.image()]);
            if asked.status == 0 {
                self.engine.gdn(["destroy", asked.text().trim()]).expect_status(0);
            }
        }
    }

    fn finish(self) -> Verdict {
        let Plugged { engine, watched } = self;
        let outcome = watched.outcome(PATIENCE);
        // What a plug-in that was not there could not take down is taken down when it is back.
        let gone = eventually(PATIENCE, || engine.handles().is_empty().then_some(()));
        match fs::remove_file(watched.place.join("up.sh")) {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
        }
        engine.create(&["--handle", "good"]);
        engine.gdn(["destroy", "good"]).expect_status(0);
        engine.finish();
        Verdict::all([outcome, Verdict::held_unless(gone.is_none(), || "the container is left".into())])
    }
}

fn serve(engine: &mut Engine, place: &Path, host: Option<&Namespace>) {
    let program = path_text(&place.join("program"));
    let options = ["--network-plugin", &program, "--network-plugin-timeout", "2s"];
    match host {
        Some(host) => engine.start_server_in(host, &options),
        None => engine.start_server(&options),
    }
}

fn watched_server(engine: &Engine, place: PathBuf) -> Watched {
    // The first container makes the server grow by what it needs for any.
    engine.create(&["--handle", "first"]);
    engine.gdn(["destroy", "first"]).expect_status(0);
    Watched::begin(place, engine.server_pid())
}

/// The weak target: a shell.
pub(super) struct Careless {
    shell: Child,
    answers: BufReader<ChildStdout>,
    watched: Watched,
}

impl Careless {
    pub(super) fn start(bed: &mut Bed) -> Self {
        let place = place_in(bed);
        let mut shell = Command::new("sh");
        shell.args(["-c", CARELESS, "sh"]).arg(&place).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let answers = BufReader::new(shell.stdout.take().expect("it is piped"));
        let mut careless = Careless { watched: Watched::begin(place, shell.id()), shell, answers };
        // As with the engine, the first call is not looked at.
        careless.call("program");
        careless.watched.memory = most_memory(careless.shell.id());
        careless
    }

    /// Has a program called.
    pub(super) fn call(&mut self, name: &str) {
        writeln!(self.shell.stdin.as_mut().expect("it is piped"), "{name}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert_eq!(line, "answered\n");
    }
}

impl Caller for Careless {
    fn place(&self) -> &Path {
        &self.watched.place
    }

    fn asked(&mut self, name: &str) {
        self.call(name);
    }

    fn finish(mut self) -> Verdict {
        let outcome = self.watched.outcome(Duration::ZERO);
        // It ends when its input does.
        drop(self.shell.stdin.take());
        assert!(self.shell.wait().unwrap().success());
        outcome
    }
}

/// A new directory with the program, and the stranger beside the directory.
pub(super) fn place_in(bed: &mut Bed) -> PathBuf {
    let scene = bed.engine().scratch().join("plug-ins");
    if scene.exists() {
        fs::remove_dir_all(&scene).unwrap();
    }
    let place = scene.join("place");
    fs::create_dir_all(&place).unwrap();
    for (path, text) in [
        (place.join("program"), PROGRAM.to_owned()),
        (scene.join("stranger"), STRANGER.replace('@', &path_text(&place))),
    ] {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    place
}

/// Processes of the plug-in: its own command line and the environment of its children name its place. So does the command
/// line of the caller.
pub(super) fn runs(place: &Path, caller: u32) -> Vec<u32> {
    let place = path_text(place);
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != caller)
        .filter(|pid| {
            ["cmdline", "environ"].iter().any(|file| {
                // A process may end meanwhile.
                let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                String::from_utf8_lossy(&text).contains(&place)
            })
        })
        .collect()
}

/// The most memory that a process has had, in KiB.
fn most_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel tells it");
    line.trim().trim_end_matches("kB").trim().parse().expect("it is a number")
}
