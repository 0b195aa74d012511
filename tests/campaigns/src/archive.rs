//! Tars as no honest program writes them.

use std::io::Write;

use tar::{Builder, EntryType, Header};

/// A tar in the making. Names go in as they are: absolute, with `..`, twice.
pub struct Hostile(Builder<Vec<u8>>);

impl Default for Hostile {
    fn default() -> Self {
        Hostile(Builder::new(Vec::new()))
    }
}

impl Hostile {
    /// An empty tar.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A directory.
    #[must_use]
    pub fn dir(self, name: &str, mode: u32) -> Self {
        self.entry(EntryType::Directory, name, mode, |_| {}, b"")
    }

    /// A regular file.
    #[must_use]
    pub fn file(self, name: &str, mode: u32, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, name, mode, |_| {}, content)
    }

    /// A regular file of an owner.
    #[must_use]
    pub fn owned(self, name: &str, uid: u64, gid: u64) -> Self {
        let owner = |header: &mut Header| {
            header.set_uid(uid);
            header.set_gid(gid);
        };
        self.entry(EntryType::Regular, name, 0o644, owner, b"owned")
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, 0o777, |header| set_link(header, target), b"")
    }

    /// A hard link.
    #[must_use]
    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name, 0o644, |header| set_link(header, target), b"")
    }

    /// A fifo.
    #[must_use]
    pub fn fifo(self, name: &str) -> Self {
        self.entry(EntryType::Fifo, name, 0o644, |_| {}, b"")
    }

    /// A device node.
    #[must_use]
    pub fn device(self, kind: EntryType, name: &str, major: u32, minor: u32) -> Self {
        let numbers = |header: &mut Header| {
            header.set_device_major(major).expect("a GNU header has device numbers");
            header.set_device_minor(minor).expect("a GNU header has device numbers");
        };
        self.entry(kind, name, 0o666, numbers, b"")
    }

    /// An extended attribute of the entry that comes next.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &[u8]) -> Self {
        let key = format!("SCHILY.xattr.{name}");
        self.0.append_pax_extensions([(key.as_str(), value)]).expect("memory takes everything");
        self
    }

    /// The bytes of the whole tar.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0.into_inner().expect("memory takes everything")
    }

    /// The bytes up to the end mark and without it, cut after this many.
    #[must_use]
    pub fn cut(self, length: usize) -> Vec<u8> {
        let mut bytes = self.finish();
        bytes.truncate(length);
        bytes
    }

    fn entry(
        mut self,
        kind: EntryType,
        name: &str,
        mode: u32,
        adjust: impl FnOnce(&mut Header),
        content: &[u8],
    ) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        adjust(&mut header);
        // The library would refuse what a hostile name is for.
        let field = &mut header.as_old_mut().name;
        (&mut field[..]).write_all(name.as_bytes()).expect("names of campaigns are short");
        header.set_cksum();
        self.0.append(&header, content).expect("memory takes everything");
        self
    }
}

fn set_link(header: &mut Header, target: &str) {
    let field = &mut header.as_old_mut().linkname;
    (&mut field[..]).write_all(target.as_bytes()).expect("targets of campaigns are short");
}
