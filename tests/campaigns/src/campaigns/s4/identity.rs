//! What a process is given, and what it sees of the first one.

use std::collections::BTreeMap;
use std::fs;

use engine_tests::images::path_text;
use gdn_types::ContainerSpec;

use crate::{Bed, Canary, Stage, Target, Verdict, probe};

/// What a fresh process has, whoever started the server.
const FRESH: [(&str, &str); 12] = [
    ("oom_score_adj", "0"),
    ("nice", "0"),
    ("personality", "0"),
    ("umask", "022"),
    ("dumpable", "1"),
    ("parent_death", "0"),
    ("blocked", "0000000000000000"),
    ("ignored", "0"),
    ("policy", "0"),
    ("terminal", "false"),
    ("descriptors", ""),
    // Resource limits are the operator's way to limit all processes, as with Garden: those of the server.
    ("file_size", "1073741824"),
];

/// What a process of the target has.
fn identity(target: &dyn Target) -> BTreeMap<String, String> {
    let seen = target.run("", &["probe", "identity"]);
    let words =
        |line: &str| line.split_once(' ').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    seen.said().lines().map(|line| words(line).unwrap_or((line.trim().to_owned(), String::new()))).collect()
}

pub(super) fn inherited(stage: &mut Stage<'_>) {
    stage.bed().engine_mut().stop_server();
    let mut command = std::process::Command::new(probe());
    command.arg("odd").arg(engine_tests::binary()).args(stage.bed().engine().server_arguments(&[]));
    stage.bed().engine_mut().start_server_by(command);
    let seen = stage.bed().in_container(ContainerSpec::default(), |inside| identity(inside));
    for (name, value) in FRESH {
        stage.case(name, |_| Verdict::equal(seen.get(name).map(String::as_str), Some(value)));
    }
    stage.bed().engine_mut().stop_server();
    stage.bed().engine_mut().start_server(&[]);
    stage.control("a runtime that resets nothing", |bed| {
        let seen = identity(&bed.bare().with(&["mount"]).started_by(&["odd"]));
        let odd = FRESH.iter().filter(|(name, value)| seen.get(*name).map(String::as_str) != Some(value));
        let odd: Vec<_> = odd.map(|(name, _)| *name).collect();
        // The terminal, the death signal of the parent (which the runtime sets itself) and the dump flag (which every exec
        // sets) are not among what is made odd.
        Verdict::held_unless(odd.len() >= 8, || format!("inherited {odd:?}"))
    });
}

/// Words that only the host has: paths of the engine.
fn host_words(bed: &Bed) -> [String; 2] {
    [path_text(bed.engine().scratch()), "GDN_BIN".to_owned()]
}

/// Whether what a script prints has no word of the host.
fn tells_nothing(target: &dyn Target, script: &str, words: &[String]) -> Verdict {
    let seen = target.shell("", script);
    let everything = seen.everything().replace('\0', "\n");
    let word = words.iter().find(|word| everything.contains(*word));
    Verdict::held_unless(word.is_some(), || {
        format!("{word:?} in {}", everything.chars().take(400).collect::<String>())
    })
}

/// Whether the root directory of a process leads to a file of the host.
fn leads_out(target: &dyn Target, pid: u32, canary: &Canary) -> Verdict {
    let seen = target.run("", &["cat", &format!("/proc/{pid}/root{}", path_text(&canary.file()))]);
    Verdict::held_unless(seen.everything().contains(canary.secret()), || format!("{seen}"))
}

pub(super) fn first_process(stage: &mut Stage<'_>) {
    let handle = stage.bed().create(ContainerSpec::default());
    let scripts = [
        ("its environment", "cat /proc/1/environ"),
        ("its working directory and program", "readlink /proc/1/cwd /proc/1/exe; ls /proc/1/cwd/"),
        ("its descriptors", "ls -l /proc/1/fd /proc/1/map_files"),
        ("its memory map and mounts", "cat /proc/1/maps /proc/1/mountinfo /proc/1/cmdline"),
    ];
    for (name, script) in scripts {
        stage.case(name, |bed| tells_nothing(&bed.inside(&handle), script, &host_words(bed)));
    }
    stage.case("its root directory", |bed| leads_out(&bed.inside(&handle), 1, bed.canary()));
    stage.case("a user reads nothing of it", |bed| {
        let script =
            "cat /proc/1/environ; cat /proc/1/mem; cat /proc/1/maps; ls /proc/1/fd; ls /proc/1/root/";
        let seen = bed.inside(&handle).shell("alice", script);
        Verdict::held_unless(!seen.stdout.is_empty(), || format!("{seen}"))
    });
    stage.case("its program cannot be written", |bed| {
        let init = bed.engine().init_pid(handle.as_str());
        let program = format!("/proc/{init}/exe");
        let before = fs::read(&program).unwrap();
        let seen = bed.inside(&handle).shell("", "exec 3>>/proc/1/exe && echo opened && echo x >&3");
        let same = fs::read(&program).unwrap() == before;
        Verdict::held_unless(seen.stdout.contains("opened") || !same, || format!("{seen}"))
    });
    stage.case("a program that is a link to it cannot write it", |bed| {
        // The container's entry point is the running program of whoever starts it (CVE-2019-5736).
        let inside = bed.inside(&handle);
        inside.shell("", "ln -s /proc/self/exe /bin/myself").said();
        let seen = inside.run("", &["/bin/myself"]);
        let ran = seen.everything();
        Verdict::held_unless(ran.contains("gdn") && seen.status == Some(0), || format!("{seen}"))
    });
    stage.control("a runtime that shows the host's processes", |bed| {
        let decoy = bed.decoy();
        leads_out(&bed.bare().with(&["mount"]), std::process::id(), &decoy)
    });
}
