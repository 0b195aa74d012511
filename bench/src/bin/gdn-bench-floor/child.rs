//! What runs inside the new namespaces. A failure ends the process with the number of the step.

use std::ffi::{CStr, CString};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::Result;

use crate::sys;

/// The cgroup namespace comes later, when the process is in its cgroups.
pub(crate) const NAMESPACES: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWNET;

const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const MASKED_FILES: [&CStr; 4] = [c"proc/kcore", c"proc/keys", c"proc/timer_list", c"proc/sysrq-trigger"];
const MASKED_DIRECTORIES: [&CStr; 2] = [c"proc/acpi", c"sys/firmware"];

/// What is the same for every sandbox.
pub(crate) struct Plan {
    /// Where the root file system is put before it becomes the root.
    pub(crate) root: CString,
    pub(crate) filter: Vec<libc::sock_filter>,
}

/// What the first process does when the sandbox is complete.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Then {
    /// Executes `/bin/true`.
    ExecTrue,
    /// Tells that it is ready, and stays until killed.
    Stay,
}

/// Fills a directory of device nodes and mount points.
pub(crate) fn fill_dev(directory: &Path) -> Result<()> {
    for (name, major, minor) in NODES {
        sys::mknod(&crate::path(&directory.join(name))?, major, minor)?;
    }
    for name in ["pts", "shm", "mqueue"] {
        fs::create_dir(directory.join(name))?;
    }
    Ok(())
}

/// The life of the sandbox's first process.
pub(crate) fn main(
    plan: &Plan,
    overlay: &OwnedFd,
    dev: &OwnedFd,
    go: fs::File,
    ready: fs::File,
    then: Then,
) -> ! {
    // The parent attaches cgroups and maps users meanwhile.
    step(1, { go }.read_exact(&mut [0]));
    step(2, sys::become_root());
    step(3, sys::unshare(libc::CLONE_NEWCGROUP));
    step(4, sys::mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE));
    step(5, sys::move_mount(overlay, &plan.root));
    step(6, sys::chdir(&plan.root));
    mount_kernel_file_systems(dev);
    mask();
    step(20, sys::pivot_root_here());
    step(21, sys::sethostname(c"floor"));
    step(22, sys::load_filter(&plan.filter));
    match then {
        Then::ExecTrue => step(23, sys::exec_true()),
        Then::Stay => {
            step(26, sys::end_with_parent());
            step(24, { ready }.write_all(b"r"));
            sys::stay();
        }
    }
    sys::exit(25)
}

fn mount_kernel_file_systems(dev: &OwnedFd) {
    let plain = libc::MS_NOSUID | libc::MS_NOEXEC | libc::MS_NODEV;
    step(7, sys::mount(Some(c"proc"), c"proc", Some(c"proc"), plain));
    step(8, sys::mount(Some(c"sysfs"), c"sys", Some(c"sysfs"), plain | libc::MS_RDONLY));
    step(9, sys::move_mount(dev, c"dev"));
    step(10, sys::mount(Some(c"devpts"), c"dev/pts", Some(c"devpts"), libc::MS_NOSUID | libc::MS_NOEXEC));
    step(11, sys::mount(Some(c"tmpfs"), c"dev/shm", Some(c"tmpfs"), plain));
    step(12, sys::mount(Some(c"mqueue"), c"dev/mqueue", Some(c"mqueue"), plain));
}

/// Hides parts of `/proc` and `/sys`; what this kernel lacks needs no hiding.
fn mask() {
    for file in MASKED_FILES {
        step(13, unless_absent(sys::mount(Some(c"dev/null"), file, None, libc::MS_BIND)));
    }
    for directory in MASKED_DIRECTORIES {
        step(14, unless_absent(sys::mount(Some(c"tmpfs"), directory, Some(c"tmpfs"), libc::MS_RDONLY)));
    }
}

/// Joins a sandbox and executes `/bin/true`. Runs on borrowed memory: it must neither allocate nor return.
pub(crate) extern "C" fn join_and_exec(pidfd: *mut libc::c_void) -> libc::c_int {
    let namespaces = (NAMESPACES & !libc::CLONE_NEWPID) | libc::CLONE_NEWCGROUP;
    step(1, sys::join(pidfd as libc::c_int, namespaces));
    step(2, sys::become_root());
    step(3, sys::exec_true());
    sys::exit(4)
}

fn unless_absent(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn step(number: i32, result: std::io::Result<()>) {
    if result.is_err() {
        sys::exit(number);
    }
}
