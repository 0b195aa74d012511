//! Files of the host for containers to see: directories, and file systems that a test mounts in them.
//!
//! Whatever is mounted here is unmounted when the test ends, also when it fails. Make it before the engine, so that it goes
//! after it.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use tempfile::TempDir;

/// Of a disk, in a sparse file.
const DISK_BYTES: u64 = 32 << 20;

/// A place of the host, and what is mounted below it.
pub struct Mounts {
    /// The kernel's numbers of the mounts: where they are may change.
    mounted: Vec<u64>,
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

    /// A directory for everybody that is the root of an ext4 file system on a loop device of its own, so that it can be
    /// frozen without anybody else's being so.
    ///
    /// # Panics
    /// Where there is no loop device, `mkfs.ext4` or ext4: what needs it cannot be shown there.
    pub fn disk(&mut self, name: &str) -> PathBuf {
        let (path, image) = (self.path(name), self.path(&format!("{name}.img")));
        fs::create_dir(&path).unwrap();
        fs::File::create(&image).and_then(|file| file.set_len(DISK_BYTES)).unwrap();
        run(Command::new("mkfs.ext4").arg("-q").arg(&image));
        self.mount([OsStr::new("-o"), OsStr::new("loop"), image.as_os_str()], &path);
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        path
    }

    /// Shows a file or directory of the place at another, which is there.
    pub fn bind(&mut self, source: &Path, target: &Path) {
        self.mount([OsStr::new("--bind"), source.as_os_str()], target);
    }

    fn mount<const N: usize>(&mut self, words: [&OsStr; N], target: &Path) {
        run(Command::new("mount").args(words).arg(target));
        let last = table().into_iter().rfind(|(_, place)| place == target);
        self.mounted.push(last.expect("what was mounted is in the table").0);
    }

    /// Unmounts what was mounted last, wherever it is by now.
    pub fn unmount_last(&mut self) {
        let number = self.mounted.pop().expect("something is mounted");
        let Some((_, target)) = table().into_iter().find(|(found, _)| *found == number) else { return };
        // At once, whoever still looks: a container that starts copies the host's mounts for a moment.
        if let Err(errno) = rustix::mount::unmount(&target, rustix::mount::UnmountFlags::DETACH) {
            eprintln!("left mounted: {}: {errno}", target.display());
        }
    }
}

impl Default for Mounts {
    fn default() -> Self {
        Mounts::new()
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        while !self.mounted.is_empty() {
            self.unmount_last();
        }
    }
}

/// Number and place of every mount that this process sees.
fn table() -> Vec<(u64, PathBuf)> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = |line: &str| {
        let mut words = line.split(' ');
        (words.next().unwrap().parse().unwrap(), PathBuf::from(words.nth(3).unwrap()))
    };
    table.lines().map(mount).collect()
}

/// A frozen file system: whoever writes to it waits in the kernel, and no signal ends that. Thawed when dropped.
///
/// That is done by a process of its own, so that it is done as well when the test is killed.
pub struct Frozen {
    keeper: Child,
}

impl Frozen {
    /// Freezes the file system of a directory. Make it after the engine, so that it thaws before.
    ///
    /// # Panics
    /// When it cannot be frozen.
    pub fn at(directory: &Path) -> Self {
        const FREEZE: &str =
            "fsfreeze --freeze \"$0\" && { echo; read -r over; fsfreeze --unfreeze \"$0\"; }";
        let keeper = Command::new("sh")
            .args(["-c", FREEZE])
            .arg(directory)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut frozen = Frozen { keeper: keeper.unwrap() };
        let said = frozen.keeper.stdout.as_mut().unwrap().read_exact(&mut [0]);
        said.unwrap_or_else(|_| panic!("{} cannot be frozen", directory.display()));
        frozen
    }

    /// Thaws it.
    ///
    /// # Panics
    /// When that cannot be done.
    pub fn thaw(mut self) {
        assert!(self.end().success(), "it stays frozen");
    }

    /// The keeper ends by itself once its input has.
    fn end(&mut self) -> ExitStatus {
        drop(self.keeper.stdin.take());
        self.keeper.wait().unwrap()
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.end();
    }
}

fn fill(directory: &Path, name: &str, mode: u32) {
    fs::write(directory.join("file"), name).unwrap();
    fs::set_permissions(directory, Permissions::from_mode(mode)).unwrap();
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
