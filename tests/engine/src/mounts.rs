//! Files of the host for containers to see: directories, and file systems that a test mounts in them.
//!
//! Whatever is mounted here is unmounted when the test ends, also when it fails. Make it before the engine, so that it goes
//! after it.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A place of the host, and what is mounted below it.
pub struct Mounts {
    mounted: Vec<PathBuf>,
    place: TempDir,
}

impl Mounts {
    /// An empty place.
    pub fn new() -> Self {
        let place = tempfile::Builder::new().prefix("gdn-engine-mounts-").tempdir().unwrap();
        // Who may enter what a test makes is that test's to say.
        fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
        Mounts { mounted: Vec::new(), place }
    }

    /// A path below the place.
    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// A directory of root's with these rights, and in it a `file` that says the directory's name.
    pub fn directory(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        fill(&path, name, mode);
        path
    }

    /// A file of root's with these rights that says its name.
    pub fn file(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, name).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    /// A directory like those of [`Mounts::directory`] that is the root of a file system in memory; the mount has these
    /// options.
    pub fn tmpfs(&mut self, name: &str, mode: u32, options: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        self.mount(["-t", "tmpfs", "gdn-engine-mounts"].map(OsStr::new), &path);
        fill(&path, name, mode);
        // The mount's own, not the file system's: others may see it with others.
        run(Command::new("mount").args(["-o", &format!("remount,bind,{options}")]).arg(&path));
        path
    }

    /// Shows a file or directory of the place at another, which is there.
    pub fn bind(&mut self, source: &Path, target: &Path) {
        self.mount([OsStr::new("--bind"), source.as_os_str()], target);
    }

    fn mount<const N: usize>(&mut self, words: [&OsStr; N], target: &Path) {
        run(Command::new("mount").args(words).arg(target));
        self.mounted.push(target.to_owned());
    }
}

impl Default for Mounts {
    fn default() -> Self {
        Mounts::new()
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        for target in self.mounted.iter().rev() {
            // At once, whoever still looks: a container that starts copies the host's mounts for a moment.
            if let Err(errno) = rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH) {
                eprintln!("left mounted: {}: {errno}", target.display());
            }
        }
    }
}

fn fill(directory: &Path, name: &str, mode: u32) {
    fs::write(directory.join("file"), name).unwrap();
    fs::set_permissions(directory, Permissions::from_mode(mode)).unwrap();
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().expect("mount of util-linux can be started");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
