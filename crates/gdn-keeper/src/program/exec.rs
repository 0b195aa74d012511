//! The child's side of starting a process: it joins the container, becomes the user, and execs the program.
//!
//! Until the exec it is our code inside the container, so it is not dumpable (the flag comes from the launcher), its
//! descriptors are closed, and it takes no name and no path from the container except as an argument of a system call.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use gdn_namespaces::{Capabilities, CapabilitySet, Namespaces, join};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::apparmor;
use super::container::Container;
use super::failure::{During, Result, encoded, failure};
use super::sidecar::Sidecar;
use super::system;
use crate::protocol::{Failure, FailureKind, Run};

/// Where programs without a slash are looked for when the environment has no PATH.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Standard streams of the child; with a terminal, the same one three times.
pub(crate) struct Stdio {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) terminal: bool,
}

/// Starts the program. Returns only when that failed.
pub(crate) fn run(
    container: &Container,
    run: &Run,
    sidecar: Option<&Sidecar>,
    stdio: &Stdio,
    errors: &OwnedFd,
) -> ! {
    let failure = match start(container, run, sidecar, stdio, errors) {
        Ok(failure) | Err(failure) => failure,
    };
    // The pipe holds 64 KiB; a failure is shorter, so this never blocks. If the keeper is gone, nobody wants to know.
    let _ = rustix::io::write(errors, &encoded(failure));
    system::exit_now(127)
}

/// Every step up to the exec; whatever comes back is why there is no program.
fn start(
    container: &Container,
    run: &Run,
    sidecar: Option<&Sidecar>,
    stdio: &Stdio,
    errors: &OwnedFd,
) -> Result<Failure> {
    apparmor::at_exec(container.built.as_ref().map_or("", |built| &built.apparmor))?;
    join_cgroups(&container.tasks)?;
    // Its own come second: where it has none, it stays in the container's.
    join_cgroups(sidecar.map_or(&[], |sidecar| &sidecar.tasks))?;
    place_streams(stdio).during(FailureKind::Exhausted, || "place the standard streams".into())?;
    let (files, others) = limit_of_files(&run.rlimits);
    set_limits(&others)?;
    if let Some(files) = files {
        // Only the host's root can raise it, and a sidecar's root file system is made of many files first.
        system::allow_files(files);
    }
    match sidecar {
        Some(sidecar) => sidecar.enter(container)?,
        None => enter_container(container)?,
    }
    // From here on paths of the container are followed, and some lead to descriptors (/proc/self/fd/7/..): none that is a
    // directory of the host may be left (CVE-2024-21626).
    system::close_from_but(3, errors.as_fd()).during(FailureKind::Internal, || "close descriptors".into())?;
    // Now that no new descriptor is needed: the limit may be lower than the numbers that the keeper uses.
    match files {
        Some(files) => set_limits(&[libc::RLIMIT_NOFILE.into(), files])?,
        None => system::restore_file_limit()
            .during(FailureKind::Internal, || "restore the limit of open files".into())?,
    }
    lead_session(stdio.terminal)?;
    become_user(container, run)?;
    Ok(execute(run))
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
fn enter_container(container: &Container) -> Result<()> {
    let shared =
        Namespaces::MOUNT | Namespaces::NETWORK | Namespaces::IPC | Namespaces::UTS | Namespaces::CGROUP;
    let all = if container.privileged { shared } else { shared | Namespaces::USER };
    join(container.pidfd.as_fd(), all).during(FailureKind::NotRunning, || "join the container".into())
}

/// The last limit of open files among these, and the others.
fn limit_of_files(limits: &[u64]) -> (Option<u64>, Vec<u64>) {
    let is_of_files = |limit: &&[u64]| limit[0] == u64::from(libc::RLIMIT_NOFILE);
    let files = limits.chunks_exact(2).filter(is_of_files).map(|limit| limit[1]).next_back();
    (files, limits.chunks_exact(2).filter(|limit| !is_of_files(limit)).flatten().copied().collect())
}

/// Raises limits as far as the host's root may.
pub(crate) fn set_limits(limits: &[u64]) -> Result<()> {
    for limit in limits.chunks_exact(2) {
        let resource = u32::try_from(limit[0]).unwrap_or(u32::MAX);
        system::set_limit(resource, limit[1])
            .during(FailureKind::BadRequest, || format!("set resource limit {resource} to {}", limit[1]))?;
    }
    Ok(())
}

/// Puts the standard streams at 0, 1 and 2, where the keeper has its null device; everything else is closed at exec.
fn place_streams(stdio: &Stdio) -> std::io::Result<()> {
    for (number, fd) in (0..).zip([&stdio.stdin, &stdio.stdout, &stdio.stderr]) {
        system::place(rustix::io::fcntl_dupfd_cloexec(fd, 3)?, number)?;
    }
    system::close_from_at_exec(3)
}

fn lead_session(terminal: bool) -> Result<()> {
    rustix::process::setsid().during(FailureKind::Internal, || "start a session".into())?;
    if terminal {
        let stdin = std::io::stdin();
        system::take_terminal(stdin.as_fd()).during(FailureKind::Internal, || "take the terminal".into())?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    Ok(())
}

/// Goes to the working directory, loads the seccomp program, and gives up everything the user must not have.
fn become_user(container: &Container, run: &Run) -> Result<()> {
    let during = || format!("become user {}:{}", run.uid, run.gid);
    let capabilities =
        Capabilities { bounding: CapabilitySet(run.bounding), inheritable: CapabilitySet(run.inheritable) };
    // Root of the container makes the directory; its owner is the user.
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
        .during(FailureKind::Internal, during)?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)
        .during(FailureKind::Internal, during)?;
    go_to(&run.dir, run.uid, run.gid)?;
    capabilities.limit_bounding().during(FailureKind::Internal, during)?;
    if run.no_new_privileges {
        rustix::thread::set_no_new_privs(true).during(FailureKind::Internal, during)?;
    }
    if let Some(built) = &container.built {
        built.filter.load().during(FailureKind::Internal, || "load the seccomp program".into())?;
    }
    capabilities.inherit().during(FailureKind::Internal, during)?;
    system::become_user(run.uid, run.gid, &run.groups).during(FailureKind::BadRequest, during)?;
    capabilities.apply(run.uid).during(FailureKind::Internal, during)?;
    // Becoming another user has set the flag to the host's fs.suid_dumpable.
    system::set_not_dumpable().during(FailureKind::Internal, during)?;
    system::reset_signals();
    Ok(())
}

/// Changes to the working directory, making what is missing of it as the user's.
pub(crate) fn go_to(dir: &[u8], uid: u32, gid: u32) -> Result<()> {
    let dir = Path::new(std::ffi::OsStr::from_bytes(if dir.is_empty() { b"/" } else { dir }));
    let during = || format!("use {} as the working directory", dir.display());
    if !dir.is_absolute() {
        return Err(failure(
            FailureKind::WorkingDirectory,
            format!("{}: it is not an absolute path", during()),
        ));
    }
    match rustix::process::chdir(dir) {
        Err(Errno::NOENT) => {
            make_missing(dir, uid, gid).during(FailureKind::WorkingDirectory, during)?;
            rustix::process::chdir(dir).during(FailureKind::WorkingDirectory, during)?;
        }
        other => other.during(FailureKind::WorkingDirectory, during)?,
    }
    stay_inside(FailureKind::WorkingDirectory, during)
}

/// A directory outside the root (through a magic link of procfs) has no path inside (CVE-2024-21626).
fn stay_inside(kind: FailureKind, during: impl Fn() -> String) -> Result<()> {
    let here = rustix::process::getcwd(Vec::new()).during(kind, &during)?;
    if here.to_bytes().first() != Some(&b'/') {
        return Err(failure(kind, format!("{}: it is outside the container's root", during())));
    }
    Ok(())
}

/// Makes the missing directories of a path, owned by the user.
pub(crate) fn make_missing(dir: &Path, uid: u32, gid: u32) -> std::io::Result<()> {
    let mut walked = PathBuf::new();
    for component in dir.components() {
        walked.push(component);
        if matches!(component, Component::RootDir | Component::CurDir | Component::ParentDir) {
            continue;
        }
        match rustix::fs::mkdir(&walked, Mode::from_raw_mode(0o755)) {
            Ok(()) => rustix::fs::chown(&walked, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Finds the program by the process's own PATH and becomes it. Returns why it could not.
fn execute(run: &Run) -> Failure {
    let strings = |list: &[Vec<u8>]| {
        list.iter().map(|bytes| CString::new(bytes.clone())).collect::<Result<Vec<_>, _>>()
    };
    let (Ok(args), Ok(env)) = (strings(&run.args), strings(&run.env)) else {
        return failure(FailureKind::BadRequest, "an argument or a variable contains a NUL byte");
    };
    let Some(program) = args.first() else {
        return failure(FailureKind::BadRequest, "no program to run");
    };
    let name = program.to_string_lossy().into_owned();
    if program.as_bytes().contains(&b'/') {
        return match system::execute(program, &args, &env).raw_os_error().unwrap_or(0) {
            libc::ENOENT | libc::ENOTDIR => {
                failure(FailureKind::NoExecutable, format!("stat {name}: no such file or directory"))
            }
            errno => Failure { kind: FailureKind::NotExecutable.into(), what: format!("exec {name}"), errno },
        };
    }
    let path = run.env.iter().find_map(|entry| entry.strip_prefix(b"PATH=")).unwrap_or(DEFAULT_PATH);
    let mut denied = false;
    for directory in path.split(|byte| *byte == b':').filter(|_| !program.is_empty()) {
        let directory = if directory.is_empty() { b".".as_slice() } else { directory };
        let Ok(candidate) = CString::new([directory, b"/", program.as_bytes()].concat()) else { continue };
        match system::execute(&candidate, &args, &env).raw_os_error() {
            Some(libc::EACCES) => denied = true,
            Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG) => {}
            errno => {
                return Failure {
                    kind: FailureKind::NotExecutable.into(),
                    what: format!("exec {}", candidate.to_string_lossy()),
                    errno: errno.unwrap_or(0),
                };
            }
        }
    }
    let kind = if denied { FailureKind::NotExecutable } else { FailureKind::NoExecutable };
    failure(kind, format!("exec {name:?}: executable file not found in $PATH"))
}

/// Joins a container for other work than running a program: cgroups and namespaces; no seccomp, no session.
pub(crate) fn visit(container: &Container) -> Result<()> {
    join_cgroups(&container.tasks)?;
    enter_container(container)
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
    stay_inside(FailureKind::NoPath, || format!("go to {}", home.display()))
}

/// Borrowing a descriptor list for a message.
pub(crate) fn borrow(descriptors: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    descriptors.iter().map(AsFd::as_fd).collect()
}
