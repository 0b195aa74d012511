//! Layers that no honest writer makes, and a place to unpack them at.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use gdn_layers::{Error, Limits, Unpacked, unpack};

/// A layer being written, header by header, because no honest writer makes these.
#[derive(Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    pub(crate) fn raw(mut self, kind: u8, path: &[u8], link: &[u8], mode: u32, content: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        {
            let fields = header.as_old_mut();
            fields.name[..path.len()].copy_from_slice(path);
            fields.linkname[..link.len()].copy_from_slice(link);
            fields.linkflag = [kind];
        }
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }
    pub(crate) fn file(self, path: &str, content: &str) -> Self {
        self.raw(b'0', path.as_bytes(), b"", 0o644, content.as_bytes())
    }
    pub(crate) fn dir(self, path: &str) -> Self {
        self.raw(b'5', path.as_bytes(), b"", 0o755, b"")
    }
    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.raw(b'2', path.as_bytes(), target.as_bytes(), 0o777, b"")
    }
    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.raw(b'1', path.as_bytes(), target.as_bytes(), 0o644, b"")
    }
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let body = key.len() + value.len() + 3;
            let mut length = body + 1;
            while length.to_string().len() + body != length {
                length = length.to_string().len() + body;
            }
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.raw(b'x', b"pax", b"", 0o644, &data)
    }
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// A layer's directory with something precious beside it.
pub(crate) struct Ground(tempfile::TempDir);

impl Ground {
    pub(crate) fn new() -> Self {
        let ground = Ground(tempfile::tempdir().unwrap());
        fs::create_dir(ground.root()).unwrap();
        fs::create_dir(ground.canary()).unwrap();
        fs::write(ground.canary().join("file"), "precious").unwrap();
        ground
    }
    pub(crate) fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }
    pub(crate) fn canary(&self) -> PathBuf {
        self.0.path().join("canary")
    }
    pub(crate) fn unpack(&self, layer: &[u8]) -> Result<Unpacked, Error> {
        self.unpack_limited(layer, &Limits::default())
    }
    pub(crate) fn unpack_limited(&self, layer: &[u8], limits: &Limits) -> Result<Unpacked, Error> {
        let before = fs::metadata(self.canary()).unwrap();
        let root = fs::File::open(self.root()).unwrap();
        let result = unpack(layer, root.as_fd(), limits);
        let after = fs::metadata(self.canary()).unwrap();
        assert_eq!(
            (before.mode(), before.uid(), before.mtime_nsec()),
            (after.mode(), after.uid(), after.mtime_nsec())
        );
        let names: Vec<_> =
            fs::read_dir(self.canary()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["file"], "the canary directory changed");
        let file = fs::metadata(self.canary().join("file")).unwrap();
        assert_eq!((file.nlink(), file.mode() & 0o7777), (1, 0o644));
        assert_eq!(fs::read_to_string(self.canary().join("file")).unwrap(), "precious");
        let mut top: Vec<_> =
            fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        top.sort();
        assert_eq!(top, ["canary", "root"], "something was made beside the layer");
        result
    }
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap()
    }
}

pub(crate) fn opaque(path: &Path) -> bool {
    let mut value = [0; 8];
    rustix::fs::lgetxattr(path, "trusted.overlay.opaque", &mut value)
        .is_ok_and(|length| &value[..length] == b"y")
}

pub(crate) fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_char_device() && meta.rdev() == 0)
}
