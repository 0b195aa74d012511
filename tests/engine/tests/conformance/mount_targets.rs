//! Where mounts go that have no place in the image.

use std::fs;
use std::path::PathBuf;

use engine_tests::Engine;
use engine_tests::session::script;
use gdn_types::{BindMode, BindMount, ContainerSpec, Handle, ImageRef};

/// The engine makes them, before there is a container to do it, and what it cannot make is left to the container.
#[test]
fn places_for_mounts_are_made_for_the_containers_root() {
    let engine = Engine::start();
    let image = engine.image_with("linked", |rootfs| {
        fs::create_dir(rootfs.join("srv")).unwrap();
        std::os::unix::fs::symlink("/srv", rootfs.join("linked")).unwrap();
        std::os::unix::fs::symlink("/nowhere", rootfs.join("dangling")).unwrap();
    });
    let source = engine.scratch().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "word").unwrap();
    let bind = |from: PathBuf, target: &str| BindMount::new(from, target, BindMode::ReadOnly).unwrap();
    let binds = vec![
        bind(source.join("file"), "/opt/new/file"),
        bind(source.clone(), "/linked/a/b"),
        bind(source.join("file"), "/linked/c"),
        bind(source.clone(), "/dev/source"),
        bind(source.clone(), "/etc"),
    ];
    for privileged in [false, true] {
        let image = ImageRef::uri(&image);
        let spec =
            ContainerSpec { image, privileged, bind_mounts: binds.clone(), ..ContainerSpec::default() };
        let handle: Handle = engine.create_from(spec);
        let look = "stat -c '%n %u %g %a' /opt /opt/new /srv /srv/a && \
                    cat /opt/new/file /srv/a/b/file /srv/c /dev/source/file /etc/file";
        let said = engine.run(&handle, script(look)).expect(0).text();
        let owned = "/opt 0 0 755\n/opt/new 0 0 755\n/srv 0 0 755\n/srv/a 0 0 755\n";
        assert_eq!(said, format!("{owned}{}", "word".repeat(5)), "privileged {privileged}");
        engine.gdn(["destroy", handle.as_str()]).expect_status(0);
    }
    let spec = ContainerSpec {
        image: ImageRef::uri(&image),
        bind_mounts: vec![bind(source.join("file"), "/dangling/file")],
        ..ContainerSpec::default()
    };
    let error = engine.try_create(spec).unwrap_err().report();
    assert!(error.contains("/dangling/file"), "{error}");
    engine.finish();
}
