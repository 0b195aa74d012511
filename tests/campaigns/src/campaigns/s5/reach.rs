//! Namespaces, and reaching out of them.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Child, Command};

use engine_tests::images::{path_text, sha256};
use gdn_types::{ContainerSpec, SeccompProfile};

use crate::{Bare, Bed, Stage, Target, Verdict, probe};

const NAMESPACES: [&str; 7] = ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup"];

fn of_process(pid: u32, kind: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().to_string_lossy().into_owned()
}

/// The namespace of a process of the target.
fn seen(target: &dyn Target, kind: &str) -> String {
    target.run("", &["readlink", &format!("/proc/self/ns/{kind}")]).said().to_owned()
}

fn is_another(one: &str, other: &str) -> Verdict {
    Verdict::held_unless(one == other, || format!("both are in {one}"))
}

pub(super) fn namespaces(stage: &mut Stage<'_>) {
    let host = |kind: &str| of_process(std::process::id(), kind);
    let bed = stage.bed();
    let (one, other) = (bed.create(ContainerSpec::default()), bed.create(ContainerSpec::default()));
    for kind in NAMESPACES {
        stage.case(format!("{kind} is not the host's"), |bed| {
            is_another(&seen(&bed.inside(&one), kind), &host(kind))
        });
    }
    for kind in NAMESPACES {
        stage.case(format!("{kind} is not another container's"), |bed| {
            is_another(&seen(&bed.inside(&one), kind), &seen(&bed.inside(&other), kind))
        });
    }
    stage.case("processes are in those of the first process", |bed| {
        let init = bed.engine().init_pid(one.as_str());
        let inside = bed.inside(&one);
        Verdict::all(
            NAMESPACES.map(|kind| Verdict::equal(seen(&inside, kind), of_process(init, kind)).at(kind)),
        )
    });
    stage.case("clocks are the host's, which no container can set", |bed| {
        let same = Verdict::equal(seen(&bed.inside(&one), "time"), host("time"));
        // clock_settime, settimeofday
        let set =
            ["227", "164"].map(|call| bed.inside(&one).run("", &["probe", "call", "x86_64", call, "0", "0"]));
        Verdict::all(set.map(|set| Verdict::equal(set.said(), "errno 1")).into_iter().chain([same]))
    });
    stage.control("a runtime without namespaces", |bed| {
        is_another(&seen(&on_the_host(bed), "pid"), &host("pid"))
    });
}

/// The programs of the image, run on the host as it is.
fn on_the_host(bed: &Bed) -> Bare {
    bed.bare().with(&["mount"])
}

/// What the host has that no container may reach.
struct Outside {
    victim: Child,
    key: String,
    name: String,
    /// Numbers of the objects of System V, to be removed.
    objects: Vec<(&'static str, String)>,
    _socket: UnixListener,
}

impl Outside {
    fn make(bed: &Bed) -> Self {
        let hash = sha256(path_text(bed.engine().scratch()).as_bytes());
        let (key, name) = (format!("0x7{}", &hash[..7]), format!("gdn-campaign-{}", &hash[..12]));
        let victim = Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(format!("/dev/shm/{name}"), bed.canary().secret()).unwrap();
        // shmget and msgget, to be made and usable by everyone.
        let make = |words: &[&str]| {
            let host = Bare::new("/".as_ref());
            let program = path_text(&probe());
            let made = host.run("", &[&[program.as_str(), "call", "x86_64"], words].concat());
            made.said().strip_prefix("ok ").unwrap_or_else(|| panic!("{made}")).to_owned()
        };
        let objects =
            vec![("-m", make(&["29", &key, "4096", "0x3b6"])), ("-q", make(&["68", &key, "0x3b6"]))];
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Outside { victim, key, name, objects, _socket: UnixListener::bind_addr(&address).unwrap() }
    }

    fn pid(&self) -> String {
        self.victim.id().to_string()
    }

    fn remove(mut self) {
        self.victim.kill().unwrap();
        self.victim.wait().unwrap();
        fs::remove_file(format!("/dev/shm/{}", self.name)).unwrap();
        for (kind, number) in &self.objects {
            assert!(Command::new("ipcrm").args([kind, number.as_str()]).status().unwrap().success());
        }
    }

    /// An address that can be read in the victim: where its program begins.
    fn address(&self) -> String {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.victim.id())).unwrap();
        format!("0x{}", maps.split('-').next().unwrap())
    }
}

/// The words of a call of the probe.
fn call<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [&["probe", "call", "x86_64"], words].concat()
}

/// Each attempt: what it is, its words, and what it prints when it succeeds.
fn attempts(outside: &Outside, canary: &std::path::Path) -> Vec<(&'static str, Vec<String>, &'static str)> {
    use std::os::unix::fs::MetadataExt;
    let pid = outside.pid();
    let inode = fs::metadata(canary).unwrap().ino().to_string();
    let attempt =
        |name, words: Vec<&str>, success| (name, words.into_iter().map(str::to_owned).collect(), success);
    let script = |text: &str| vec!["sh".to_owned(), "-c".to_owned(), text.to_owned()];
    vec![
        // Signal 0 only asks.
        attempt("a signal", call(&["62", &pid, "0"]), "ok"),
        attempt("a signal to a thread", call(&["234", &pid, &pid, "0"]), "ok"),
        attempt("a descriptor of the process", call(&["434", &pid, "0"]), "ok"),
        // PTRACE_SEIZE
        attempt("tracing it", call(&["101", "0x4206", &pid, "0", "0"]), "ok"),
        attempt("its limits", call(&["302", &pid, "7", "0", "0"]), "ok"),
        attempt("its scheduling", call(&["145", &pid]), "ok"),
        attempt("its memory", vec!["probe", "read-memory", &pid, &outside.address()], "read"),
        attempt("a file by its number", vec!["probe", "open-by-handle", "/", &inode], "opened"),
        (
            "its root directory",
            script(&format!("ls /proc/{pid}/root/ >/dev/null && echo reached")),
            "reached",
        ),
        ("its namespaces", script(&format!("nsenter -t {pid} -n true && echo reached")), "reached"),
        attempt("shared memory of System V", call(&["29", &outside.key, "0", "0"]), "ok"),
        attempt("messages of System V", call(&["68", &outside.key, "0"]), "ok"),
        (
            "shared memory of POSIX",
            script(&format!("cat /dev/shm/{} >/dev/null && echo reached", outside.name)),
            "reached",
        ),
        attempt("an abstract socket", vec!["probe", "connect-abstract", &outside.name], "connected"),
    ]
}

fn fails(target: &dyn Target, words: &[String], success: &str) -> Verdict {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let seen = target.run("", &words);
    Verdict::held_unless(seen.stdout.starts_with(success), || format!("{seen}"))
}

pub(super) fn outwards(stage: &mut Stage<'_>) {
    let outside = Outside::make(stage.bed());
    let canary = stage.bed().canary().file();
    let list = attempts(&outside, &canary);
    let handle = stage.bed().create(ContainerSpec::default());
    for (name, words, success) in &list {
        stage.case(*name, |bed| fails(&bed.inside(&handle), words, success));
    }
    stage.control("a runtime without namespaces", |bed| {
        let bare = on_the_host(bed);
        let reached = list.iter().filter(|(_, words, success)| fails(&bare, words, success) != Verdict::Held);
        let reached: Vec<_> = reached.map(|(name, ..)| *name).collect();
        // Handles are not of this form in every file system of a host.
        Verdict::held_unless(reached.len() + 1 >= list.len(), || {
            format!("{} of {}: {reached:?}", reached.len(), list.len())
        })
        .at(&format!("reached {reached:?}"))
    });
    outside.remove();
}

/// Abstract sockets of a network namespace, as its `/proc/net/unix` lists them.
fn abstract_names(listing: &str) -> Vec<String> {
    let last = |line: &str| line.rsplit(' ').next().map(str::to_owned);
    listing.lines().filter_map(last).filter(|name| name.starts_with('@')).collect()
}

fn none_of_ours(listing: &str, before: &[String]) -> Verdict {
    let new: Vec<_> = abstract_names(listing).into_iter().filter(|name| !before.contains(name)).collect();
    let ours: Vec<_> = new
        .iter()
        .filter(|name| ["gdn", "garden", "keeper", "launcher"].iter().any(|word| name.contains(word)))
        .collect();
    Verdict::held_unless(!ours.is_empty(), || format!("{ours:?}"))
}

const LISTING: &str = "/proc/net/unix";

pub(super) fn abstract_sockets(stage: &mut Stage<'_>) {
    let containers = stage.attempts();
    let before = abstract_names(&fs::read_to_string(LISTING).unwrap());
    let handles: Vec<_> = (0..containers).map(|_| stage.bed().create(ContainerSpec::default())).collect();
    stage.case("on the host, with many containers", |_| {
        none_of_ours(&fs::read_to_string(LISTING).unwrap(), &before)
    });
    stage.case("in a container", |bed| {
        Verdict::equal(
            abstract_names(&bed.inside(&handles[0]).run("", &["cat", LISTING]).stdout),
            Vec::<String>::new(),
        )
    });
    stage.case("in a container with a process at work", |bed| {
        let sleeper = bed.engine().begin(["exec", handles[0].as_str(), "sleep", "1000"]);
        engine_tests::until("the process to run", || {
            !engine_tests::inside::processes_beside(bed.engine().init_pid(handles[0].as_str())).is_empty()
        });
        let names = abstract_names(&bed.inside(&handles[0]).run("", &["cat", LISTING]).stdout);
        drop(sleeper);
        Verdict::equal(names, Vec::<String>::new())
    });
    stage.case("in a privileged container", |bed| {
        let spec = ContainerSpec { privileged: true, ..ContainerSpec::default() };
        bed.in_container(spec, |inside| {
            Verdict::equal(abstract_names(&inside.run("", &["cat", LISTING]).stdout), Vec::<String>::new())
        })
    });
    stage.control("an engine that listens on such a socket", |_| {
        let name = format!("gdn-control-{}", std::process::id());
        let listening = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let verdict = none_of_ours(&fs::read_to_string(LISTING).unwrap(), &before);
        drop(listening);
        verdict
    });
}

/// Attempts from a user namespace within: each prints `escaped` when it has got what the container does not have.
const NESTED: [(&str, &str); 5] = [
    // A procfs without what is masked: its kernel log and keys, and settings that can be written.
    (
        "a procfs of its own",
        "mount -t proc none /tmp/n && { test -s /tmp/n/keys || echo h > /tmp/n/sysrq-trigger; } && echo escaped",
    ),
    (
        "a sysfs of its own",
        "mount -t sysfs none /tmp/n && test -w /tmp/n/kernel/uevent_helper && echo > /tmp/n/kernel/uevent_helper && echo escaped",
    ),
    (
        "control groups of its own",
        "mount -t cgroup -o memory none /tmp/n && echo /bin/true > /tmp/n/release_agent && echo escaped",
    ),
    (
        "settings of the kernel",
        "cat /proc/sys/kernel/core_pattern > /tmp/n/x && cat /tmp/n/x > /proc/sys/kernel/core_pattern && echo escaped",
    ),
    (
        "a device by an overlay",
        "mkdir -p /tmp/o/u /tmp/o/w && mount -t overlay -o lowerdir=/dev,upperdir=/tmp/o/u,workdir=/tmp/o/w none /tmp/n && mknod /tmp/n/mine c 1 11 && head -c 0 /tmp/n/mine && echo escaped",
    ),
];

fn gains(target: &dyn Target, unshare: &str, script: &str) -> Verdict {
    let seen = target.shell("", &format!("mkdir -p /tmp/n; {unshare} sh -c '{script}'"));
    Verdict::held_unless(seen.stdout.contains("escaped"), || format!("{seen}"))
}

pub(super) fn nested(stage: &mut Stage<'_>) {
    let unconfined = || ContainerSpec { seccomp: SeccompProfile::Unconfined, ..ContainerSpec::default() };
    for (name, spec) in [("with the filter", ContainerSpec::default()), ("without a filter", unconfined())] {
        let handle = stage.bed().create(spec);
        for (what, script) in NESTED {
            stage
                .case(format!("{name}: {what}"), |bed| gains(&bed.inside(&handle), "unshare -Urmpf", script));
        }
    }
    stage.control("a runtime that masks nothing", |bed| gains(&bed.bare().walled(), "", NESTED[3].1));
}
