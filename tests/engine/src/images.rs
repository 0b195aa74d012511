//! Images made of busybox: a directory, a tar, an OCI layout.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use sha2::{Digest, Sha256};

/// The static busybox that becomes every program of the images.
const BUSYBOX: &str = "/bin/busybox";

/// Users of the images: root, and one without rights.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000:alice:/home/alice:/bin/sh\n";

/// Makes a root file system in a directory that does not exist yet.
pub fn directory(target: &Path) {
    for directory in ["bin", "etc", "proc", "dev", "sys", "tmp", "root", "home/alice"] {
        fs::create_dir_all(target.join(directory)).unwrap();
    }
    fs::set_permissions(target.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::copy(BUSYBOX, target.join("bin/busybox")).expect("a static busybox is in /bin");
    let applets = Command::new(BUSYBOX).arg("--list").output().unwrap().stdout;
    for applet in String::from_utf8(applets).unwrap().lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", target.join("bin").join(applet)).unwrap();
    }
    chown(target.join("home/alice"), Some(1000), Some(1000)).unwrap();
    fs::write(target.join("etc/passwd"), PASSWD).unwrap();
    fs::write(target.join("etc/group"), "root:x:0:\nalice:x:1000:\n").unwrap();
}

/// Makes a tar of a directory's contents.
pub fn tar(directory: &Path, target: &Path) {
    fs::write(target, packed(directory)).unwrap();
}

/// Makes an OCI image layout of one layer, tagged `v1`, and tells its URI.
pub fn oci(directory: &Path, layout: &Path) -> String {
    oci_of_layers(&[directory], &["FROM_IMAGE=yes"], layout)
}

/// Makes an OCI image layout of these directories, one layer above the other, with these variables.
pub fn oci_of_layers(directories: &[&Path], env: &[&str], layout: &Path) -> String {
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let layers: Vec<Vec<u8>> = directories.iter().map(|directory| packed(directory)).collect();
    let digests: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "Cmd": ["/bin/sh", "-c", "echo the command of the image"], "Env": env },
        "rootfs": { "type": "layers", "diff_ids": digests },
    });
    let layer = |bytes: &Vec<u8>| blob(layout, "application/vnd.oci.image.layer.v1.tar", bytes);
    let layers: Vec<_> = layers.iter().map(layer).collect();
    let config = blob(layout, "application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": layers,
    });
    let mut manifest =
        blob(layout, "application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "v1" });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    format!("oci://{}:v1", layout.display())
}

/// The three forms of one root file system, as `--image` takes them.
pub fn every_form(place: &Path) -> [String; 3] {
    let rootfs = place.join("rootfs");
    directory(&rootfs);
    let archive = place.join("rootfs.tar");
    tar(&rootfs, &archive);
    let layout = oci(&rootfs, &place.join("layout"));
    [path_text(&archive), layout, format!("raw://{}", rootfs.display())]
}

/// SHA-256 as lower-case hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A path as text.
pub fn path_text(path: &Path) -> String {
    path.to_str().expect("paths of tests are UTF-8").to_owned()
}

fn packed(directory: &Path) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    // A file that was just written may look like a hole.
    archive.sparse(false);
    archive.follow_symlinks(false);
    archive.append_dir_all(".", directory).unwrap();
    archive.into_inner().unwrap()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

fn blob(layout: &Path, media_type: &str, bytes: &[u8]) -> serde_json::Value {
    let path: PathBuf = layout.join("blobs/sha256").join(sha256(bytes));
    fs::File::create(path).unwrap().write_all(bytes).unwrap();
    json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
}
