//! What a process of the engine brings with it when it joins a container.

use std::process::Command;

use engine_tests::session::{program, script};
use gdn_types::{ContainerSpec, Handle, ImageRef, ProcessSpec};

use super::super::lab::{attempt_both, destroy, of, stream_in, stream_out, untouched};
use crate::targets::finish;
use crate::{Bed, Canary, Hostile, Images, Seen, Stage, Target, Verdict, Words};

/// The ways in.
#[derive(Clone, Copy, Debug)]
enum Way {
    Process,
    Attachment,
    Sidecar,
    Copy,
}

/// S1.01: the program that a process of the engine is, while it is inside.
pub(super) fn own_program(stage: &mut Stage<'_>) {
    let bed = stage.bed();
    let images = Images::new(&bed.engine().scratch().join("s1.01"), bed.rootfs());
    let image = images.with("again", Hostile::new().file("bin/again", 0o755, b"#!/proc/self/exe\n"));
    let attempts = stage.attempts();
    for privileged in [false, true] {
        for way in [Way::Process, Way::Attachment, Way::Sidecar, Way::Copy] {
            let kind = if privileged { "privileged" } else { "unprivileged" };
            stage.case(format!("{way:?} in a {kind} container"), |bed| {
                let program = || std::fs::read(engine_tests::binary()).unwrap();
                let before = engine_tests::images::sha256(&program());
                let handle = bed.create(ContainerSpec { privileged, ..of(&image) });
                let inside = bed.inside(&handle);
                watch(&inside, "overwrite");
                for _ in 0..attempts {
                    come_in(bed, &handle, way, &image, "again");
                }
                let seen = tell(&inside);
                destroy(bed, &handle);
                let wrote = seen.stdout.contains("OPENED") || seen.stdout.contains("WROTE");
                let after = engine_tests::images::sha256(&program());
                Verdict::all([
                    Verdict::held_unless(wrote, || seen.to_string()),
                    Verdict::equal(after, before),
                    untouched(bed),
                ])
            });
        }
    }
    stage.control("a program of the host that joins the container", |bed| {
        let decoy = bed.decoy();
        let joiner = decoy.path().join("busybox-that-joins");
        std::fs::copy("/bin/busybox", &joiner).unwrap();
        let before = std::fs::read(&joiner).unwrap();
        let handle = bed.create(ContainerSpec { privileged: true, ..of(&image) });
        let inside = bed.inside(&handle);
        watch(&inside, "overwrite");
        let pid = bed.engine().init_pid(handle.as_str());
        // It stays for a moment as what it is: a file of the host.
        let script = format!("exec nsenter -t {pid} -p '{}' sleep 1", joiner.display());
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        finish(command);
        let hit = super::races::until_hit(|| std::fs::read(&joiner).unwrap() != before);
        let seen = tell(&inside);
        destroy(bed, &handle);
        Verdict::held_unless(hit.is_some(), || format!("a program of the host was overwritten: {seen}"))
    });
}

/// S1.02: its descriptors, and its memory before it becomes a program of the image.
pub(super) fn before_exec(stage: &mut Stage<'_>) {
    let attempts = stage.attempts();
    for way in [Way::Process, Way::Attachment, Way::Sidecar, Way::Copy] {
        stage.case(format!("{way:?}"), |bed| {
            let handle = bed.create(of(""));
            let inside = bed.inside(&handle);
            watch(&inside, "spy");
            for _ in 0..attempts {
                come_in(bed, &handle, way, bed.image(), "true");
            }
            let seen = tell(&inside);
            destroy(bed, &handle);
            let caught = seen.stdout.contains("DESCRIPTOR") || seen.stdout.contains("TRACED");
            Verdict::held_unless(caught, || seen.to_string())
        });
    }
    stage.control("a process that joins with a directory of the host open", |bed| {
        let decoy = bed.decoy();
        let handle = bed.create(ContainerSpec { privileged: true, ..of("") });
        let inside = bed.inside(&handle);
        watch(&inside, "spy");
        weak_join(bed, &handle, &decoy, "sleep 1");
        let seen = tell(&inside);
        destroy(bed, &handle);
        let caught = seen.stdout.contains(decoy.path().to_str().unwrap());
        Verdict::held_unless(caught, || seen.to_string())
    });
}

/// S1.03: a working directory or a program that is a descriptor which the engine left open.
pub(super) fn left_descriptors(stage: &mut Stage<'_>) {
    let host = stage.bed().canary().path().join("directory");
    restart_with_odd_descriptors(stage.bed(), &host);
    let images = Images::new(&stage.bed().engine().scratch().join("s1.03"), stage.bed().rootfs());
    let handles = [false, true].map(|privileged| stage.bed().create(ContainerSpec { privileged, ..of("") }));
    for number in 0..64 {
        if number == 32 {
            // The second half meets the keepers after another server has taken them over.
            restart_with_odd_descriptors(stage.bed(), &host);
        }
        let link = format!("/proc/self/fd/{number}");
        stage.case(format!("the working directory {link}"), |bed| {
            let sidecar = Some(ImageRef::uri(bed.image()));
            let dirs = [link.clone(), format!("{link}/.."), format!("{link}/../../..")];
            let inside = dirs.iter().map(|dir| ProcessSpec { dir: dir.clone(), ..look_around() });
            let beside = ProcessSpec { dir: link.clone(), image: sidecar, ..look_around() };
            all_hold(bed, &handles, &inside.chain([beside]).collect::<Vec<_>>())
        });
        stage.case(format!("an image with the working directory {link}"), |bed| {
            let words = Words {
                config: serde_json::json!({ "WorkingDir": format!("{link}/..") }),
                ..Words::default()
            };
            let spec = of(&images.saying(&format!("at-{number}"), &words));
            let secret = bed.canary().secret().to_owned();
            attempt_both(bed, &spec, |inside| escaped(&inside.process(look_around()), &secret))
        });
        stage.case(format!("the program {link} and one below it"), |bed| {
            let paths = ["", "/file", "/../directory/file", "/../../bin/sh", "/../../../bin/true"];
            let tried = paths.iter().flat_map(|below| handles.iter().map(move |handle| (below, handle)));
            Verdict::all(tried.map(|(below, handle)| {
                let seen = bed.inside(handle).run("", &[&format!("{link}{below}")]);
                Verdict::held_unless(seen.status.is_some(), || format!("a program was found: {seen}"))
            }))
        });
    }
    stage.control("a process that joins with a directory of the host open", |bed| {
        let decoy = bed.decoy();
        let handle = bed.create(ContainerSpec { privileged: true, ..of("") });
        let seen = weak_join(bed, &handle, &decoy, "cd /proc/self/fd/9 && cat file ../canary/file");
        destroy(bed, &handle);
        escaped(&seen, decoy.secret())
    });
}

/// Prints what is here and around, if that is a directory of the host.
fn look_around() -> ProcessSpec {
    script(
        "/bin/cat file directory/file ../file ../canary/file 2>&1; /bin/pwd -P; /bin/ls -a . ..; /bin/ls -l /proc/self/fd",
    )
}

fn all_hold(bed: &Bed, handles: &[Handle], specs: &[ProcessSpec]) -> Verdict {
    let secret = bed.canary().secret();
    let tried = handles.iter().flat_map(|handle| {
        specs.iter().map(move |spec| escaped(&bed.inside(handle).process(spec.clone()), secret))
    });
    Verdict::all(tried)
}

fn escaped(seen: &Seen, secret: &str) -> Verdict {
    let host = ["below", "(unreachable)", "gdn-engine-test", secret];
    let out = host.iter().any(|word| seen.everything().contains(word));
    Verdict::held_unless(out, || seen.to_string())
}

/// A server that inherits twenty directories and files of the host, among them the canary's.
fn restart_with_odd_descriptors(bed: &mut Bed, host: &std::path::Path) {
    let engine = bed.engine_mut();
    engine.stop_server();
    let opened: Vec<String> = (20..40).map(|number| format!("{number}<'{}'", host.display())).collect();
    let mut command = Command::new("bash");
    command.arg("-c").arg(format!("exec {} \"$@\"", opened.join(" "))).arg("bash");
    command.arg(engine_tests::binary()).args(engine.server_arguments(&[]));
    engine.start_server_by(command);
}

/// Starts an attempt of the probe that goes on, and what it prints goes to a file.
fn watch(inside: &crate::Inside<'_>, attempt: &str) {
    inside
        .shell(
            "",
            &format!("probe {attempt} > /tmp/told 2>&1 < /dev/null & while ! [ -e /tmp/told ]; do :; done"),
        )
        .said();
}

/// Ends it and tells what it has printed. Programs that open files of procfs while it looks would be something to tell.
fn tell(inside: &crate::Inside<'_>) -> Seen {
    inside.run("", &["mkdir", "/tmp/enough"]).said();
    engine_tests::until_some("the probe to have seen enough", || {
        let told = inside.run("", &["cat", "/tmp/told"]);
        told.stdout.ends_with("DONE\n").then(|| inside.run("", &["sort", "-u", "/tmp/told"]))
    })
}

/// The engine comes into the container once.
fn come_in(bed: &Bed, handle: &Handle, way: Way, image: &str, name: &str) {
    match way {
        Way::Process => drop(bed.inside(handle).run("", &[name])),
        Way::Attachment => bed.engine().with_client(async |client| {
            let Ok(process) = client.run(handle, program(&[name])).await else { return };
            // It may be over before.
            drop(client.attach(handle, process.id(), false).await);
            let _ = client.wait(handle, process.id()).await;
        }),
        Way::Sidecar => {
            let spec = ProcessSpec { image: Some(ImageRef::uri(image)), ..program(&[name]) };
            drop(bed.inside(handle).process(spec));
        }
        Way::Copy => {
            stream_in(bed, handle, "", "/tmp", Hostile::new().file("copied", 0o644, b"x").finish()).unwrap();
            stream_out(bed, handle, "", "/tmp/copied").unwrap();
        }
    }
}

/// What a careless runtime does: joins the container with a directory of the host open as 9, and runs a script.
fn weak_join(bed: &Bed, handle: &Handle, host: &Canary, script: &str) -> Seen {
    let pid = bed.engine().init_pid(handle.as_str());
    let users = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/user")).unwrap();
    let own = if users("self") == users(&pid.to_string()) { "" } else { "-U -S 0 -G 0" };
    let mut command = Command::new("bash");
    let join = format!(
        "exec 9<'{}'; exec nsenter -t {pid} -m -p {own} /bin/sh -c '{script}'",
        host.path().display()
    );
    command.args(["-c", &join]);
    finish(command)
}
