//! What init does before it becomes `garden-init`: it builds the container around itself, from inside.
//!
//! It runs as root of the container's user namespace, so nothing here can do more than the container's root could, except
//! through the descriptors that the keeper sends: detached mounts made by the host.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gdn_mounts::{Attributes, Detached, Filesystem, Root};
use gdn_namespaces::{Capabilities, CapabilitySet};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, openat2, statat};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};

use super::failure::{During, Result, failure};
use super::system::Filter;
use super::{apparmor, exec, system};
use crate::protocol::{Body, Call, Create, FailureKind, Message, Reply, Request};
use crate::wire;

/// Where init keeps its connection to the keeper; `garden-init` knows the number too.
const KEEPER: i32 = 3;
/// Where init keeps the program it is going to become.
const PROGRAM: i32 = 4;

const NOSUID: Attributes = Attributes::MOUNT_ATTR_NOSUID;
const NODEV: Attributes = Attributes::MOUNT_ATTR_NODEV;
const NOEXEC: Attributes = Attributes::MOUNT_ATTR_NOEXEC;
const RDONLY: Attributes = Attributes::MOUNT_ATTR_RDONLY;

/// Files of procfs that tell of, or reach, the whole host: they show the null device instead.
const MASKED_FILES: [&str; 7] = [
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/keys",
];
/// Directories of the same kind: they show an empty read-only one.
const MASKED_DIRS: [&str; 5] =
    ["/proc/acpi", "/proc/asound", "/proc/scsi", "/sys/devices/virtual/powercap", "/sys/firmware"];

/// Runs in the fresh child, blocked until the keeper says what to build. Never returns.
pub(crate) fn become_init(keeper: OwnedFd, program: OwnedFd, privileged: bool) -> ! {
    // Without orders the keeper is gone, or gave the container up.
    if let Ok((id, create, mounts)) = wait_for_orders(keeper, program) {
        let outcome =
            apparmor::at_exec(&create.apparmor).and_then(|()| build(&create, mounts, privileged, None));
        if report(id, &outcome) && outcome.is_ok() {
            start_init(&create);
        }
    }
    system::exit_now(1)
}

fn wait_for_orders(keeper: OwnedFd, program: OwnedFd) -> Result<(u64, Create, Vec<OwnedFd>), ()> {
    let _ = system::die_with_parent();
    // Both are moved out of the way of the fixed numbers first, so that neither overwrites the other.
    let moved = (
        rustix::io::fcntl_dupfd_cloexec(&keeper, 10).map_err(drop)?,
        rustix::io::fcntl_dupfd_cloexec(&program, 10).map_err(drop)?,
    );
    // Here, not at the end: by then their numbers belong to what came with the orders.
    drop((keeper, program));
    system::place(moved.0, KEEPER).map_err(drop)?;
    system::place(moved.1, PROGRAM).map_err(drop)?;
    system::close_from(5).map_err(drop)?;
    let keeper = borrowed(KEEPER);
    match wire::receive::<Request>(keeper) {
        Ok(Some((Request { id, call: Some(Call::Create(create)) }, mounts))) => Ok((id, create, mounts)),
        _ => Err(()),
    }
}

#[allow(unsafe_code, reason = "descriptors at fixed numbers")]
fn borrowed(number: i32) -> BorrowedFd<'static> {
    // SAFETY: `wait_for_orders` filled both numbers, and nothing closes them before the exec.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Tells the keeper how it went: on success with the root directory and the terminals' file system.
fn report(id: u64, outcome: &Result<Built>) -> bool {
    let (failure, descriptors) = match outcome {
        Ok(built) => (None, vec![built.root.as_fd(), built.terminals.as_fd()]),
        Err(failure) => (Some(failure.clone()), vec![]),
    };
    let message = Message { body: Some(Body::Reply(Reply { id, failure, ..Reply::default() })) };
    wire::send(borrowed(KEEPER), &message, &descriptors).is_ok()
}

/// A finished container, seen from inside.
pub(crate) struct Built {
    root: OwnedFd,
    terminals: OwnedFd,
}

/// Builds everything and makes the new root the only one. A sidecar brings the terminals of its container.
pub(crate) fn build(
    create: &Create,
    mut mounts: Vec<OwnedFd>,
    privileged: bool,
    terminals: Option<Detached>,
) -> Result<Built> {
    if mounts.len() < create.mounts.len() + 2 {
        return Err(failure(FailureKind::BadRequest, "as many mounts as targets are needed"));
    }
    // Before anything is made, so that it counts towards the container's limits; and while it is still allowed.
    exec::join_cgroups(&mounts.split_off(create.mounts.len() + 2))?;
    let devices = mounts.remove(1);
    let rootfs = mounts.remove(0);
    // The engine's may be strict; what is made here is for everyone in the container.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    system::become_user(0, 0, &[]).during(FailureKind::Internal, || "become root of the container".into())?;
    system::new_cgroup_namespace().during(FailureKind::Exhausted, || "make a cgroup namespace".into())?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .during(FailureKind::Internal, || "make the mount tree private".into())?;
    // The kernel lets a user namespace mount these two only while the host's own are in sight.
    let proc = make("proc", NOSUID | NODEV | NOEXEC, &[])?;
    let sys = make("sysfs", NOSUID | NODEV | NOEXEC | RDONLY, &[])?;

    let rootfs = Detached::from_fd(rootfs);
    rootfs.attach_at("/").during(FailureKind::Internal, || "attach the root file system".into())?;
    let root = Root::from_fd(rootfs.into_fd());
    let proc_dir =
        proc.as_fd().try_clone_to_owned().during(FailureKind::Internal, || "keep procfs".into())?;
    place(&root, "/proc", &proc)?;
    place(&root, "/sys", &sys)?;
    let devices = show_devices(&root, devices, terminals)?;
    // Before a mount of the client can lie over a part of procfs.
    set_kernel_settings(&proc_dir, &create.sysctls)?;
    limit_users(&proc_dir, &create.user_limits)?;
    for (target, mount) in create.mounts.iter().zip(mounts) {
        show_mount(&root, target, Detached::from_fd(mount))?;
    }
    if !privileged {
        mask(&root, devices.null.as_fd())?;
    }
    system::loopback_up().during(FailureKind::Internal, || "bring the loopback interface up".into())?;
    change_root(root.as_fd())?;
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .during(FailureKind::Internal, || "open the new root".into())?;
    Ok(Built { root, terminals: devices.terminals })
}

fn make(kind: &str, attributes: Attributes, options: &[(&str, &str)]) -> Result<Detached> {
    let during =
        |error: gdn_mounts::Result<Detached>| error.during(FailureKind::Internal, || format!("mount {kind}"));
    let mut filesystem = match Filesystem::new(kind) {
        Ok(filesystem) => filesystem,
        Err(error) => return during(Err(error)),
    };
    for (key, value) in options {
        let set = if value.is_empty() { filesystem.flag(key) } else { filesystem.option(key, value) };
        match set {
            Ok(set) => filesystem = set,
            Err(error) => return during(Err(error)),
        }
    }
    during(filesystem.mount(attributes))
}

/// Mounts on a directory of the image that must be there and be a directory, or is made.
///
/// A link here is how images have reached for the host (CVE-2019-19921, CVE-2026-41579), so it is refused, not followed.
fn place(root: &Root, target: &str, mount: &Detached) -> Result<()> {
    let during = || format!("mount on {target} of the image");
    let directory = match root.open_dir_no_link(target) {
        Err(gdn_mounts::Error::Path { errno: Errno::NOENT, .. }) => {
            root.create_dir(target, 0o755).during(FailureKind::RootFilesystem, during)?
        }
        other => other.during(FailureKind::RootFilesystem, during)?,
    };
    mount.attach(directory).during(FailureKind::RootFilesystem, during)
}

/// What of `/dev` is needed again.
struct Devices {
    terminals: OwnedFd,
    null: OwnedFd,
}

/// Shows `/dev`, which the keeper made, with terminals, shared memory and message queues of the container's own.
fn show_devices(root: &Root, devices: OwnedFd, terminals: Option<Detached>) -> Result<Devices> {
    let devices = Detached::from_fd(devices);
    place(root, "/dev", &devices)?;
    // From here on paths below /dev lead into the fresh mount, which only we have touched.
    let below = Root::from_fd(devices.into_fd());
    let null = below
        .open_at("/null", OFlags::PATH)
        .during(FailureKind::Internal, || "open the container's null device".into())?;
    let pts = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    let terminals = terminals.map_or_else(|| make("devpts", NOSUID | NOEXEC, &pts), Ok)?;
    place(&below, "/pts", &terminals)?;
    place(&below, "/shm", &make("tmpfs", NOSUID | NODEV | NOEXEC, &[("mode", "1777")])?)?;
    place(&below, "/mqueue", &make("mqueue", NOSUID | NODEV | NOEXEC, &[])?)?;
    Ok(Devices { terminals: terminals.into_fd(), null })
}

/// Shows one of the image's or the client's mounts, on what is there or on what is made for it.
fn show_mount(root: &Root, target: &str, mount: Detached) -> Result<()> {
    let during = || format!("mount on {target}");
    let stat = statat(mount.as_fd(), "", AtFlags::EMPTY_PATH).during(FailureKind::MountTarget, during)?;
    let place = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        root.create_dir(target, 0o755)
    } else {
        root.create_file(target, 0o644)
    };
    mount.attach(place.during(FailureKind::MountTarget, during)?).during(FailureKind::MountTarget, during)
}

/// Covers what of procfs and sysfs concerns the host. The null device is the one of our own `/dev`, never one that a mount
/// of the image or the client shows in its place.
fn mask(root: &Root, null: BorrowedFd<'_>) -> Result<()> {
    let during = |path: &str| format!("mask {path}");
    for path in MASKED_FILES {
        let Some(target) = existing(root, path)? else { continue };
        let cover = Detached::copy_of(null).during(FailureKind::Internal, || during(path))?;
        cover.attach(target).during(FailureKind::Internal, || during(path))?;
    }
    for path in MASKED_DIRS {
        let Some(target) = existing(root, path)? else { continue };
        let cover = make("tmpfs", NOSUID | NODEV | NOEXEC | RDONLY, &[("size", "4k")])?;
        cover.attach(target).during(FailureKind::Internal, || during(path))?;
    }
    Ok(())
}

fn existing(root: &Root, path: &str) -> Result<Option<OwnedFd>> {
    match root.open_at(path, OFlags::PATH) {
        Ok(target) => Ok(Some(target)),
        Err(gdn_mounts::Error::Path { errno: Errno::NOENT, .. }) => Ok(None),
        Err(error) => Err(error).during(FailureKind::Internal, || format!("mask {path}")),
    }
}

/// Writes kernel settings of the container's own namespaces through our own procfs, never through the image's.
fn set_kernel_settings(proc: &OwnedFd, settings: &[String]) -> Result<()> {
    for setting in settings.chunks_exact(2) {
        let (name, value) = (&setting[0], &setting[1]);
        let during = || format!("set {name} to {value:?}");
        let file = open_setting(proc, name).during(FailureKind::Sysctl, during)?;
        rustix::io::write(file, value.as_bytes()).during(FailureKind::Sysctl, during)?;
    }
    Ok(())
}

/// Bounds what each user of the container may have of what the kernel counts by user namespace. Nobody in the container can
/// take that back: it takes CAP_SYS_RESOURCE, which only this process has.
fn limit_users(proc: &OwnedFd, limits: &[String]) -> Result<()> {
    for limit in limits.chunks_exact(2) {
        let (name, value) = (&limit[0], &limit[1]);
        let during = || format!("set user.{name} to {value}");
        let file = match open_setting(proc, &format!("user.{name}")) {
            // An older kernel, or one without that kind of object.
            Err(Errno::NOENT) => continue,
            other => other.during(FailureKind::Internal, during)?,
        };
        rustix::io::write(file, value.as_bytes()).during(FailureKind::Internal, during)?;
    }
    Ok(())
}

/// Opens a kernel setting of our own procfs for writing. Something else that is mounted in the way, a volume of somebody
/// hostile among them, is refused, and so is a link in it: the host's root is still in sight here (CVE-2025-52881).
fn open_setting(proc: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    let path = format!("sys/{}", name.replace('.', "/"));
    openat2(proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), inside)
}

/// Makes the new root the only one: the old one goes on top of it and is taken off.
fn change_root(root: BorrowedFd<'_>) -> Result<()> {
    let during = || "change the root".to_owned();
    rustix::process::fchdir(root).during(FailureKind::Internal, during)?;
    rustix::process::pivot_root(".", ".").during(FailureKind::Internal, during)?;
    unmount(".", UnmountFlags::DETACH).during(FailureKind::Internal, during)?;
    rustix::process::chdir("/").during(FailureKind::Internal, during)
}

/// Gives up what init must not have and becomes `garden-init`. Returns only on failure.
fn start_init(create: &Create) {
    let capabilities = Capabilities {
        bounding: CapabilitySet(create.capabilities),
        inheritable: CapabilitySet(create.inheritable),
    };
    system::reset_signals();
    let filter = Filter::new(&create.seccomp, create.seccomp_flags);
    let dropped = capabilities
        .limit_bounding()
        .and_then(|()| filter?.map_or(Ok(()), |filter| filter.install()))
        .and_then(|()| capabilities.apply(0));
    if dropped.is_ok() {
        let _ = system::execute_descriptor(borrowed(PROGRAM), &[c"garden-init".to_owned()]);
    }
}
