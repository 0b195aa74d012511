//! Network plug-ins: programs of the operator, whose answers are not to be trusted, and whose names are not a client's to say.

mod callers;

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use engine_tests::host::Namespace;
use engine_tests::until;
use rustix::process::{Pid, Signal, getsid, kill_process, kill_process_group};

use self::callers::{Caller, Careless, MOST_MEMORY_KIB, Plugged, place_in, runs};
use crate::{Bed, Stage, Verdict};

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
/// Goes into a session of its own, where nobody who ends the plug-in's process group finds it, and keeps its outputs open.
const DAEMON: &str = "setsid sleep 1000 & echo $! > \"$here/daemon\"; exit 0";
/// Addresses of the container that is there before, and of the host.
const VICTIM: &str = "10.9.8.7";
const HOST: &str = "192.0.2.2";

pub(super) fn answers(stage: &mut Stage<'_>) {
    stage.case("a type with a path in it", |bed| {
        named_by_a_client(Plugged::start(bed), |_| "../stranger".into())
    });
    stage.case("a type that is a link", |bed| named_by_a_client(Plugged::start(bed), link_to_the_stranger));
    stage.case("a program that is not there", |bed| {
        let plugged = Plugged::start(bed);
        let (program, aside) = (plugged.place().join("program"), plugged.place().join("aside"));
        fs::rename(&program, &aside).unwrap();
        plugged.refuses("No such file");
        fs::rename(&aside, &program).unwrap();
        plugged.finish()
    });
    for (name, script, told) in ANSWERS {
        stage.case(name, |bed| {
            let plugged = Plugged::start(bed);
            plugged.put("up.sh", script);
            plugged.refuses(told);
            plugged.finish()
        });
    }
    stage.case("a child that leaves the process group and holds the answer open", leaves_a_daemon);
    stage.case("the address of another container", |bed| answers_an_address(bed, VICTIM));
    stage.case("an address of the host", |bed| answers_an_address(bed, HOST));
    stage.accepts(
        "a child of a plug-in that leaves its process group lives on when the call is given up, until the engine's next start \
         finds it by the mark in its environment and ends it; one that clears its environment lives for as long as it likes. \
         The program is the operator's and runs as the host's root: what is promised is that no client and no other \
         container waits for it",
    );
    stage.accepts(
        "an address in an answer is taken as it is, also where another container or the host has it: with a plug-in the \
         network is the plug-in's, two containers may have one address in two networks, and a container in the host's network \
         has the host's. To the engine it is a word that it tells clients, the container's `/etc/hosts` and the plug-in; it makes \
         no route, rule or neighbour of it, and every call says whose it is by the handle",
    );
    controls(stage);
}

fn controls(stage: &mut Stage<'_>) {
    for (name, says) in [
        (
            "a caller that runs what a client names by a path",
            (|_| "../stranger".into()) as fn(&Path) -> String,
        ),
        ("a caller that runs what a client names by a link", link_to_the_stranger),
    ] {
        stage.control(name, |bed| named_by_a_client(Careless::start(bed), says));
    }
    stage.control("a caller that keeps whatever is answered", |bed| {
        let mut careless = Careless::start(bed);
        let kib = 2 * MOST_MEMORY_KIB;
        fs::write(careless.place().join("up.sh"), format!("head -c {kib}K /dev/zero | tr '\\0' x")).unwrap();
        careless.call("program");
        careless.finish()
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
    stage.control("a caller that waits for the end of an answer", |bed| {
        let place = place_in(bed);
        fs::write(place.join("up.sh"), DAEMON).unwrap();
        let mut child = call(&place).spawn().unwrap();
        assert!(child.wait().unwrap().success());
        let mut answer = child.stdout.take().unwrap();
        rustix::io::ioctl_fionbio(&answer, true).unwrap();
        // What would block a caller that has no bound.
        let waits = matches!(answer.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
        kill_process(daemon_of(&place), Signal::KILL).unwrap();
        until("the daemon to be gone", || runs(&place, 0).is_empty());
        Verdict::held_unless(waits, || "the plug-in has ended, and its answer has not".into())
    });
    stage.control("a caller that makes a route of what is answered", |_| {
        let host = Namespace::new();
        let before = state_of(&host);
        host.must(&format!("ip route add {VICTIM} dev lo"));
        Verdict::equal(state_of(&host), before)
    });
}

fn link_to_the_stranger(place: &Path) -> String {
    symlink(place.with_file_name("stranger"), place.join("link")).unwrap();
    "link".into()
}

/// A client who wants another program to make its network, by every word that it can say.
fn named_by_a_client(mut caller: impl Caller, name: impl FnOnce(&Path) -> String) -> Verdict {
    let name = name(caller.place());
    caller.asked(&name);
    caller.finish()
}

/// The client is answered while the daemon lives, others are served meanwhile, and the next start ends it.
fn leaves_a_daemon(bed: &mut Bed) -> Verdict {
    let mut plugged = Plugged::start(bed);
    plugged.put("up.sh", DAEMON);
    plugged.refuses("did not end within");
    let daemon = daemon_of(plugged.place());
    assert!(getsid(Some(daemon)).is_ok_and(|session| session == daemon), "it has left, and nobody ended it");
    fs::remove_file(plugged.place().join("up.sh")).unwrap();
    plugged.engine.create(&["--handle", "other"]);
    plugged.engine.gdn(["exec", "other", "true"]).expect_status(0);
    plugged.engine.gdn(["destroy", "other"]).expect_status(0);
    plugged.restart();
    let lives =
        runs(plugged.place(), plugged.engine.server_pid()).contains(&daemon.as_raw_pid().unsigned_abs());
    Verdict::all([
        Verdict::held_unless(lives, || "the next start has not ended the daemon".into()),
        plugged.finish(),
    ])
}

/// Whom a plug-in has left behind.
fn daemon_of(place: &Path) -> Pid {
    let text = fs::read_to_string(place.join("daemon")).expect("the plug-in has written it down");
    text.trim().parse().ok().and_then(Pid::from_raw).expect("it is a process id")
}

/// An answer with an address that another has: it is told, and nothing is made of it that would harm who has it.
fn answers_an_address(bed: &mut Bed, address: &str) -> Verdict {
    let host = Namespace::new();
    host.must(&format!("ip addr add {HOST}/32 dev lo"));
    let plugged = Plugged::on(bed, Some(&host));
    let engine = &plugged.engine;
    let answer = |address: &str| {
        let properties = format!(r#"{{"properties":{{"garden.network.container-ip":"{address}"}}}}"#);
        plugged.put("up.sh", &format!("printf %s '{properties}'"));
    };
    plugged.put("net-in.sh", r#"printf '{"host_port":6000,"container_port":80}'"#);
    answer(VICTIM);
    engine.create(&["--handle", "victim"]);
    let of_victim = || {
        let told = engine.inspect("victim");
        let hosts = engine.gdn(["exec", "victim", "cat", "/etc/hosts"]).expect_status(0).text();
        (told["container_ip"].clone(), told["properties"].clone(), told["mapped_ports"].clone(), hosts)
    };
    let before = (state_of(&host), of_victim());
    answer(address);
    engine.create(&["--handle", "thief"]);
    engine.gdn(["net", "in", "thief", "0:80"]).expect_status(0);
    engine.gdn(["net", "out", "thief", "all"]).expect_status(0);
    let told = engine.inspect("thief")["container_ip"].clone();
    let with = (state_of(&host), of_victim());
    engine.gdn(["destroy", "thief"]).expect_status(0);
    let after = (state_of(&host), of_victim());
    let calls = fs::read_to_string(plugged.place().join("calls")).unwrap();
    let of_both: Vec<&str> = calls.lines().filter(|call| !call.ends_with(" first")).collect();
    let verdicts = [
        Verdict::equal(told, address).at("the address that is told"),
        Verdict::equal(&with, &before).at("beside the other"),
        Verdict::equal(&after, &before).at("after the other"),
        Verdict::equal(of_both, ["up victim", "up thief", "net-in thief", "net-out thief", "down thief"]),
    ];
    engine.gdn(["net", "in", "victim", "0:80"]).expect_status(0);
    engine.gdn(["destroy", "victim"]).expect_status(0);
    Verdict::all(verdicts.into_iter().chain([plugged.finish()]))
}

/// What a host's network is made of.
fn state_of(host: &Namespace) -> String {
    host.must(
        "ip addr; ip route show table all; ip -6 route show table all; ip rule; ip neigh; nft list ruleset; \
         cat /proc/sys/net/ipv4/ip_forward",
    )
}

/// The plug-in as a careless caller starts it.
fn call(place: &Path) -> Command {
    let mut command = Command::new(place.join("program"));
    command.args(["--action", "up", "--handle", "bad"]).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}
