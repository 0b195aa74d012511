//! What is written down of an environment, and who sees it.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use engine_tests::session::{program, script};
use engine_tests::{Engine, Gdn, binary, images, inside};
use gdn_types::{ContainerSpec, Environment, Handle, ImageRef, ProcessSpec, Properties};

use crate::{Bare, Bed, Inside, Seen, Stage, Target, Verdict};

const INTRUDER: &str = "intruder:x:0:0::/:/bin/sh";

/// Values that become something else when they are written into a file line by line.
const VALUES: [(&str, &str); 5] = [
    ("HOME", "/\nintruder:x:0:0::/:/bin/sh"),
    ("USER", "x\nintruder:x:0:0::/:/bin/sh"),
    ("USER", "intruder:x:0:0::/:/bin/sh"),
    ("HOME", "/a=b=c"),
    ("LOGNAME", "root\r\nintruder:x:0:0::/:/bin/sh\n"),
];

/// Whether a value arrives as it was sent, or is refused, and no file of users changes.
fn stays_a_value(inside: &Inside<'_>, name: &str, value: &str) -> Verdict {
    let before = inside.run("", &["cat", "/etc/passwd", "/etc/group"]).said().to_owned();
    let Ok(env) = Environment::parse([format!("{name}={value}")]) else { return Verdict::Held };
    let seen = inside.process(ProcessSpec {
        env,
        dir: "/".into(),
        ..program(&["sh", "-c", &format!("printf %s \"${name}\"")])
    });
    let literal = seen.status.is_none() || seen.stdout == value;
    let after = inside.run("", &["cat", "/etc/passwd", "/etc/group"]).said().to_owned();
    let became = inside.run("intruder", &["id"]);
    Verdict::held_unless(!literal || before != after || became.status.is_some(), || {
        format!("{name} came as {seen}; the files are {after}; intruder is {became}")
    })
}

fn refused(seen: &Seen, what: &str) -> Verdict {
    Verdict::held_unless(seen.status.is_some(), || format!("{what} was taken: {seen}"))
}

pub(super) fn injected_lines(stage: &mut Stage<'_>) {
    let handle = stage.bed().create(ContainerSpec::default());
    for (name, value) in VALUES {
        stage.case(format!("{name}={value:?}"), |bed| stays_a_value(&bed.inside(&handle), name, value));
    }
    stage.case("a value with a zero byte", |bed| match Environment::parse(["A=b\0C=d"]) {
        Err(_) => Verdict::Held,
        Ok(env) => {
            refused(&bed.inside(&handle).process(ProcessSpec { env, ..program(&["env"]) }), "a zero byte")
        }
    });
    stage.case("a name that is empty", |bed| match Environment::parse(["=b"]) {
        Err(_) => Verdict::Held,
        Ok(env) => {
            refused(&bed.inside(&handle).process(ProcessSpec { env, ..program(&["env"]) }), "an empty name")
        }
    });
    stage.case("a value of 1 MiB", |bed| {
        let Ok(env) = Environment::parse([format!("A={}", "x".repeat(1 << 20))]) else {
            return Verdict::Held;
        };
        refused(&bed.inside(&handle).process(ProcessSpec { env, ..program(&["true"]) }), "1 MiB")
    });
    stage.case("a value that is no UTF-8", |bed| {
        let odd = std::ffi::OsStr::from_bytes(b"A=\xff\xfe");
        let words = ["exec".as_ref(), "--env".as_ref(), odd, handle.as_str().as_ref(), "env".as_ref()];
        let seen = Gdn::start(&bed.engine().root(), words).finish();
        let literal = seen.status != 0 || seen.stdout.windows(4).any(|bytes| bytes == b"A=\xff\xfe");
        Verdict::held_unless(!literal, || format!("{:?}", seen.text()))
    });
    stage.case("a handle of two lines", |bed| {
        let created =
            bed.engine().gdn(["create", "--image", bed.image(), "--handle", "a\nintruder:x:0:0::/:/bin/sh"]);
        Verdict::held_unless(created.status == 0, || "the handle was taken".into())
    });
    stage.control("a runtime that writes the home directory into the file of users", |bed| {
        let rootfs = bed.engine().scratch().join("written");
        images::directory(&rootfs);
        let users = fs::read_to_string(rootfs.join("etc/passwd")).unwrap();
        let written = format!("{users}new:x:5:5::{}:/bin/sh\n", VALUES[0].1);
        fs::write(rootfs.join("etc/passwd"), written).unwrap();
        let seen = Bare::new(&rootfs).run("", &["grep", "^intruder:", "/etc/passwd"]);
        Verdict::held_unless(seen.said().starts_with(INTRUDER), || format!("a new user: {seen}"))
    });
}

/// What is secret: where it is given, and a word that is found again.
const SECRETS: [(&str, &str); 8] = [
    ("the container's environment", "marker-aa17"),
    ("a process's environment", "marker-bb28"),
    ("a process's arguments", "marker-cc39"),
    ("a property", "marker-dd40"),
    ("standard input", "marker-ee51"),
    ("the user name of a registry", "marker-ff62"),
    ("the password of a registry", "marker-gg73"),
    ("the server's environment", "marker-hh84"),
];

/// An engine that was given every secret, with a container and one that must not see them.
struct Told {
    engine: Engine,
    told: Handle,
    other: Handle,
    /// The processes that were given secrets still run.
    _runs: Vec<Gdn>,
}

impl Told {
    fn start() -> Self {
        let mut engine = Engine::new();
        let mut command = std::process::Command::new(binary());
        command
            .args(engine.server_arguments(&["--log-level", "debug"]))
            .env("GDN_CAMPAIGN_SECRET", SECRETS[7].1);
        engine.start_server_by(command);
        let env = Environment::parse([format!("SECRET={}", SECRETS[0].1)]).unwrap();
        let properties = Properties::from_pairs([("secret", SECRETS[3].1)]).unwrap();
        let told = engine.create_from(ContainerSpec { env, properties, ..ContainerSpec::default() });
        let other = engine.create_from(ContainerSpec::default());
        let sleep = [
            "exec",
            "--env",
            &format!("SECRET={}", SECRETS[1].1),
            told.as_str(),
            "sh",
            "-c",
            "sleep 1000; true",
            SECRETS[2].1,
        ];
        let runs = vec![engine.begin(sleep)];
        let mut cat = Gdn::start_with_input(
            &engine.root(),
            ["exec", "-i", told.as_str(), "cat"],
            std::process::Stdio::piped(),
        );
        std::io::Write::write_all(&mut cat.take_stdin(), SECRETS[4].1.as_bytes()).unwrap();
        cat.finish();
        let init = engine.init_pid(told.as_str());
        engine_tests::until("the process with secrets to run", || !inside::processes_beside(init).is_empty());
        // Whether it succeeds or is refused: neither may repeat the password.
        let image = ImageRef {
            username: SECRETS[5].1.into(),
            password: SECRETS[6].1.into(),
            ..ImageRef::uri("docker://127.0.0.1:1/none")
        };
        let refused = engine.try_create(ContainerSpec { image, ..ContainerSpec::default() });
        let report = refused.expect_err("there is no registry").report();
        assert!(!report.contains(SECRETS[6].1), "the error repeats the password: {report}");
        Told { engine, told, other, _runs: runs }
    }

    fn finish(self) {
        let Told { engine, _runs, .. } = self;
        drop(_runs);
        engine.finish();
    }
}

fn kept_from(text: &str, secret: &str) -> Verdict {
    let line = text.lines().find(|line| line.contains(secret));
    Verdict::held_unless(line.is_some(), || line.unwrap_or_default().chars().take(300).collect())
}

/// Everything that a process of a container sees of the others.
fn seen_by(target: &dyn Target) -> String {
    target
        .shell(
            "",
            "env; cat /proc/*/environ /proc/*/cmdline /proc/self/mountinfo 2>/dev/null | tr '\\0' '\\n'",
        )
        .stdout
}

/// The content of all files below a directory.
fn files(directory: &Path) -> String {
    let mut command = std::process::Command::new("grep");
    let found = command.args(["-r", "-a", "-h", "marker-"]).arg(directory).output().unwrap();
    String::from_utf8_lossy(&found.stdout).into_owned()
}

fn command_lines(engine: &Engine) -> String {
    let read = |pid: u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let own = inside::processes_in_cgroups(&engine.mark()).into_iter().chain([engine.server_pid()]).map(read);
    own.map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " ") + "\n").collect()
}

pub(super) fn secrets(stage: &mut Stage<'_>) {
    let told = Told::start();
    let log = told.engine.log();
    let seen = seen_by(&Inside::new(&told.engine, &told.other));
    for (name, secret) in SECRETS {
        stage.case(format!("{name} in the server's log"), |_| kept_from(&log, secret));
        stage.case(format!("{name} in another container"), |_| kept_from(&seen, secret));
    }
    stage.case("the password in a file of the engine", |_| {
        kept_from(&files(&told.engine.root()), SECRETS[6].1)
    });
    stage.case("the environment in a command line of the host", |_| {
        let lines = command_lines(&told.engine);
        Verdict::all([kept_from(&lines, SECRETS[0].1), kept_from(&lines, SECRETS[1].1)])
    });
    stage.case("the server's environment in a container", |_| {
        kept_from(&seen_by(&Inside::new(&told.engine, &told.told)), SECRETS[7].1)
    });
    stage.case("the server's environment in the first process", |_| {
        let init = told.engine.init_pid(told.told.as_str());
        let bytes = fs::read(format!("/proc/{init}/environ")).unwrap();
        kept_from(&String::from_utf8_lossy(&bytes), SECRETS[7].1)
    });
    told.finish();
    stage.control("a runtime that hands its environment on", |bed| kept_in_hands(bed));
    stage.control("a log that repeats what was asked", |_| {
        kept_from(&format!("create with {:?}", script(SECRETS[2].1)), SECRETS[2].1)
    });
}

fn kept_in_hands(bed: &Bed) -> Verdict {
    let bare = bed.bare().with(&["mount", "pid"]).inheriting("GDN_CAMPAIGN_SECRET", SECRETS[7].1);
    kept_from(&seen_by(&bare), SECRETS[7].1)
}
