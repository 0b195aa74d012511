//! Directories that have nothing to do with each other.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, Mode, OFlags, fstat, fstatfs, ioctl_getflags, ioctl_setflags, major, minor, open};
use rustix::io::Errno;

use crate::{Error, Result};

/// `EXT4_SUPER_MAGIC`, which is also that of ext2 and ext3.
const EXT4: i64 = 0xef53;
/// Where the kernel shows the journals in use: `DEVICE-8` is the one inside a file system.
const JOURNALS: &str = "/proc/fs/jbd2";

/// Tells the file system that the directories in this one have nothing to do with each other, where it gains by knowing:
/// each new one then goes to a part of the disk of its own. Answers whether it was told.
///
/// ext4 without a journal does not reuse a file's number for minutes, and looks at all those that were freed lately in its
/// part of the disk each time it needs one. Where directories come and go by the second, all in one part, that is half of
/// what their host does. With a journal there is no such look, and close to each other is the better place.
///
/// # Errors
/// [`Error::Path`] when the directory cannot be opened, or the file system refuses.
pub fn spread(directory: impl AsRef<Path>) -> Result<bool> {
    let path = directory.as_ref();
    let failed = |op| move |errno| Error::Path { op, path: path.display().to_string(), errno };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(path, flags, Mode::empty()).map_err(failed("open directory"))?;
    let kind = fstatfs(&directory).map_err(failed("look at the file system of"))?.f_type;
    let device = fstat(&directory).map_err(failed("look at"))?.st_dev;
    if kind != EXT4 || has_journal(device) {
        return Ok(false);
    }
    let told = ioctl_getflags(directory.as_fd())
        .and_then(|known| ioctl_setflags(directory.as_fd(), known | IFlags::TOPDIR));
    match told {
        Ok(()) => Ok(true),
        Err(Errno::NOTTY | Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(failed("spread the directories in")(errno)),
    }
}

/// Whether the file system on a device has a journal inside. One whose journal is elsewhere is taken for one without: only
/// its speed depends on it.
fn has_journal(device: u64) -> bool {
    let link = format!("/sys/dev/block/{}:{}", major(device), minor(device));
    let Ok(place) = std::fs::read_link(link) else { return true };
    let Some(name) = place.file_name() else { return true };
    let mut journal = name.to_owned();
    journal.push("-8");
    PathBuf::from(JOURNALS).join(journal).exists()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::mount::{MountPropagationFlags, mount_change};
    use rustix::thread::{UnshareFlags, unshare_unsafe};

    use super::*;

    fn run(program: &str, arguments: &[&str]) {
        let out = Command::new(program).args(arguments).output().unwrap();
        assert!(out.status.success(), "{program}: {}", String::from_utf8_lossy(&out.stderr));
    }

    fn is_spread(directory: &Path) -> bool {
        let directory = open(directory, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        ioctl_getflags(&directory).unwrap().contains(IFlags::TOPDIR)
    }

    /// On a thread whose mounts nobody else sees.
    #[allow(unsafe_code, reason = "unshare(2) is safe only when it leaves the table of descriptors alone")]
    fn out_of_sight(test: impl FnOnce() + Send + 'static) {
        let thread = std::thread::spawn(|| {
            // SAFETY: a mount namespace is the thread's; the table of descriptors is not unshared.
            unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.expect("tests of mounts are run as root");
            mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).unwrap();
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }

    /// Needs loop devices, as the tests of power loss do.
    #[test]
    fn only_where_there_is_no_journal() {
        out_of_sight(|| {
            for (features, told) in [("^has_journal", true), ("has_journal", false)] {
                let place = tempfile::tempdir().unwrap();
                let (image, mounted) = (place.path().join("image"), place.path().join("mounted"));
                std::fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
                std::fs::create_dir(&mounted).unwrap();
                run("mkfs.ext4", &["-q", "-O", features, image.to_str().unwrap()]);
                run("mount", &["-o", "loop", image.to_str().unwrap(), mounted.to_str().unwrap()]);
                let directory = mounted.join("containers");
                std::fs::create_dir(&directory).unwrap();
                let (first, again) = (spread(&directory), spread(&directory));
                let found = is_spread(&directory);
                run("umount", &[mounted.to_str().unwrap()]);
                assert_eq!((first.unwrap(), again.unwrap(), found), (told, told, told), "{features}");
            }
        });
    }

    #[test]
    fn other_file_systems_are_left_alone() {
        assert!(!spread("/proc").unwrap());
        assert!(spread("/nowhere").is_err());
    }
}
