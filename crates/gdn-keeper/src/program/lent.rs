//! When a child may borrow the keeper's memory instead of a copy of it, and what makes sure that it leaves it whole.
//!
//! Measured on two cores under KVM: a fork of this program costs both sides some forty page faults of 2 us, three quarters
//! of what an exec takes here.
//!
//! The keeper is suspended while the child is on its way to its program, so only children that nobody can hold up may
//! borrow: those of containers in which every file system answers at once. The others are forked.

#![allow(unsafe_code, reason = "an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::system;

/// Kinds of file systems that answer from memory or a local disk (`statfs(2)`): ext4, XFS, btrfs, tmpfs, and overlays. Not
/// FUSE, 9p or NFS, where somebody else decides when to answer.
const PROMPT: [i64; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630];

/// Whether the file system of a mount answers at once.
pub(crate) fn is_prompt(mount: &OwnedFd) -> bool {
    rustix::fs::fstatfs(mount).is_ok_and(|statfs| PROMPT.contains(&statfs.f_type))
}

/// Whether the memory is lent at the moment: then whoever runs is the child.
static LENT: AtomicBool = AtomicBool::new(false);

/// Starts a process that borrows the keeper's memory until its exec. `child` must keep to what `exec` promises.
pub(crate) fn spawn(
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce() -> Infallible,
) -> std::io::Result<(u32, OwnedFd)> {
    LENT.store(true, Ordering::SeqCst);
    // SAFETY: the keeper is single-threaded; the child changes nothing of the keeper's: what would allocate is stopped by
    // `Guard`, and nothing it is given can be changed through a shared reference.
    let spawned = unsafe { gdn_namespaces::lend(cgroup, child) };
    LENT.store(false, Ordering::SeqCst);
    spawned
}

/// The keeper's allocator: the system's, but nobody allocates on borrowed memory. A child that is killed in the middle of
/// that would leave the keeper's heap torn.
pub struct Guard;

// SAFETY: everything that is handed out comes from the system's allocator, unchanged.
unsafe impl GlobalAlloc for Guard {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        refuse_if_lent();
        // SAFETY: the caller's promises are the ones that are needed.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        refuse_if_lent();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        refuse_if_lent();
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        refuse_if_lent();
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

/// A defect of the keeper's own code; the child must not go on.
fn refuse_if_lent() {
    if LENT.load(Ordering::Relaxed) {
        const TEXT: &[u8] = b"gdn-keeper: a child on borrowed memory allocated\n";
        // Nothing else can be done about it than to end.
        let _ = rustix::io::write(rustix::stdio::stderr().as_fd(), TEXT);
        system::exit_now(ALLOCATED);
    }
}

/// The exit status of a child that allocated.
const ALLOCATED: i32 = 125;
