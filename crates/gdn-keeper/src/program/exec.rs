//! The child's side of starting a process: it joins the container, becomes the user, and execs the program.
//!
//! Until the exec it is our code inside the container, so it is not dumpable (the flag comes from the launcher), its
//! descriptors are closed, and it takes no name and no path from the container except as an argument of a system call.
//!
//! What needs memory is worked out before there is a child (`plan`): a fork pays a page fault for each page that it
//! touches. Only entering a sidecar and asking for an AppArmor profile need some.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use gdn_namespaces::{Capabilities, CapabilitySet, Namespaces, join};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::apparmor;
use super::container::Container;
use super::failure::{During, Result, encoded, failure};
use super::plan::{At, Plan, Refusal, Step};
use super::sidecar::Sidecar;
use super::system;
use crate::protocol::{Failure, FailureKind};

/// Standard streams of the child; with a terminal, the same one three times.
pub(crate) struct Stdio {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) terminal: bool,
}

impl Stdio {
    /// Three times the null device, which the keeper has in the standard places.
    pub(crate) fn null() -> std::io::Result<Self> {
        let copy = || Ok::<_, std::io::Error>(rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3)?);
        Ok(Stdio { stdin: copy()?, stdout: copy()?, stderr: copy()?, terminal: false })
    }
}

/// Why there is no program.
enum Refused {
    At(Refusal),
    /// In words, where a step has more to tell.
    Told(Failure),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Refused::At(refusal)
    }
}

/// Starts the program. Returns only when that failed.
pub(crate) fn run(
    container: &Container,
    plan: &Plan,
    sidecar: Option<&Sidecar>,
    stdio: &Stdio,
    errors: BorrowedFd<'_>,
) -> ! {
    // The pipe holds 64 KiB; a failure is shorter, so this never blocks. If the keeper is gone, nobody wants to know.
    let _ = match start(container, plan, sidecar, stdio, errors) {
        Refused::At(refusal) => rustix::io::write(errors, &refusal.bytes()),
        Refused::Told(failure) => rustix::io::write(errors, &encoded(failure)),
    };
    system::exit_now(127)
}

/// Every step up to the exec; whatever comes back is why there is no program.
fn start(
    container: &Container,
    plan: &Plan,
    sidecar: Option<&Sidecar>,
    stdio: &Stdio,
    errors: BorrowedFd<'_>,
) -> Refused {
    // While the host's procfs is in sight.
    let apparmor = container.built.as_ref().map_or("", |built| &built.apparmor);
    if let Err(failure) = apparmor::at_exec(apparmor) {
        return Refused::Told(failure);
    }
    let entered = match sidecar {
        None => prepare(container, plan, &[], stdio)
            .and_then(|()| enter_container(container).at(Step::JoinContainer))
            .map_err(Refused::At),
        Some(sidecar) => prepare(container, plan, &sidecar.tasks, stdio)
            .map_err(Refused::At)
            .and_then(|()| sidecar.enter(container).map_err(Refused::Told)),
    };
    match entered {
        Ok(()) => match finish(container, plan, stdio, errors) {
            Ok(refusal) | Err(refusal) => Refused::At(refusal),
        },
        Err(refused) => refused,
    }
}

/// What is done still as the host's root.
fn prepare(
    container: &Container,
    plan: &Plan,
    own: &[OwnedFd],
    stdio: &Stdio,
) -> std::result::Result<(), Refusal> {
    // A sidecar's own come second: where it has none, it stays in the container's.
    for tasks in container.tasks.iter().chain(own) {
        rustix::io::write(tasks, b"0").at(Step::JoinCgroups)?;
    }
    place_streams(stdio).at(Step::PlaceStreams)?;
    for (index, limit) in (0..).zip(plan.limits.chunks_exact(2)) {
        set_limit(limit[0], limit[1]).map_err(|refusal| Refusal { detail: index, ..refusal })?;
    }
    if let Some(files) = plan.files {
        // Only the host's root can raise it, and a sidecar's root file system is made of many files first.
        system::allow_files(files);
    }
    Ok(())
}

/// What is done inside. Answers with what came of the exec.
fn finish(
    container: &Container,
    plan: &Plan,
    stdio: &Stdio,
    errors: BorrowedFd<'_>,
) -> std::result::Result<Refusal, Refusal> {
    // From here on paths of the container are followed, and some lead to descriptors (/proc/self/fd/7/..): none that is a
    // directory of the host may be left (CVE-2024-21626).
    system::close_from_but(3, errors).at(Step::CloseDescriptors)?;
    // Now that no new descriptor is needed: the limit may be lower than the numbers that the keeper uses.
    match plan.files {
        Some(files) => set_limit(libc::RLIMIT_NOFILE.into(), files)
            .map_err(|refusal| Refusal { detail: u32::MAX, ..refusal })?,
        None => system::restore_file_limit().at(Step::RestoreFiles)?,
    }
    lead_session(stdio.terminal)?;
    become_user(container, plan)?;
    Ok(execute(plan))
}

/// Joins the cgroups of version 1; still as the host's root. Those of version 2 the process was born in.
pub(crate) fn join_cgroups(tasks: &[OwnedFd]) -> Result<()> {
    for tasks in tasks {
        rustix::io::write(tasks, b"0")
            .during(FailureKind::Exhausted, || "join the container's cgroups".into())?;
    }
    Ok(())
}

/// Joins the namespaces. The pid namespace is there already: the keeper's children are born in it.
fn enter_container(container: &Container) -> std::io::Result<()> {
    let shared =
        Namespaces::MOUNT | Namespaces::NETWORK | Namespaces::IPC | Namespaces::UTS | Namespaces::CGROUP;
    let all = if container.privileged { shared } else { shared | Namespaces::USER };
    join(container.pidfd.as_fd(), all)
}

fn set_limit(resource: u64, value: u64) -> std::result::Result<(), Refusal> {
    system::set_limit(u32::try_from(resource).unwrap_or(u32::MAX), value).at(Step::SetLimit)
}

/// Puts the standard streams at 0, 1 and 2, where the keeper has its null device; everything else is closed at exec.
pub(crate) fn place_streams(stdio: &Stdio) -> std::io::Result<()> {
    for (number, fd) in (0..).zip([&stdio.stdin, &stdio.stdout, &stdio.stderr]) {
        system::place(rustix::io::fcntl_dupfd_cloexec(fd, 3)?, number)?;
    }
    system::close_from_at_exec(3)
}

fn lead_session(terminal: bool) -> std::result::Result<(), Refusal> {
    rustix::process::setsid().at(Step::LeadSession)?;
    if terminal {
        system::take_terminal(rustix::stdio::stdin()).at(Step::TakeTerminal)?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    Ok(())
}

/// Goes to the working directory, loads the seccomp program, and gives up everything the user must not have.
fn become_user(container: &Container, plan: &Plan) -> std::result::Result<(), Refusal> {
    // Root of the container makes the directory; its owner is the user.
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).at(Step::KeepRights)?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).at(Step::KeepRights)?;
    go_to(plan)?;
    plan.capabilities.limit_bounding().at(Step::KeepRights)?;
    if plan.no_new_privileges {
        rustix::thread::set_no_new_privs(true).at(Step::KeepRights)?;
    }
    if let Some(filter) = container.built.as_ref().and_then(|built| built.filter.as_ref()) {
        filter.install().at(Step::Seccomp)?;
    }
    plan.capabilities.inherit().at(Step::KeepRights)?;
    system::become_user(plan.uid, plan.gid, &plan.groups).at(Step::BecomeUser)?;
    plan.capabilities.apply(plan.uid).at(Step::KeepRights)?;
    // Becoming another user has set the flag to the host's fs.suid_dumpable.
    system::set_not_dumpable().at(Step::KeepRights)?;
    system::reset_signals();
    Ok(())
}

/// Changes to the working directory, making what is missing of it as the user's.
fn go_to(plan: &Plan) -> std::result::Result<(), Refusal> {
    match rustix::process::chdir(plan.dir.as_c_str()) {
        Err(Errno::NOENT) => {
            make_missing(plan.dir.to_bytes(), plan.uid, plan.gid).at(Step::WorkingDirectory)?;
            rustix::process::chdir(plan.dir.as_c_str()).at(Step::WorkingDirectory)?;
        }
        other => other.at(Step::WorkingDirectory)?,
    }
    // A directory outside the root (through a magic link of procfs) has no path inside (CVE-2024-21626).
    match system::is_inside_root().at(Step::WorkingDirectory)? {
        true => Ok(()),
        false => Err(Refusal { step: Step::OutsideRoot, errno: 0, detail: 0 }),
    }
}

/// Makes the missing directories of a path, owned by the user.
pub(crate) fn make_missing(dir: &[u8], uid: u32, gid: u32) -> Result<(), Errno> {
    let mut path = [0; libc::PATH_MAX as usize];
    if dir.len() >= path.len() {
        return Err(Errno::NAMETOOLONG);
    }
    path[..dir.len()].copy_from_slice(dir);
    let ends = (1..=dir.len()).filter(|end| dir.get(*end).is_none_or(|byte| *byte == b'/'));
    for end in ends {
        path[end] = 0;
        let parent = CStr::from_bytes_until_nul(&path).map_err(|_| Errno::INVAL)?;
        match rustix::fs::mkdir(parent, Mode::from_raw_mode(0o755)) {
            Ok(()) => rustix::fs::chown(parent, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        path[end] = b'/';
    }
    Ok(())
}

/// Becomes the first candidate that can be executed. Answers why none could.
fn execute(plan: &Plan) -> Refusal {
    let mut denied = false;
    for (index, candidate) in (0..).zip(&plan.candidates) {
        let errno = system::execute(candidate, &plan.args, &plan.env);
        match errno {
            libc::EACCES if plan.searched => denied = true,
            libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG if plan.searched => {}
            errno => return Refusal { step: Step::Execute, errno, detail: index },
        }
    }
    Refusal { step: if denied { Step::Denied } else { Step::NotFound }, errno: 0, detail: 0 }
}

/// Joins a container for other work than running a program: cgroups and namespaces; no seccomp, no session.
pub(crate) fn visit(container: &Container) -> Result<()> {
    join_cgroups(&container.tasks)?;
    enter_container(container).during(FailureKind::NotRunning, || "join the container".into())
}

/// Becomes the user of a visit, at home. The descriptors of the host must be closed by now: the home is the container's word.
pub(crate) fn visit_as(uid: u32, gid: u32, groups: &[u32], home: &[u8]) -> Result<()> {
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let during = || format!("become user {uid}:{gid}");
    system::become_user(uid, gid, groups).during(FailureKind::BadRequest, during)?;
    let capabilities =
        Capabilities { bounding: CapabilitySet::UNPRIVILEGED, inheritable: CapabilitySet::EMPTY };
    capabilities.apply(uid).during(FailureKind::Internal, during)?;
    // Becoming another user has set the flag to the host's fs.suid_dumpable.
    system::set_not_dumpable().during(FailureKind::Internal, during)?;
    let home = std::ffi::OsStr::from_bytes(if home.is_empty() { b"/" } else { home });
    rustix::process::chdir(home)
        .or_else(|_| rustix::process::chdir("/"))
        .during(FailureKind::NoPath, || format!("go to {}", home.display()))?;
    let during = || format!("go to {}", home.display());
    if !system::is_inside_root().during(FailureKind::NoPath, during)? {
        return Err(failure(
            FailureKind::NoPath,
            format!("{}: it is outside the container's root", during()),
        ));
    }
    Ok(())
}

/// Borrowing a descriptor list for a message.
pub(crate) fn borrow(descriptors: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    descriptors.iter().map(AsFd::as_fd).collect()
}
