//! Overlays on kernels that refuse layers which no mount tree has.
//!
//! Before Linux 6.15 overlayfs takes only what is mounted in the mount namespace of the thread that asks. One thread of this
//! process therefore has a namespace of its own, where it attaches the directories out of everybody's sight. It is started
//! by the first overlay that needs it, sleeps otherwise, and ends with the process.

#![allow(unsafe_code, reason = "unshare(2) is safe only when it leaves the table of descriptors alone")]

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, mkdirat, openat, statx, unlinkat};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, UnmountFlags, mount_change, move_mount, unmount};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::{Overlay, path_of};
use crate::{Attributes, Detached, Error, Filesystem, Result};

/// The thread's letter box; none until the first overlay needs it.
static THREAD: Mutex<Option<SyncSender<Request>>> = Mutex::new(None);

/// What the thread is asked for. All mounts are its own copies, because it outlives every caller.
struct Request {
    layers: Vec<Layer>,
    /// The directory that holds `upper` and `work`.
    writable: Detached,
    upper: OsString,
    work: OsString,
    attributes: Attributes,
    answer: SyncSender<Result<Detached>>,
}

struct Layer {
    mount: Detached,
    /// Whether the caller has this very mount too and may bring it again. It cannot be detached a second time, so it stays
    /// attached until the process ends.
    is_shared: bool,
}

/// Makes the overlay with all its directories attached in the thread's namespace.
pub(super) fn mount(overlay: &Overlay<'_>, attributes: Attributes) -> Result<Detached> {
    let (answer, answered) = sync_channel(1);
    let (writable, upper, work) = writable_parent(overlay.upper, overlay.work)?;
    let layers = overlay.layers.iter().map(|layer| Layer::of(*layer)).collect::<Result<_>>()?;
    send(Request { layers, writable, upper, work, attributes, answer })?;
    answered.recv().map_err(|_| ended())?
}

impl Layer {
    /// A directory of the caller's tree is copied; a detached mount cannot be (before Linux 6.15) and is shared.
    fn of(layer: BorrowedFd<'_>) -> Result<Self> {
        match Detached::copy_of(layer) {
            Ok(mount) => Ok(Layer { mount, is_shared: false }),
            Err(Error::Mount { errno: Errno::INVAL, .. }) => {
                let mount = layer.try_clone_to_owned().map_err(|error| failed("dup", &error))?;
                Ok(Layer { mount: Detached::from_fd(mount), is_shared: true })
            }
            Err(error) => Err(error),
        }
    }
}

/// A copy of the mount at the parent of both directories, and their names in it.
fn writable_parent(upper: BorrowedFd<'_>, work: BorrowedFd<'_>) -> Result<(Detached, OsString, OsString)> {
    let parent = openat(upper, "..", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(refused("open the parent of the upper directory"))?;
    let copy = Detached::copy_of(parent.as_fd())?;
    let (upper, work) = (name_below(&copy, upper)?, name_below(&copy, work)?);
    Ok((copy, upper, work))
}

/// The name of `directory` in `parent`. A descriptor knows the path it was opened by; whether that is still true is checked.
fn name_below(parent: &Detached, directory: BorrowedFd<'_>) -> Result<OsString> {
    let path = std::fs::read_link(path_of(directory)).map_err(|error| failed("read the path", &error))?;
    let name = path.file_name().unwrap_or_default().to_owned();
    let found = open_below(parent, &name)?;
    let identity = |fd: BorrowedFd<'_>| {
        rustix::fs::fstat(fd).map(|status| (status.st_dev, status.st_ino)).map_err(refused("fstat"))
    };
    if identity(found.as_fd())? == identity(directory)? {
        Ok(name)
    } else {
        Err(Error::Mount { op: "find", what: path.display().to_string(), errno: Errno::NOENT })
    }
}

fn open_below(parent: &Detached, name: &OsString) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty()).map_err(|errno| Error::Mount {
        op: "open",
        what: name.to_string_lossy().into_owned(),
        errno,
    })
}

fn send(request: Request) -> Result<()> {
    let mut thread = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    let letter_box = match thread.take() {
        Some(letter_box) => letter_box,
        None => start()?,
    };
    // A thread that panicked is forgotten here, and the next request starts another.
    letter_box.send(request).map_err(|_| ended())?;
    *thread = Some(letter_box);
    Ok(())
}

fn start() -> Result<SyncSender<Request>> {
    let (letter_box, requests) = sync_channel(1);
    let (ready, is_ready) = sync_channel(1);
    let work = move || {
        let place = Place::new();
        let outcome = place.as_ref().map(|_| ()).map_err(Clone::clone);
        // Whoever started this waits for the answer and takes it.
        if ready.send(outcome).is_ok()
            && let Ok(place) = place
        {
            place.serve(&requests);
        }
    };
    let thread = std::thread::Builder::new().name("overlay-mounts".to_owned());
    thread.spawn(work).map_err(|error| failed("start a thread", &error))?;
    is_ready.recv().map_err(|_| ended())??;
    Ok(letter_box)
}

/// The thread's own mount namespace, and in it a tmpfs with one directory for each attached mount.
struct Place {
    ground: Detached,
}

impl Place {
    fn new() -> Result<Self> {
        // SAFETY: CLONE_FILES is not among the flags, so this thread keeps the process's table of descriptors.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.map_err(refused("unshare"))?;
        // What is attached here must not show in the namespace that this one is a copy of.
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).map_err(refused("make mounts private"))?;
        let ground = Filesystem::new("tmpfs")?.option("mode", "0700")?.mount(Attributes::empty())?;
        // This thread's root stays the directory below, so `/proc` is found as before.
        ground.attach_at("/")?;
        Ok(Place { ground })
    }

    fn serve(&self, requests: &Receiver<Request>) {
        for request in requests {
            let made = self.mount(&request);
            let own = request.layers.iter().filter(|layer| !layer.is_shared).map(|layer| &layer.mount);
            // The overlay has private copies of all it needs.
            let released =
                own.chain([&request.writable]).map(|mount| self.release(mount)).fold(Ok(()), Result::and);
            // Without a caller the overlay is dropped, and with it unmounted.
            drop(request.answer.send(made.and_then(|overlay| released.map(|()| overlay))));
        }
    }

    fn mount(&self, request: &Request) -> Result<Detached> {
        for layer in &request.layers {
            self.attach(&layer.mount)?;
        }
        self.attach(&request.writable)?;
        let layers: Vec<BorrowedFd<'_>> = request.layers.iter().map(|layer| layer.mount.as_fd()).collect();
        let upper = open_below(&request.writable, &request.upper)?;
        let work = open_below(&request.writable, &request.work)?;
        Overlay { layers: &layers, upper: upper.as_fd(), work: work.as_fd() }.mount_here(request.attributes)
    }

    /// Attaches a mount in a directory named by its number; one that is attached already has its directory.
    fn attach(&self, mount: &Detached) -> Result<()> {
        let name = number_of(mount)?;
        match mkdirat(&self.ground, &name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(()),
            Err(errno) => return Err(refused("make a mount point")(errno)),
        }
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(mount, "", &self.ground, &name, flags).map_err(refused("move_mount")).inspect_err(|_| {
            // Only an attached mount may have a directory. An empty one is removable.
            let _ = unlinkat(&self.ground, &name, AtFlags::REMOVEDIR);
        })
    }

    /// Takes away a mount of which only this thread has the descriptor; one that was not attached goes with its descriptor.
    fn release(&self, mount: &Detached) -> Result<()> {
        let name = number_of(mount)?;
        match unmount(path_of(mount.as_fd()), UnmountFlags::DETACH) {
            Ok(()) => {
                unlinkat(&self.ground, &name, AtFlags::REMOVEDIR).map_err(refused("remove a mount point"))
            }
            Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(refused("umount")(errno)),
        }
    }
}

/// What the kernel calls a mount as long as it exists.
fn number_of(mount: &Detached) -> Result<String> {
    let status = statx(mount, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map_err(refused("statx"))?;
    Ok(status.stx_mnt_id.to_string())
}

fn refused(op: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Error::Mount { op, what: "for an overlay".to_owned(), errno }
}

fn failed(op: &'static str, error: &std::io::Error) -> Error {
    refused(op)(Errno::from_io_error(error).unwrap_or(Errno::IO))
}

fn ended() -> Error {
    refused("ask the mounting thread")(Errno::PIPE)
}
