//! What cannot be done is refused by an error that names the value, and nothing is left.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use engine_tests::{Engine, images};

/// A run that fails, and what its error must name.
fn refused(engine: &Engine, options: &[&str], naming: &str) {
    for verb in [&["create"][..], &["run", "--rm"]] {
        let arguments = verb.iter().chain(options);
        engine.gdn(arguments).expect_error(naming);
        assert_eq!(engine.handles(), Vec::<String>::new(), "{options:?} left a container");
    }
}

#[test]
fn images_that_cannot_be_used_are_named() {
    let engine = Engine::start();
    let place = engine.scratch();
    let corrupt = place.join("corrupt.tar");
    fs::write(&corrupt, vec![0x5a; 4096]).unwrap();
    let cut = place.join("cut.tar");
    images::tar(&place.join("busybox"), &cut);
    let whole = fs::read(&cut).unwrap();
    fs::write(&cut, &whole[..whole.len() / 3]).unwrap();
    let layout = engine.image().trim_end_matches(":v1");
    for (image, naming) in [
        ("no-such-word".to_owned(), "no-such-word"),
        ("/no/such.tar".to_owned(), "/no/such.tar"),
        ("raw:///no/such/directory".to_owned(), "/no/such/directory"),
        ("oci:///no/such/layout:v1".to_owned(), "/no/such/layout"),
        (format!("{layout}:other"), "other"),
        ("ftp://host/x".to_owned(), "ftp"),
        ("docker://registry.invalid/x".to_owned(), "docker"),
        (images::path_text(&corrupt), "corrupt.tar"),
        (images::path_text(&cut), "cut.tar"),
    ] {
        refused(&engine, &["--image", &image], naming);
    }
    engine.finish();
}

#[test]
fn an_oci_layout_whose_layer_was_changed_is_refused() {
    let engine = Engine::start();
    let rootfs = engine.scratch().join("changed");
    images::directory(&rootfs);
    let layout = engine.scratch().join("changed-layout");
    let image = images::oci(&rootfs, &layout);
    let blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap().map(|blob| blob.unwrap().path());
    let layer = blobs.max_by_key(|blob| fs::metadata(blob).unwrap().len()).unwrap();
    let mut bytes = fs::read(&layer).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&layer, bytes).unwrap();
    refused(&engine, &["--image", &image], "sha256");
    engine.finish();
}

/// Everything in a directory, with contents and permissions.
fn contents(directory: &Path) -> Vec<(String, String)> {
    use std::os::unix::fs::MetadataExt;
    let mut seen: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            // What was put there may be a link or a device, whose reading would not end.
            let text = match metadata.is_file() {
                true => fs::read_to_string(entry.path()).unwrap(),
                false => String::new(),
            };
            (
                entry.file_name().into_string().unwrap(),
                format!("{:o} {} {text}", metadata.mode(), metadata.uid()),
            )
        })
        .collect();
    seen.sort_unstable();
    seen
}

#[test]
fn a_root_file_system_whose_directories_are_links_to_the_host_cannot_change_the_host() {
    let engine = Engine::start();
    let canary = engine.scratch().join("canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("null"), "untouched").unwrap();
    fs::write(canary.join("hosts"), "untouched").unwrap();
    let before = contents(&canary);
    for victim in ["dev", "proc", "sys", "etc", "tmp"] {
        let rootfs = engine.scratch().join(format!("rootfs-{victim}"));
        images::directory(&rootfs);
        fs::remove_dir_all(rootfs.join(victim)).unwrap();
        symlink(&canary, rootfs.join(victim)).unwrap();
        let archive = engine.scratch().join(format!("{victim}.tar"));
        images::tar(&rootfs, &archive);
        let bind = format!("{}:/{victim}/sub", engine.scratch().join("busybox").display());
        for image in [images::path_text(&archive), format!("raw://{}", rootfs.display())] {
            for options in [&[][..], &["--privileged"], &["--bind", &bind]] {
                let run = ["run", "--rm", "--image", &image].into_iter().chain(options.iter().copied());
                // It may run or be refused: the host stays as it is.
                engine.gdn(run.chain(["--", "sh", "-c", "touch /dev/x /proc/x /etc/x /tmp/x"]));
                assert_eq!(contents(&canary), before, "{victim} of {image} {options:?}");
            }
        }
    }
    engine.finish();
}

/// Conformance: A3
#[test]
fn handles_that_are_none_are_refused() {
    let engine = Engine::start();
    let long = "x".repeat(300);
    for handle in ["..", ".", "a/b", "-x", "a b", "é"] {
        let option = format!("--handle={handle}");
        refused(&engine, &[&option, "--image", engine.image()], &format!("{handle:?}"));
    }
    refused(&engine, &["--handle", &long, "--image", engine.image()], "300 bytes");
    let longest = "y".repeat(255);
    engine.create(&["--handle", &longest]);
    engine.shell(&longest, "true").expect_status(0);
    engine.gdn(["destroy", &longest]).expect_status(0);
    for verb in ["exec", "inspect", "destroy", "stop", "kill"] {
        engine.gdn([verb, "unheard-of"]).expect_error("unheard-of");
    }
    engine.finish();
}

#[test]
fn users_and_programs_that_do_not_exist_are_named() {
    let engine = Engine::start();
    let image = engine.image();
    let run = |options: &[&str], command: &[&str]| {
        let fixed = ["run", "--rm", "--image", image];
        engine.gdn(fixed.iter().chain(options).chain(&["--"]).chain(command))
    };
    run(&["--user", "nobody-here"], &["true"]).expect_status(125).expect_error("nobody-here");
    run(&["--user", "0:no-group"], &["true"]).expect_status(125).expect_error("no-group");
    run(&[], &["no-such-program"]).expect_status(127).expect_error("no-such-program");
    run(&[], &["/no/such/program"]).expect_status(127).expect_error("/no/such/program");
    run(&[], &["/etc/passwd"]).expect_status(126).expect_error("/etc/passwd");
    run(&[], &["/etc"]).expect_status(126).expect_error("/etc");
    engine.finish();
}

#[test]
fn mounts_limits_and_networks_that_cannot_be_are_named() {
    let engine = Engine::start();
    let with = |options: &[&str], naming: &str| {
        let image = ["--image", engine.image()];
        refused(&engine, &image.into_iter().chain(options.iter().copied()).collect::<Vec<_>>(), naming);
    };
    with(&["--bind", "/no/such/source:/x"], "/no/such/source");
    with(&["--bind", "relative"], "relative");
    with(&["--bind", "/etc:relative"], "relative");
    with(&["--memory", "99999999999T"], "99999999999T");
    with(&["--memory", "some"], "some");
    with(&["--memory", "1"], "memory");
    with(&["--pids", "-1"], "-1");
    with(&["--network", "elsewhere"], "elsewhere");
    with(&["--publish", "8080:80"], "8080");
    with(&["--publish", "80:udp"], "80:udp");
    with(&["--sysctl", "kernel.panic=1"], "kernel.panic");
    with(&["--sysctl", "net/../kernel/panic=1"], "kernel");
    with(&["--property", "=x"], "=x");
    engine.finish();
}
