//! The volumizer on real overlay mounts. Needs root and a kernel with id-mapped mounts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gdn_traits::{Volume, VolumeId, VolumeRequest, Volumizer};
use gdn_types::{ContainerId, DiskLimits, EngineId, ErrorKind, HostIds, ImageRef, Result};
use rustix::fs::{AtFlags, Mode, OFlags, statat};
use volumizer::{BuiltinImage, IdMaps, ImageVolumizer, RunConfig, VolumizerConfig};

const ROOT: u32 = 4_294_967_294;

/// A user namespace with the map that unprivileged containers have; its process ends with it.
struct UserNamespace(Child);

impl UserNamespace {
    fn new() -> Self {
        UserNamespace::with(&format!("0 {ROOT} 1\n1 1 {}\n", ROOT - 1))
    }
    fn with(map: &str) -> Self {
        let child = Command::new("unshare").args(["--user", "sleep", "60"]).spawn().unwrap();
        let path = format!("/proc/{}", child.id());
        let own = fs::read_link("/proc/self/ns/user").unwrap();
        wait_until("the child to unshare", || {
            fs::read_link(format!("{path}/ns/user")).is_ok_and(|ns| ns != own)
        });
        fs::write(format!("{path}/uid_map"), map).unwrap();
        fs::write(format!("{path}/gid_map"), map).unwrap();
        UserNamespace(child)
    }
    fn fd(&self) -> OwnedFd {
        fs::File::open(format!("/proc/{}/ns/user", self.0.id())).unwrap().into()
    }
}

impl Drop for UserNamespace {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Makes maps of containers' own.
#[derive(Debug)]
struct Unshared;

#[async_trait::async_trait]
impl IdMaps for Unshared {
    async fn user_namespace(&self, ids: HostIds) -> Result<OwnedFd> {
        Ok(UserNamespace::with(&format!("0 {} {}\n", ids.first(), ids.count())).fd())
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

struct Ground {
    directory: tempfile::TempDir,
    namespace: UserNamespace,
}

impl Ground {
    fn new() -> Self {
        Ground { directory: tempfile::tempdir().unwrap(), namespace: UserNamespace::new() }
    }
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
    fn open(&self) -> ImageVolumizer {
        ImageVolumizer::open(VolumizerConfig {
            root: self.path("state"),
            engine: EngineId::from_bits(7),
            idmap: self.namespace.fd(),
            container_root_uid: ROOT,
            container_root_gid: ROOT,
            own_idmaps: Arc::new(Unshared),
            builtin: vec![BuiltinImage {
                name: "hello".to_owned(),
                files: vec![("bin/hello".to_owned(), 0o755, b"#!/bin/sh".to_vec())],
                config: RunConfig { command: vec!["/bin/hello".to_owned()], ..RunConfig::default() },
            }],
        })
        .unwrap()
    }
    /// A root file system with busybox, a file of user 1000 and one of root.
    fn rootfs(&self) -> PathBuf {
        let path = self.path("rootfs.tar");
        let mut builder = tar::Builder::new(fs::File::create(&path).unwrap());
        let mut add = |name: &str, mode: u32, uid: u64, content: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_mode(mode);
            header.set_uid(uid);
            header.set_gid(uid);
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, content).unwrap();
        };
        add("bin/busybox", 0o4755, 0, &fs::read("/bin/busybox").unwrap());
        add("home/file", 0o600, 1000, b"lower");
        builder.into_inner().unwrap();
        path
    }
    fn is_empty(&self, name: &str) -> bool {
        fs::read_dir(self.path("state").join(name)).unwrap().next().is_none()
    }
}

fn request(uri: impl Into<String>) -> VolumeRequest {
    VolumeRequest { image: ImageRef::uri(uri), privileged: false, ids: None, limits: DiskLimits::default() }
}

fn id(bits: u64) -> VolumeId {
    ContainerId::from_bits(bits).into()
}

fn owner(volume: &Volume, path: &str) -> (u32, u32) {
    let stat = statat(&volume.rootfs, path, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    (stat.st_uid, stat.st_gid)
}

fn write(volume: &Volume, path: &str, content: &[u8]) {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC;
    let file = rustix::fs::openat(&volume.rootfs, path, flags, Mode::from_raw_mode(0o644)).unwrap();
    assert_eq!(rustix::io::write(&file, content).unwrap(), content.len());
}

fn read(volume: &Volume, path: &str) -> String {
    let file = rustix::fs::openat(&volume.rootfs, path, OFlags::RDONLY, Mode::empty()).unwrap();
    std::io::read_to_string(fs::File::from(file)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_promises_what_every_volumizer_does() {
    let ground = Ground::new();
    let volumizer = ground.open();
    let missing = ImageRef::uri(ground.path("no-such.tar").display().to_string());
    let image = ImageRef::uri(ground.rootfs().display().to_string());
    gdn_testkit::conformance::volumizer(&volumizer, image, missing).await;
    volumizer.close().await.unwrap();
    assert!(ground.is_empty("volumes") && ground.is_empty("trash"));
}

#[tokio::test]
async fn both_kinds_of_containers_share_one_copy_of_an_image_with_the_right_owners() {
    let ground = Ground::new();
    let volumizer = ground.open();
    let uri = ground.rootfs().display().to_string();
    let plain = volumizer.create(&id(1), &request(&uri)).await.unwrap();
    let privileged =
        volumizer.create(&id(2), &VolumeRequest { privileged: true, ..request(&uri) }).await.unwrap();

    assert_eq!(owner(&plain, "bin/busybox"), (ROOT, ROOT));
    assert_eq!(owner(&plain, "home/file"), (1000, 1000));
    assert_eq!(owner(&plain, "."), (ROOT, ROOT));
    assert_eq!(statat(&plain.rootfs, ".", AtFlags::empty()).unwrap().st_mode & 0o7777, 0o755);
    assert_eq!(statat(&plain.rootfs, "bin/busybox", AtFlags::empty()).unwrap().st_mode & 0o7777, 0o4755);
    assert_eq!(owner(&privileged, "bin/busybox"), (0, 0));
    assert_eq!(owner(&privileged, "."), (0, 0));
    assert_eq!(fs::read_dir(ground.path("state/images/layers")).unwrap().count(), 1);

    write(&plain, "home/file", b"changed");
    assert_eq!(
        (read(&plain, "home/file"), read(&privileged, "home/file")),
        ("changed".into(), "lower".into())
    );
    assert_eq!(owner(&plain, "home/file"), (1000, 1000), "copying up changed the owner");
    let stat = volumizer.metrics(&id(1)).await.unwrap();
    assert!(stat.exclusive_bytes > 0 && stat.exclusive_bytes < 64 << 10, "{stat:?}");
    assert!(stat.total_bytes - stat.exclusive_bytes > 500_000, "{stat:?}");
}

#[tokio::test]
async fn a_container_with_host_ids_of_its_own_owns_its_copy_by_them() {
    let ground = Ground::new();
    let volumizer = ground.open();
    let uri = ground.rootfs().display().to_string();
    let own =
        |first, count| VolumeRequest { ids: Some(HostIds::new(first, count).unwrap()), ..request(&uri) };
    let shared = volumizer.create(&id(1), &request(&uri)).await.unwrap();
    let one = volumizer.create(&id(2), &own(100_000, 65_536)).await.unwrap();
    let other = volumizer.create(&id(3), &own(200_000, 65_536)).await.unwrap();
    for (volume, root, user) in [(&shared, ROOT, 1000), (&one, 100_000, 101_000), (&other, 200_000, 201_000)]
    {
        assert_eq!(owner(volume, "."), (root, root));
        assert_eq!(owner(volume, "bin/busybox"), (root, root));
        assert_eq!(owner(volume, "home/file"), (user, user));
    }
    write(&one, "home/file", b"changed");
    assert_eq!(owner(&one, "home/file"), (101_000, 101_000), "copying up changed the owner");
    assert_eq!(read(&other, "home/file"), "lower");
    drop(one);
    let again = volumizer.mount(&id(2), &own(100_000, 65_536)).await.unwrap();
    assert_eq!(
        (owner(&again, "home/file"), read(&again, "home/file")),
        ((101_000, 101_000), "changed".into())
    );

    // Whom the container does not have owns nothing of it that could be changed.
    let few = volumizer.create(&id(4), &own(300_000, 1000)).await.unwrap();
    assert_eq!(
        (owner(&few, "bin/busybox"), owner(&few, "home/file")),
        ((300_000, 300_000), (65_534, 65_534))
    );
}

#[tokio::test]
async fn a_destroyed_volume_leaves_nothing_and_destroying_is_idempotent() {
    let ground = Ground::new();
    let volumizer = ground.open();
    let volume = volumizer.create(&id(1), &request("hello")).await.unwrap();
    assert_eq!(volume.config.command, ["/bin/hello"]);
    assert_eq!(read(&volume, "bin/hello"), "#!/bin/sh");
    write(&volume, "new", b"x");
    drop(volume);
    volumizer.destroy(&id(1)).await.unwrap();
    volumizer.destroy(&id(1)).await.unwrap();
    volumizer.destroy(&id(9)).await.unwrap();
    assert!(ground.is_empty("volumes"));
    wait_until("the trash to be emptied", || ground.is_empty("trash"));
}

#[tokio::test]
async fn unused_images_are_collected_and_those_of_the_program_stay() {
    let ground = Ground::new();
    let volumizer = ground.open();
    let layers = || fs::read_dir(ground.path("state/images/layers")).unwrap().count();
    for (number, uri) in [(1, ground.rootfs().display().to_string()), (2, "hello".into())] {
        volumizer.create(&id(number), &request(&uri)).await.unwrap();
    }
    volumizer.collect_garbage().await.unwrap();
    assert_eq!(layers(), 2, "an image in use was collected");
    volumizer.destroy(&id(1)).await.unwrap();
    volumizer.destroy(&id(2)).await.unwrap();
    volumizer.collect_garbage().await.unwrap();
    assert_eq!(layers(), 1, "the image of the program stays, the other goes");
    let volume = volumizer.create(&id(3), &request("builtin:hello")).await.unwrap();
    assert_eq!(read(&volume, "bin/hello"), "#!/bin/sh");
}

#[tokio::test]
async fn a_volume_is_mounted_again_after_a_restart_with_what_was_written() {
    let ground = Ground::new();
    let uri = ground.rootfs().display().to_string();
    let volume = ground.open();
    let made = volume.create(&id(1), &request(&uri)).await.unwrap();
    write(&made, "home/mine", b"kept");
    volume.create(&id(2), &request(&uri)).await.unwrap();
    drop((made, volume));

    let volumizer = ground.open();
    volumizer.restore(&[id(1).container]).await.unwrap();
    let names: Vec<_> =
        fs::read_dir(ground.path("state/volumes")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [id(1).container.as_str()], "the unknown volume is still there");
    // The image's source is gone, but the volume knows what it is made of.
    fs::remove_file(&uri).unwrap();
    volumizer.collect_garbage().await.unwrap();
    let again = volumizer.mount(&id(1), &request(&uri)).await.unwrap();
    assert_eq!((read(&again, "home/mine"), read(&again, "home/file")), ("kept".into(), "lower".into()));
    assert_eq!(owner(&again, "."), (ROOT, ROOT));
    drop(again);

    // A loss of power may take the directories of a volume; they are made again.
    fs::remove_dir_all(ground.path("state/volumes").join(id(1).container.as_str()).join("upper")).unwrap();
    let again = volumizer.mount(&id(1), &request(&uri)).await.unwrap();
    assert_eq!(owner(&again, "."), (ROOT, ROOT));
}

#[tokio::test]
async fn a_raw_directory_is_used_in_place_and_never_removed() {
    let ground = Ground::new();
    let volumizer = ground.open();
    let raw = ground.path("raw");
    fs::create_dir(&raw).unwrap();
    fs::write(raw.join("file"), "raw").unwrap();
    let uri = format!("raw://{}", raw.display());
    let volume = volumizer.create(&id(1), &request(&uri)).await.unwrap();
    write(&volume, "new", b"x");
    assert_eq!((read(&volume, "file"), owner(&volume, "file")), ("raw".into(), (0, 0)));
    drop(volume);
    volumizer.destroy(&id(1)).await.unwrap();
    wait_until("the trash to be emptied", || ground.is_empty("trash"));
    assert!(raw.join("file").exists() && raw.join("new").exists());

    for (path, kind) in
        [("/nonexistent/dir", ErrorKind::ImageNotFound), ("/bin/busybox", ErrorKind::ImageInvalid)]
    {
        let error = volumizer.create(&id(2), &request(format!("raw://{path}"))).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.message().contains(path), "{}", error.message());
    }
}

#[tokio::test]
async fn requests_that_cannot_be_met_have_the_kind_a_client_can_act_on() {
    let ground = Ground::new();
    let volumizer = ground.open();
    let broken = ground.path("broken.tar");
    fs::write(&broken, "this is no tar").unwrap();
    let broken = broken.display().to_string();
    let cases = [
        ("/nonexistent.tar", ErrorKind::ImageNotFound),
        ("builtin:unknown", ErrorKind::ImageNotFound),
        ("oci:///nonexistent:latest", ErrorKind::ImageNotFound),
        ("docker:///busybox", ErrorKind::Unimplemented),
        ("ftp://x/y", ErrorKind::InvalidArgument),
        (&broken, ErrorKind::ImageInvalid),
    ];
    for (uri, kind) in cases {
        let error = volumizer.create(&id(1), &request(uri)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{uri}: {}", error.message());
        assert!(error.message().contains(uri), "{}", error.message());
    }
    let limits = DiskLimits { bytes: 1 << 20, ..DiskLimits::default() };
    let error = volumizer.create(&id(1), &VolumeRequest { limits, ..request("hello") }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unimplemented);
    assert!(error.message().contains("1048576"), "{}", error.message());
    assert!(volumizer.capacity().await.unwrap().0 > 0);
}

#[tokio::test]
async fn nothing_is_mounted_in_the_hosts_tree() {
    let ground = Ground::new();
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let volumizer = ground.open();
    let volume = volumizer.create(&id(1), &request("hello")).await.unwrap();
    assert!(fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count() <= before);
    let state = fs::metadata(ground.path("state/images")).unwrap();
    assert_eq!((state.mode() & 0o777, state.uid()), (0o700, 0));
    assert!(Path::new("/proc/self/fd").exists() && volume.rootfs.as_fd().try_clone_to_owned().is_ok());
}
