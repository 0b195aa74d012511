//! A file system in a file.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The least `mkfs.xfs` takes; the file is sparse.
const IMAGE_BYTES: u64 = 320 << 20;
const FS_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
/// Do not even write the file system's own log: nothing that was not synced survives.
const NOLOGFLUSH: u32 = 2;

/// Unmounted, with its loop device, when dropped.
pub(crate) struct Mounted {
    image: PathBuf,
    pub(crate) root: PathBuf,
}

impl Mounted {
    pub(crate) fn make(kind: &str, dir: &Path) -> Mounted {
        let (image, root) = (dir.join("image"), dir.join("mounted"));
        File::create(&image).and_then(|file| file.set_len(IMAGE_BYTES)).expect("make an image file");
        std::fs::create_dir(&root).expect("make a mount point");
        run(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image));
        let mounted = Mounted { image, root };
        mounted.mount();
        mounted
    }

    fn mount(&self) {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.root));
    }

    /// As if the power failed now.
    pub(crate) fn cut_power(&self) {
        let root = File::open(&self.root).expect("open the mount point");
        let flag = NOLOGFLUSH;
        // SAFETY: the descriptor is open and the argument points to the one u32 that this ioctl reads.
        let result = unsafe { libc::ioctl(root.as_raw_fd(), FS_IOC_SHUTDOWN, &raw const flag) };
        assert_eq!(result, 0, "shut down: {}", std::io::Error::last_os_error());
    }

    /// As if the power came back.
    pub(crate) fn remount(&self) {
        unmount(&self.root);
        self.mount();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.root);
    }
}

/// Unmounts as soon as nothing is open there: a killed child's files are closed a moment after it was reaped.
pub(crate) fn unmount(root: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let output = Command::new("umount").arg(root).output().expect("run umount");
        if output.status.success() {
            return;
        }
        if Instant::now() > deadline {
            eprintln!("umount {}: {}", root.display(), String::from_utf8_lossy(&output.stderr));
            return;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("run a tool of the system");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
