//! S1.13: the files that engines show in every container, where the image has something else.

use std::fs;
use std::process::Command;

use super::super::lab::{attempt, attempt_both, bind, marked, of, with_binds};
use crate::{Hostile, Images, Inside, Stage, Target, Verdict};

const FILES: [&str; 3] = ["etc/hosts", "etc/resolv.conf", "etc/hostname"];

/// They come as mounts: the networker's way and the client's are the same.
pub(super) fn shown(stage: &mut Stage<'_>) {
    let bed = stage.bed();
    let images = Images::new(&bed.engine().scratch().join("s1.13"), bed.rootfs());
    let canary = bed.canary().path().display().to_string();
    let source = marked(bed, "s1.13-source").join("marker");
    for (number, name) in FILES.into_iter().enumerate() {
        let shapes: [(&str, Hostile); 5] = [
            ("a link to a file of the host", Hostile::new().link(name, &format!("{canary}/file"))),
            ("a link upwards", Hostile::new().link(name, &format!("../../../../../../..{canary}/file"))),
            ("a dangling link", Hostile::new().link(name, &format!("{canary}/no-such"))),
            ("a fifo", Hostile::new().fifo(name)),
            ("a directory", Hostile::new().dir(name, 0o755)),
        ];
        for (index, (shape, top)) in shapes.into_iter().enumerate() {
            stage.case(format!("/{name} is {shape}"), |bed| {
                let spec = of(&images.with(&format!("shape-{number}-{index}"), top));
                let spec = with_binds(spec, vec![bind(&source, &format!("/{name}"))]);
                attempt_both(bed, &spec, |inside| written_inside(inside, name))
            });
        }
        stage.case(format!("/{name} cannot be changed"), |bed| {
            let root = images.directory(&format!("immutable-{number}"));
            fs::create_dir_all(root.join("proc")).unwrap();
            fs::create_dir_all(root.join("sys")).unwrap();
            fs::create_dir_all(root.join("dev")).unwrap();
            fs::write(root.join(name), "of the image").unwrap();
            let file = root.join(name);
            let attribute =
                |flag| assert!(Command::new("chattr").arg(flag).arg(&file).status().unwrap().success());
            attribute("+i");
            let spec = with_binds(
                of(&format!("raw://{}", root.display())),
                vec![bind(&source, &format!("/{name}"))],
            );
            let verdict = attempt(bed, spec, |inside| written_inside(inside, name));
            attribute("-i");
            Verdict::all([verdict, Verdict::equal(fs::read_to_string(&file).unwrap(), "of the image")])
        });
    }
    stage.control("a file written by its path", |bed| {
        let (decoy, root) = (bed.decoy(), marked(bed, "s1.13-control"));
        fs::create_dir(root.join("etc")).unwrap();
        std::os::unix::fs::symlink(decoy.file(), root.join(FILES[0])).unwrap();
        fs::write(root.join(FILES[0]), "127.0.0.1 localhost\n").unwrap();
        Verdict::held_unless(!decoy.changes().is_empty(), || decoy.changes().join("; "))
    });
}

/// What the container writes there goes to the source of the mount, if anywhere.
fn written_inside(inside: &Inside<'_>, name: &str) -> Verdict {
    inside.shell("", &format!("echo written >> /{name}"));
    Verdict::Held
}
