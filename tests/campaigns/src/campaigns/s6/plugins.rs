//! Network plug-ins: programs of the operator, whose answers are not to be trusted, and whose names are not a client's to say.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use engine_tests::images::path_text;
use engine_tests::{Engine, eventually, until};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::{Bed, Stage, Verdict};

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
/// The most that a call may add to the server's memory: far less than the longest answer of a case.
const MOST_MEMORY_KIB: u64 = 64 << 10;

/// What a plug-in does when a container comes up, and what the client is told then.
const ANSWERS: [(&str, &str, &str); 9] = [
    ("no JSON", "echo not json", "cannot be read"),
    ("half an answer", "printf '{\"properties\":{'", "cannot be read"),
    ("an answer of 1 GiB", "dd if=/dev/zero bs=1048576 count=1024", "more than 1048576 bytes"),
    ("an answer without an end", "exec cat /dev/zero", "more than 1048576 bytes"),
    ("a status of 1", "exit 1", "exit status: 1"),
    ("a death by a signal", "kill -9 $$", "signal: 9"),
    ("no end", "exec sleep 1000", "did not end within"),
    ("children that outlive it", "sleep 1000 & exit 0", "did not end within"),
    (
        "an address that is a line of a file",
        r#"printf %s '{"properties":{"garden.network.container-ip":"10.0.0.1 x\n6.6.6.6 host"}}'"#,
        "no address",
    ),
];

pub(super) fn answers(stage: &mut Stage<'_>) {
    stage.case("a type with a path in it", |bed| named_by_a_client(bed, |_| "../stranger".into()));
    stage.case("a type that is a link", |bed| {
        named_by_a_client(bed, |place| {
            symlink(place.with_file_name("stranger"), place.join("link")).unwrap();
            "link".into()
        })
    });
    stage.case("a program that is not there", |bed| {
        let plugged = Plugged::start(bed);
        let (program, aside) = (plugged.place.join("program"), plugged.place.join("aside"));
        fs::rename(&program, &aside).unwrap();
        plugged.refuses("No such file");
        fs::rename(&aside, &program).unwrap();
        plugged.finish()
    });
    for (name, script, told) in ANSWERS {
        stage.case(name, |bed| {
            let plugged = Plugged::start(bed);
            fs::write(plugged.place.join("up.sh"), script).unwrap();
            plugged.refuses(told);
            plugged.finish()
        });
    }
    stage.control("a caller that runs what a client names", |bed| {
        let place = place_in(bed);
        let named = place.join("../stranger");
        Command::new(&named).stdout(Stdio::null()).status().unwrap();
        strangers_verdict(&place)
    });
    stage.control("a caller that reads whatever is answered", |bed| {
        let place = place_in(bed);
        fs::write(place.join("up.sh"), "dd if=/dev/zero bs=1048576 count=128 2>/dev/null").unwrap();
        let answer = call(&place).output().unwrap().stdout.len() as u64;
        Verdict::held_unless(answer > MOST_MEMORY_KIB << 10, || format!("{answer} bytes are kept"))
    });
    stage.control("a caller that ends the plug-in alone", |bed| {
        let place = place_in(bed);
        fs::write(place.join("up.sh"), "sleep 1000 & wait").unwrap();
        let mut child = call(&place).process_group(0).spawn().unwrap();
        until("the plug-in to have a child", || runs(&place, 0).len() == 2);
        child.kill().unwrap();
        child.wait().unwrap();
        let left = runs(&place, 0);
        kill_process_group(Pid::from_child(&child), Signal::KILL).unwrap();
        Verdict::held_unless(!left.is_empty(), || format!("processes {left:?} are left"))
    });
}

/// A client who wants another program to make its network, by every word that it can say.
fn named_by_a_client(bed: &mut Bed, name: impl FnOnce(&Path) -> String) -> Verdict {
    let plugged = Plugged::start(bed);
    let name = name(&plugged.place);
    for (key, value) in [("network.type", &name), ("network.plugin", &name), ("type", &name)] {
        let property = format!("{key}={value}");
        let create = ["create", "--handle", "client", "--property", &property, plugged.engine.image()];
        plugged.engine.gdn(create).expect_status(0);
        plugged.engine.gdn(["destroy", "client"]).expect_status(0);
    }
    for words in [["--network", &name], ["--handle", &name]] {
        let asked = plugged.engine.gdn(["create", words[0], words[1], plugged.engine.image()]);
        if asked.status == 0 {
            plugged.engine.gdn(["destroy", asked.text().trim()]).expect_status(0);
        }
    }
    let ran = strangers_verdict(&plugged.place);
    Verdict::all([ran, plugged.finish()])
}

/// Whether the stranger was run.
fn strangers_verdict(place: &Path) -> Verdict {
    let left = place.join("stranger-ran");
    Verdict::held_unless(left.exists(), || "the program that was named has run".into())
}

/// An engine of its own whose networks a script makes.
struct Plugged {
    engine: Engine,
    place: PathBuf,
    memory: u64,
}

impl Plugged {
    fn start(bed: &mut Bed) -> Self {
        let place = place_in(bed);
        let mut engine = Engine::new();
        let program = path_text(&place.join("program"));
        engine.start_server(&["--network-plugin", &program, "--network-plugin-timeout", "2s"]);
        // The first container makes the server grow by what it needs for any.
        engine.create(&["--handle", "first"]);
        engine.gdn(["destroy", "first"]).expect_status(0);
        let memory = most_memory(engine.server_pid());
        Plugged { engine, place, memory }
    }

    /// A create fails, and the client is told why.
    fn refuses(&self, told: &str) {
        self.engine.gdn(["create", "--handle", "bad", self.engine.image()]).expect_error(told);
    }

    /// Nothing of the container, of the plug-in's processes and of its answer stays, and others are served.
    fn finish(self) -> Verdict {
        let Plugged { engine, place, memory } = self;
        let gone = |what: &str, is_gone: &dyn Fn() -> bool| {
            let gone = eventually(engine_tests::PATIENCE, || is_gone().then_some(()));
            Verdict::held_unless(gone.is_none(), || format!("{what} is left"))
        };
        let processes = gone("a process of the plug-in", &|| runs(&place, engine.server_pid()).is_empty());
        let grown = most_memory(engine.server_pid()).saturating_sub(memory);
        let kept =
            Verdict::held_unless(grown > MOST_MEMORY_KIB, || format!("the server grew by {grown} KiB"));
        // What a plug-in that was not there could not take down is taken down when it is back.
        let handles = gone("the container", &|| engine.handles().is_empty());
        match fs::remove_file(place.join("up.sh")) {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
        }
        engine.create(&["--handle", "good"]);
        engine.gdn(["destroy", "good"]).expect_status(0);
        engine.finish();
        Verdict::all([processes, kept, handles])
    }
}

/// A new directory with the program, and the stranger beside the directory.
fn place_in(bed: &mut Bed) -> PathBuf {
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

/// The plug-in as a careless caller starts it.
fn call(place: &Path) -> Command {
    let mut command = Command::new(place.join("program"));
    command.args(["--action", "up", "--handle", "bad"]).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// Processes of the plug-in: its own command line and the environment of its children name its place. So does the command
/// line of the server.
fn runs(place: &Path, server: u32) -> Vec<u32> {
    let place = path_text(place);
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != server)
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
