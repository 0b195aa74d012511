//! Images of every source, good and bad. Needs root, and for two tests the tools `umoci` and `skopeo`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use gdn_image_store::{Digest, Error, ImageSource};
use ground::{Ground, INDEX, Layout, MANIFEST, gzip, read, run, tar_of};
use serde_json::{Value, json};

#[path = "ground/layouts.rs"]
mod ground;

#[test]
fn a_layout_is_imported_once_and_found_again_after_a_restart() {
    let ground = Ground::new();
    let layout = ground.layout();
    layout.tag("v1", &[&tar_of(&[("a", "low"), ("b", "low")]), &tar_of(&[("a", "high")])]);
    let store = ground.open();
    let image = store.ensure(&layout.source("v1")).unwrap();
    assert_eq!((read(&image, "a"), read(&image, "b"), image.layers.len()), ("high".into(), "low".into(), 2));
    assert_eq!(image.config.command, ["/e", "c"]);
    assert_eq!(
        (image.config.env.len(), image.config.user.as_str(), image.config.working_dir.as_str()),
        (2, "7:8", "/w")
    );
    assert_eq!(store.ensure(&ImageSource::Layout(layout.0.clone(), None)).unwrap().id, image.id);
    assert_eq!(store.ensure(&ImageSource::Path(layout.0.clone())).unwrap().id, image.id);
    assert_eq!(store.unpacked_layers(), 2);
    let (id, store_mode) = (image.id, fs::metadata(ground.path("store")).unwrap().mode());
    assert_eq!(store_mode & 0o777, 0o700);
    drop((image, store));

    fs::remove_dir_all(layout.0.join("blobs")).unwrap();
    let store = ground.open();
    assert_eq!(store.ensure(&layout.source("v1")).unwrap().id, id);
    assert_eq!(store.unpacked_layers(), 0);
}

#[test]
fn a_moved_tag_and_a_replaced_file_are_imported_again() {
    let ground = Ground::new();
    let (layout, store) = (ground.layout(), ground.open());
    layout.tag("v1", &[&tar_of(&[("a", "one")])]);
    assert_eq!(read(&store.ensure(&layout.source("v1")).unwrap(), "a"), "one");
    layout.tag("v1", &[&tar_of(&[("a", "two")])]);
    assert_eq!(read(&store.ensure(&layout.source("v1")).unwrap(), "a"), "two");

    let file = ground.path("rootfs.tar");
    for content in ["one", "two"] {
        fs::write(ground.path("new"), tar_of(&[("f", content)])).unwrap();
        fs::rename(ground.path("new"), &file).unwrap();
        assert_eq!(read(&store.ensure(&ImageSource::Path(file.clone())).unwrap(), "f"), content);
    }
}

#[test]
fn eight_imports_of_one_image_at_once_unpack_each_layer_once() {
    let ground = Ground::new();
    let (layout, store) = (ground.layout(), Arc::new(ground.open()));
    layout.tag("v1", &[&tar_of(&[("a", &"x".repeat(1 << 20))]), &tar_of(&[("b", "b")])]);
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let (store, layout) = (Arc::clone(&store), layout.0.clone());
            // Different sources of the same layers, so that more than the lock of one source is at work.
            let tag = (number % 2 == 0).then(|| "v1".to_owned());
            std::thread::spawn(move || store.ensure(&ImageSource::Layout(layout, tag)).unwrap().id)
        })
        .collect();
    let ids: Vec<Digest> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(store.unpacked_layers(), 2);
    assert_eq!((ground.count("layers"), ground.count("staging")), (2, 0));
}

#[test]
fn what_a_crash_leaves_is_removed_and_what_is_damaged_is_imported_again() {
    let ground = Ground::new();
    let layout = ground.layout();
    layout.tag("v1", &[&tar_of(&[("a", "one")])]);
    ground.open().ensure(&layout.source("v1")).unwrap();
    let store_path = ground.path("store");
    fs::create_dir_all(store_path.join("staging/1-1/diff/etc")).unwrap();
    fs::create_dir_all(store_path.join("trash/1-2/x")).unwrap();
    let layer = fs::read_dir(store_path.join("layers")).unwrap().next().unwrap().unwrap().path();
    let image = fs::read_dir(store_path.join("images")).unwrap().next().unwrap().unwrap().path();
    for damage in [
        &(|| fs::remove_dir_all(&layer).unwrap()) as &dyn Fn(),
        &|| fs::write(layer.join("layer.json"), "{").unwrap(),
        &|| fs::write(layer.join("layer.json"), "").unwrap(),
        &|| fs::remove_dir_all(layer.join("diff")).unwrap(),
        &|| fs::write(&image, "{}").unwrap(),
        &|| fs::remove_file(&image).unwrap(),
    ] {
        damage();
        let store = ground.open();
        assert_eq!((ground.count("staging"), ground.count("trash")), (0, 0));
        assert_eq!(read(&store.ensure(&layout.source("v1")).unwrap(), "a"), "one");
    }
}

#[test]
fn wrong_digests_sizes_and_streams_are_refused() {
    let layer = tar_of(&[("a", "one")]);
    let packed = gzip(&layer);
    let spoil = |spoil: &dyn Fn(&Layout, &mut Value)| {
        let ground = Ground::new();
        let layout = ground.layout();
        let mut manifest = layout.manifest(&[&layer]);
        spoil(&layout, &mut manifest);
        layout.index(&[("v1", layout.document(MANIFEST, &manifest))]);
        ground.refused(&layout.source("v1"))
    };
    let replace = |content: Vec<u8>| {
        let packed = packed.clone();
        move |layout: &Layout, _: &mut Value| {
            fs::write(layout.blob_path(&Digest::of(&packed)), &content).unwrap()
        }
    };
    let other = gzip(&tar_of(&[("a", "two")]));
    assert_eq!(other.len(), packed.len());
    assert!(matches!(spoil(&replace(other)), Error::DigestMismatch { .. }));
    assert!(matches!(spoil(&replace(packed[..packed.len() - 9].to_vec())), Error::Layer { .. }));
    assert!(matches!(spoil(&replace([packed.as_slice(), b"more"].concat())), Error::Layer { .. }));
    let mut damaged = packed.clone();
    damaged[20] ^= 0xff;
    spoil(&replace(damaged));
    for size in [packed.len() + 1, 3] {
        spoil(&|_: &Layout, manifest: &mut Value| manifest["layers"][0]["size"] = json!(size));
    }
    let size =
        spoil(&|_: &Layout, manifest: &mut Value| manifest["layers"][0]["size"] = json!(packed.len() + 1));
    assert!(matches!(size, Error::SizeMismatch { .. }), "{size}");
    let config = spoil(&|_: &Layout, manifest: &mut Value| manifest["config"]["size"] = json!(1));
    assert!(matches!(config, Error::SizeMismatch { .. }), "{config}");
    let fewer = spoil(&|_: &Layout, manifest: &mut Value| manifest["layers"] = json!([]));
    assert!(matches!(fewer, Error::Document { .. }), "{fewer}");
    let diff_id = spoil(&|layout: &Layout, manifest: &mut Value| {
        let config = json!({"rootfs": {"diff_ids": [Digest::of("other").to_string()]}});
        manifest["config"] = layout.document("application/vnd.oci.image.config.v1+json", &config);
    });
    assert!(matches!(diff_id, Error::DigestMismatch { .. }), "{diff_id}");
}

#[test]
fn documents_that_can_be_read_in_two_ways_are_refused() {
    let layer = tar_of(&[("a", "one")]);
    let edits: [&dyn Fn(&mut Value); 6] = [
        &|manifest| manifest["manifests"] = json!([]),
        &|manifest| manifest["mediaType"] = json!(INDEX),
        &|manifest| manifest["layers"][0]["mediaType"] = json!("text/plain"),
        &|manifest| manifest["layers"][0]["digest"] = json!("sha256:../../../../etc/passwd"),
        &|manifest| manifest["config"] = json!(null),
        &|manifest| manifest["layers"][0]["size"] = json!(-1),
    ];
    for edit in edits {
        let ground = Ground::new();
        let layout = ground.layout();
        let mut manifest = layout.manifest(&[&layer]);
        edit(&mut manifest);
        layout.index(&[("v1", layout.document(MANIFEST, &manifest))]);
        assert!(matches!(ground.refused(&layout.source("v1")), Error::Document { .. }));
    }
    let ground = Ground::new();
    let layout = ground.layout();
    fs::write(layout.0.join("index.json"), r#"{"manifests":[],"manifests":[]}"#).unwrap();
    assert!(matches!(ground.refused(&layout.source("v1")), Error::Document { .. }));
    fs::write(layout.0.join("index.json"), vec![b' '; 5 << 20]).unwrap();
    assert!(matches!(ground.refused(&layout.source("v1")), Error::Document { .. }));
}

#[test]
fn an_index_is_resolved_for_this_host_and_not_for_ever() {
    let ground = Ground::new();
    let layout = ground.layout();
    let store = ground.open();
    let mut manifests = Vec::new();
    for (architecture, content) in [("wasm", "foreign"), ("amd64", "host"), ("arm64", "host")] {
        let mut descriptor =
            layout.document(MANIFEST, &layout.manifest(&[&tar_of(&[("a", content), (architecture, "")])]));
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        manifests.push(descriptor);
    }
    let mut nested = layout.document(INDEX, &json!({"schemaVersion": 2, "manifests": manifests}));
    layout.index(&[("v1", nested.clone()), ("v2", nested.clone())]);
    assert_eq!(read(&store.ensure(&layout.source("v1")).unwrap(), "a"), "host");
    let error = store.ensure(&layout.source("v9")).unwrap_err();
    assert!(matches!(&error, Error::NoSuchTag { tags, .. } if tags == &["v1", "v2"]), "{error}");
    for _ in 0..5 {
        nested = layout.document(INDEX, &json!({"schemaVersion": 2, "manifests": [nested]}));
    }
    layout.index(&[("deep", nested)]);
    assert!(matches!(store.ensure(&layout.source("deep")).unwrap_err(), Error::Document { .. }));
}

#[test]
fn blobs_are_regular_files_and_a_fifo_does_not_block() {
    let layer = tar_of(&[("a", "one")]);
    let digest = Digest::of(gzip(&layer));
    let spoils: [&dyn Fn(&Path); 4] = [
        &|path| run("mkfifo", &[path.to_str().unwrap()]),
        &|path| symlink("/dev/zero", path).unwrap(),
        &|path| symlink("/etc/passwd", path).unwrap(),
        &|path| fs::create_dir(path).unwrap(),
    ];
    for spoil in spoils {
        let ground = Ground::new();
        let layout = ground.layout();
        layout.tag("v1", &[&layer]);
        fs::remove_file(layout.blob_path(&digest)).unwrap();
        spoil(&layout.blob_path(&digest));
        assert!(matches!(ground.refused(&layout.source("v1")), Error::NotRegular { .. }));
    }
    let ground = Ground::new();
    let layout = ground.layout();
    layout.tag("v1", &[&layer]);
    fs::remove_file(layout.blob_path(&digest)).unwrap();
    assert!(matches!(ground.refused(&layout.source("v1")), Error::NotFound { .. }));
    assert!(matches!(ground.refused(&ImageSource::Path("/nonexistent".into())), Error::NotFound { .. }));
    assert!(matches!(ground.refused(&ImageSource::Path("/usr".into())), Error::Document { .. }));
}

#[test]
fn a_layer_that_occurs_twice_and_an_image_without_layers_can_be_stacked() {
    let ground = Ground::new();
    let (layout, store) = (ground.layout(), ground.open());
    let (one, two) = (tar_of(&[("a", "one")]), tar_of(&[("a", "two")]));
    layout.tag("v1", &[&one, &two, &one]);
    let image = store.ensure(&layout.source("v1")).unwrap();
    assert_eq!((read(&image, "a"), image.layers.len(), store.unpacked_layers()), ("one".into(), 2, 2));
    layout.tag("v2", &[]);
    assert_eq!(store.ensure(&layout.source("v2")).unwrap().layers.len(), 1);
    layout.tag("v3", &[&one, &tar_of(&[("b", "b"), (".wh..wh..opq", "")])]);
    assert_eq!(
        store.ensure(&layout.source("v3")).unwrap().layers.len(),
        1,
        "an opaque root hides what is below"
    );
}

#[test]
fn collecting_spares_what_is_held_and_what_is_shared() {
    let ground = Ground::new();
    let (layout, store) = (ground.layout(), ground.open());
    let shared = tar_of(&[("a", "shared")]);
    let first = layout.document(MANIFEST, &layout.manifest(&[&shared, &tar_of(&[("b", "1")])]));
    let second = layout.document(MANIFEST, &layout.manifest(&[&shared, &tar_of(&[("b", "2")])]));
    layout.index(&[("one", first), ("two", second)]);
    let held = store.ensure(&layout.source("one")).unwrap();
    store.ensure(&layout.source("two")).unwrap();
    assert_eq!((store.unpacked_layers(), ground.count("layers")), (3, 3));
    let collected = store.collect().unwrap();
    assert_eq!((collected.images, collected.layers), (1, 1));
    assert_eq!(read(&held, "a"), "shared");
    assert_eq!(read(&store.ensure(&layout.source("two")).unwrap(), "b"), "2");
    drop(held);
    store.collect().unwrap();
    assert_eq!(
        (ground.count("layers"), ground.count("images"), ground.count("sources"), ground.count("trash")),
        (0, 0, 0, 0)
    );
}

#[test]
fn an_archive_is_told_from_a_root_file_system_by_its_content() {
    let ground = Ground::new();
    let store = ground.open();
    let layout = ground.layout();
    layout.tag("v1", &[&tar_of(&[("a", "oci")])]);
    let oci = ground.path("oci.tar");
    run("tar", &["-C", layout.0.to_str().unwrap(), "-czf", oci.to_str().unwrap(), "."]);
    assert_eq!(read(&store.ensure(&ImageSource::Path(oci.clone())).unwrap(), "a"), "oci");
    assert_eq!(read(&store.ensure(&ImageSource::OciArchive(oci, Some("v1".into()))).unwrap(), "a"), "oci");

    let layer = tar_of(&[("a", "saved")]);
    let config = json!({"os": "linux", "rootfs": {"diff_ids": [Digest::of(&layer).to_string()]}, "config": {"Cmd": ["/x"]}});
    let manifest =
        json!([{"Config": "c.json", "RepoTags": ["repo/x:v1"], "Layers": ["l/layer.tar"]}]).to_string();
    let layer = String::from_utf8(layer).unwrap();
    let saved =
        tar_of(&[("c.json", &config.to_string()), ("manifest.json", &manifest), ("l/layer.tar", &layer)]);
    let path = ground.path("saved.tar");
    fs::write(&path, saved).unwrap();
    let image = store.ensure(&ImageSource::Path(path.clone())).unwrap();
    assert_eq!((read(&image, "a"), image.config.command.clone()), ("saved".into(), vec!["/x".to_owned()]));
    for tag in ["v1", "repo/x:v1"] {
        assert_eq!(
            store.ensure(&ImageSource::DockerArchive(path.clone(), Some(tag.into()))).unwrap().id,
            image.id
        );
    }
    store.ensure(&ImageSource::DockerArchive(path, Some("v2".into()))).unwrap_err();

    let rootfs = ground.path("rootfs.tar.gz");
    fs::write(&rootfs, gzip(&tar_of(&[("manifest.json", "[]"), ("bin/x", "x")]))).unwrap();
    assert_eq!(read(&store.ensure(&ImageSource::Path(rootfs)).unwrap(), "bin/x"), "x");
    assert_eq!(ground.count("staging"), 0);
}

#[test]
fn an_image_built_by_umoci_and_copied_by_skopeo_is_the_same_in_every_form() {
    let ground = Ground::new();
    let layout = ground.path("peer");
    let at = |tag: &str| format!("{}:{tag}", layout.display());
    run("umoci", &["init", "--layout", layout.to_str().unwrap()]);
    run("umoci", &["new", "--image", &at("base")]);
    let tree = ground.path("tree");
    fs::create_dir_all(tree.join("bin")).unwrap();
    fs::copy("/bin/busybox", tree.join("bin/busybox")).unwrap();
    fs::set_permissions(tree.join("bin/busybox"), fs::Permissions::from_mode(0o4755)).unwrap();
    symlink("busybox", tree.join("bin/sh")).unwrap();
    run("umoci", &["insert", "--image", &at("base"), tree.to_str().unwrap(), "/usr"]);
    run("umoci", &["insert", "--image", &at("base"), "--whiteout", "/usr/bin/sh"]);
    run(
        "umoci",
        &["config", "--image", &at("base"), "--config.env", "K=v", "--config.entrypoint", "/usr/bin/busybox"],
    );
    let archive = ground.path("copy.tar");
    let saved = ground.path("saved.tar");
    for (kind, path) in [("oci-archive", &archive), ("docker-archive", &saved)] {
        run(
            "skopeo",
            &[
                "--insecure-policy",
                "copy",
                &format!("oci:{}", at("base")),
                &format!("{kind}:{}:base:latest", path.display()),
            ],
        );
    }

    let store = ground.open();
    let sources = [
        ImageSource::Layout(layout, Some("base".into())),
        ImageSource::Path(archive),
        ImageSource::Path(saved),
    ];
    for source in &sources {
        let image = store.ensure(source).unwrap();
        assert_eq!(image.layers.len(), 2, "{source:?}");
        assert_eq!(
            (image.config.env.last().unwrap().as_str(), image.config.command[0].as_str()),
            ("K=v", "/usr/bin/busybox")
        );
        let top =
            rustix::fs::statat(image.layers[0].as_fd(), "usr/bin/sh", rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
                .unwrap();
        assert_eq!((top.st_mode & 0o170_000, top.st_rdev), (0o020_000, 0), "no whiteout for {source:?}");
        let busybox =
            rustix::fs::statat(image.layers[1].as_fd(), "usr/bin/busybox", rustix::fs::AtFlags::empty())
                .unwrap();
        assert_eq!(busybox.st_mode & 0o7777, 0o4755);
    }
    assert_eq!(store.unpacked_layers(), 2, "the same layers in three forms");
}
