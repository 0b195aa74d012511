//! The keeper's side of a container: the sandbox it forks, and the devices it makes for it as the host's root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gdn_mounts::{Attributes, Filesystem};
use gdn_namespaces::{IdMap, Namespaces, Spawned, join, spawn, spawn_owned};
use rustix::fs::{AtFlags, FileType, Mode, chownat, makedev, mkdirat, mknodat, symlinkat};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Gid, Uid};

use super::failure::{During, Result, failure};
use super::system::Filter;
use super::{setup, system};
use crate::protocol::{Call, Create, Failure, FailureKind, Prepare, Request, Sandbox};
use crate::wire;

/// Nodes of every container's `/dev`, with major and minor number.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
/// Links of every container's `/dev`.
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// A container from its sandbox on.
pub(crate) struct Container {
    /// Host pid of init.
    pub(crate) pid: u32,
    /// Init.
    pub(crate) pidfd: OwnedFd,
    /// Which ids are whose.
    pub(crate) ids: IdMap,
    /// The connection to init until it has become `garden-init`.
    pub(crate) init: OwnedFd,
    /// Without a user namespace.
    pub(crate) privileged: bool,
    /// Its node in the cgroup v2 tree.
    pub(crate) unified: Option<OwnedFd>,
    /// `tasks` of the other trees, which come with the order: who writes 0 joins.
    pub(crate) tasks: Vec<OwnedFd>,
    /// Its `/dev`, from [`Container::make_devices`] until init gets it.
    devices: Option<Result<OwnedFd, Failure>>,
    /// The host's pid namespace, where an external runtime's container has it: the keeper's children are born there, since
    /// most are clients of the runtime.
    pub(crate) host_pids: Option<OwnedFd>,
    /// What there is once init has built the container.
    pub(crate) built: Option<Built>,
}

/// A finished container.
pub(crate) struct Built {
    /// Its root directory.
    pub(crate) root: OwnedFd,
    /// Its own devpts.
    pub(crate) terminals: OwnedFd,
    /// What every process may call.
    pub(crate) filter: Option<Filter>,
    /// The AppArmor profile of every process; empty for none.
    pub(crate) apparmor: String,
}

impl Container {
    /// Forks init into all its namespaces and its cgroup v2, where it waits for [`Container::order`].
    pub(crate) fn prepare(
        prepare: &Prepare,
        mut descriptors: Vec<OwnedFd>,
        init_program: &OwnedFd,
    ) -> Result<Self> {
        let ids = id_map(prepare.privileged, &prepare.map)?;
        let unified =
            if prepare.unified && !descriptors.is_empty() { Some(descriptors.remove(0)) } else { None };
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .during(FailureKind::Exhausted, || "connect to init".into())?;
        let program =
            init_program.try_clone().during(FailureKind::Exhausted, || "hand init its program".into())?;
        let shared =
            Namespaces::PID | Namespaces::MOUNT | Namespaces::NETWORK | Namespaces::IPC | Namespaces::UTS;
        let cgroup = unified.as_ref().map(AsFd::as_fd);
        // SAFETY: the keeper is single-threaded.
        #[allow(unsafe_code, reason = "forking is what the keeper is for")]
        let spawned = unsafe {
            match prepare.privileged {
                true => spawn(shared, cgroup),
                false => spawn_owned(shared | Namespaces::USER, cgroup, prepare.owner),
            }
        }
        .during(FailureKind::Exhausted, || "make the container's namespaces".into())?;
        // On both sides: having been another user has set the flag to the host's fs.suid_dumpable.
        let hidden = system::set_not_dumpable();
        let Spawned::Parent { pid, pidfd } = spawned else {
            drop(ours);
            let named = rustix::system::sethostname(prepare.hostname.as_bytes());
            if named.is_err() || hidden.is_err() {
                system::exit_now(1);
            }
            setup::become_init(theirs, program, prepare.privileged)
        };
        let container = Container {
            pid,
            pidfd,
            ids,
            init: ours,
            privileged: prepare.privileged,
            unified,
            tasks: Vec::new(),
            devices: None,
            host_pids: None,
            built: None,
        };
        hidden.during(FailureKind::Internal, || "hide the keeper's memory".into())?;
        container.map_ids()?;
        Ok(container)
    }

    /// What an external runtime's container is until the runtime has made it: a process that holds its namespaces.
    pub(crate) fn of_runtime(holder: (u32, OwnedFd), life: OwnedFd, sandbox: &Sandbox) -> Result<Self> {
        let host_pids = std::fs::File::open("/proc/self/ns/pid")
            .during(FailureKind::Internal, || "keep the host's pid namespace".into())?;
        let container = Container {
            pid: holder.0,
            pidfd: holder.1,
            ids: id_map(sandbox.privileged, &sandbox.map)?,
            init: life,
            privileged: sandbox.privileged,
            unified: None,
            tasks: Vec::new(),
            devices: None,
            host_pids: Some(host_pids.into()),
            built: None,
        };
        container.map_ids()?;
        Ok(container)
    }

    fn map_ids(&self) -> Result<()> {
        if self.privileged {
            return Ok(());
        }
        self.ids.write(self.pid).during(FailureKind::Internal, || "write the container's id maps".into())
    }

    /// Forks a child that is born in the container's pid namespace.
    ///
    /// # Safety
    /// As [`spawn`].
    #[allow(unsafe_code, reason = "forking is what the keeper is for")]
    pub(crate) unsafe fn spawn_inside(&self, cgroup: Option<BorrowedFd<'_>>) -> std::io::Result<Spawned> {
        if let Some(_host) = &self.host_pids {
            join(self.pidfd.as_fd(), Namespaces::PID)?;
        }
        // SAFETY: the caller's promise.
        let spawned = unsafe { spawn(Namespaces::NONE, cgroup) };
        match (&self.host_pids, &spawned) {
            (None, _) | (_, Ok(Spawned::Child)) => spawned,
            (Some(host), _) => join(host.as_fd(), Namespaces::PID).and(spawned),
        }
    }

    /// The container's network namespace.
    pub(crate) fn network_namespace(&self) -> Result<OwnedFd> {
        std::fs::File::open(format!("/proc/{}/ns/net", self.pid))
            .map(OwnedFd::from)
            .during(FailureKind::NotRunning, || "open the container's network namespace".into())
    }

    /// Tells init what to build, of mounts and then the container's `tasks`. It answers on [`Container::init`].
    pub(crate) fn order(&mut self, id: u64, create: &Create, mut mounts: Vec<OwnedFd>) -> Result<()> {
        let devices = self.devices.take().unwrap_or_else(|| self.devices())?;
        self.tasks = mounts.split_off(mounts.len().min(1 + create.mounts.len()));
        mounts.insert(1.min(mounts.len()), devices);
        let descriptors: Vec<BorrowedFd<'_>> = mounts.iter().chain(&self.tasks).map(AsFd::as_fd).collect();
        let request = Request { id, call: Some(Call::Create(create.clone())) };
        wire::send(self.init.as_fd(), &request, &descriptors)
            .during(FailureKind::NotRunning, || "reach init".into())
    }

    /// Makes `/dev` ahead of the order, while whoever will give it is busy elsewhere; a failure is told with the order.
    pub(crate) fn make_devices(&mut self) {
        if self.devices.is_none() {
            self.devices = Some(self.devices());
        }
    }

    /// A tmpfs with the device nodes, which only the host's root can make, owned by the container's root.
    pub(crate) fn devices(&self) -> Result<OwnedFd> {
        let during = || "make the container's /dev".to_owned();
        let no_root = || failure(FailureKind::Internal, "the container has no root");
        let root = self.ids.to_host(0).ok_or_else(no_root)?;
        let root_option = root.to_string();
        let attributes = Attributes::MOUNT_ATTR_NOEXEC | Attributes::MOUNT_ATTR_STRICTATIME;
        let dev = Filesystem::new("tmpfs")
            .and_then(|tmpfs| tmpfs.option("mode", "755"))
            .and_then(|tmpfs| tmpfs.option("size", "1m"))
            .and_then(|tmpfs| tmpfs.option("uid", &root_option))
            .and_then(|tmpfs| tmpfs.option("gid", &root_option))
            .and_then(|tmpfs| tmpfs.mount(attributes))
            .during(FailureKind::Internal, during)?;
        let owner = (Some(Uid::from_raw(root)), Some(Gid::from_raw(root)));
        let fuse = self.privileged.then_some(("fuse", 10, 229));
        for (name, major, minor) in DEVICES.into_iter().chain(fuse) {
            mknodat(dev.as_fd(), name, FileType::CharacterDevice, Mode::empty(), makedev(major, minor))
                .during(FailureKind::Internal, during)?;
            rustix::fs::chmodat(dev.as_fd(), name, Mode::from_raw_mode(0o666), AtFlags::empty())
                .during(FailureKind::Internal, during)?;
            chownat(dev.as_fd(), name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)
                .during(FailureKind::Internal, during)?;
        }
        for (target, name) in LINKS {
            symlinkat(target, dev.as_fd(), name).during(FailureKind::Internal, during)?;
        }
        for name in ["pts", "shm", "mqueue"] {
            mkdirat(dev.as_fd(), name, Mode::from_raw_mode(0o755)).during(FailureKind::Internal, during)?;
            chownat(dev.as_fd(), name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)
                .during(FailureKind::Internal, during)?;
        }
        Ok(dev.into_fd())
    }

    /// Ends every process of the container.
    pub(crate) fn kill(&self) -> Result<()> {
        match gdn_namespaces::pidfd_signal(self.pidfd.as_fd(), libc::SIGKILL) {
            // Already reaped: nothing is left.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => other.during(FailureKind::Internal, || "kill init".into()),
        }
    }
}

/// The map of a container: what it was given. Root must be in it, who owns the container's devices.
fn id_map(privileged: bool, map: &[u32]) -> Result<IdMap> {
    if privileged {
        return Ok(IdMap::identity());
    }
    IdMap::from_triples(map)
        .filter(|map| map.to_host(0).is_some())
        .ok_or_else(|| failure(FailureKind::BadRequest, format!("{map:?} is no map of ids that has root")))
}
