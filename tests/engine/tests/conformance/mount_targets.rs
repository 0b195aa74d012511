//! Where mounts go that have no place in the image.

use std::fs;
use std::path::PathBuf;

use engine_tests::session::script;
use engine_tests::{Engine, inside};
use gdn_types::{BindMode, BindMount, ContainerSpec, Handle, ImageRef};

/// What is cached of files on the account of the engine's one container, in bytes.
fn cached(engine: &Engine) -> u64 {
    let v1 = inside::cgroups_are_v1();
    let tree = if v1 { "/sys/fs/cgroup/memory" } else { "/sys/fs/cgroup" };
    let groups = fs::read_dir(PathBuf::from(tree).join(engine.mark())).unwrap().flatten();
    let groups: Vec<_> =
        groups.filter(|entry| entry.path().is_dir() && entry.file_name() != "keepers").collect();
    let [group] = &groups[..] else { panic!("there is one container, not {groups:?}") };
    let stat = fs::read_to_string(group.path().join("memory.stat")).unwrap();
    let of = |name: &str| -> u64 {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {stat}")).parse().unwrap()
    };
    if v1 { of("cache") - of("shmem") } else { of("file") - of("shmem") }
}

/// What a new directory's entries are kept in would keep the kernel's record of the group long after the container.
#[test]
fn places_for_mounts_are_the_containers_roots_and_not_its_memory_groups() {
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
        if !privileged {
            assert_eq!(cached(&engine), 0);
        }
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
