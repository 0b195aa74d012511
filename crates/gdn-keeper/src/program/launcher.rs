//! The launcher: forks keepers, one ahead of the engine's asking.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gdn_namespaces::{IdMap, Namespaces, Spawned, spawn};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::failure::{During, Result, failure};
use super::keeper::{Keeper, Readiness};
use super::system;
use crate::protocol::{Body, Call, FailureKind, Launch, Message, Reply, Request};
use crate::wire;

/// `garden-init`, compiled by the build script.
const GARDEN_INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/garden-init"));

/// How long the engine has to be quiet before the next keeper is forked ahead: about as long as a create takes, so that the
/// two do not compete for the processors.
const QUIET: Timespec = Timespec { tv_sec: 0, tv_nsec: 3_000_000 };

/// A keeper that does not know yet for whom. It ends when its socket hangs up.
struct Spare {
    pid: u32,
    socket: OwnedFd,
}

/// Serves the engine on standard input until it hangs up. Returns the exit status.
pub(crate) fn run() -> i32 {
    system::set_name(c"gdn-launcher");
    system::default_signals();
    system::ignore_children();
    if let Err(error) = system::forget_starter() {
        // Not worth refusing to work: containers then run at the engine's own priority.
        eprintln!("gdn-launcher: cannot take the priorities of a fresh process: {error}");
    }
    // Whatever the engine's starter left open: a keeper would hold it for as long as its container lives.
    let prepared = system::close_from(3)
        .and_then(|()| system::set_not_dumpable())
        .and_then(|()| system::sealed_program("garden-init", GARDEN_INIT));
    let init = match prepared {
        Ok(init) => init,
        Err(error) => {
            eprintln!("gdn-launcher: cannot start: {error}");
            return 1;
        }
    };
    let engine = std::io::stdin();
    let mut spare = None;
    // Until it asks for anything the engine may still be moving us to the cgroups in which keepers are to be born.
    let mut settled = false;
    loop {
        if settled && spare.is_none() && is_quiet(engine.as_fd()) {
            // Without one the next launch tries again, and says what is wrong.
            spare = fork_keeper(&init).ok();
        }
        match wire::receive::<Request>(engine.as_fd()) {
            Ok(Some((request, descriptors))) => {
                answer(engine.as_fd(), &init, &mut spare, &request, descriptors);
                settled = true;
            }
            // The engine is gone; the keepers stay.
            Ok(None) => return 0,
            Err(error) => {
                eprintln!("gdn-launcher: cannot go on: {error}");
                return 1;
            }
        }
    }
}

/// Whether the engine asks for nothing for a while.
fn is_quiet(engine: BorrowedFd<'_>) -> bool {
    matches!(poll(&mut [PollFd::from_borrowed_fd(engine, PollFlags::IN)], Some(&QUIET)), Ok(0))
}

fn answer(
    engine: BorrowedFd<'_>,
    init: &OwnedFd,
    spare: &mut Option<Spare>,
    request: &Request,
    descriptors: Vec<OwnedFd>,
) {
    let outcome = match &request.call {
        Some(Call::Launch(_)) => launch(init, spare, &descriptors).map(|pid| (pid, None)),
        Some(Call::UserNamespace(wanted)) => {
            user_namespace(&wanted.map).map(|namespace| (0, Some(namespace)))
        }
        _ => Err(failure(FailureKind::BadRequest, "a call that launchers do not know")),
    };
    let (reply, descriptor) = match outcome {
        Ok((pid, descriptor)) => (Reply { id: request.id, pid, ..Reply::default() }, descriptor),
        Err(failure) => (Reply { id: request.id, failure: Some(failure), ..Reply::default() }, None),
    };
    let message = Message { body: Some(Body::Reply(reply)) };
    let descriptors: Vec<_> = descriptor.iter().map(AsFd::as_fd).collect();
    // A send fails when the engine is gone; the next receive then ends the launcher.
    let _ = wire::send(engine, &message, &descriptors);
}

/// Gives a keeper its container: the one that waits, or a new one.
fn launch(init: &OwnedFd, spare: &mut Option<Spare>, descriptors: &[OwnedFd]) -> Result<u32> {
    if !(2..=3).contains(&descriptors.len()) {
        let what = "launch needs a listening socket and an exit log";
        return Err(failure(FailureKind::BadRequest, what));
    }
    // One that was killed meanwhile is no use.
    if let Some(pid) = spare.take().and_then(|spare| assign(&spare, descriptors).ok()) {
        return Ok(pid);
    }
    assign(&fork_keeper(init)?, descriptors)
}

fn assign(keeper: &Spare, descriptors: &[OwnedFd]) -> Result<u32> {
    let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    let request = Request { id: 0, call: Some(Call::Launch(Launch {})) };
    wire::send(keeper.socket.as_fd(), &request, &descriptors)
        .during(FailureKind::Internal, || "reach a keeper".into())?;
    Ok(keeper.pid)
}

/// Forks a keeper that waits for its container. The child never returns.
fn fork_keeper(init: &OwnedFd) -> Result<Spare> {
    let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .during(FailureKind::Exhausted, || "connect to a keeper".into())?;
    // SAFETY: the launcher is single-threaded.
    #[allow(unsafe_code, reason = "forking is what the launcher is for")]
    let spawned =
        unsafe { spawn(Namespaces::NONE, None) }.during(FailureKind::Exhausted, || "fork a keeper".into())?;
    match spawned {
        Spawned::Parent { pid, .. } => Ok(Spare { pid, socket }),
        Spawned::Child => {
            drop(socket);
            system::exit_now(wait_for_container(theirs, init).unwrap_or(1))
        }
    }
}

/// What the fork does: gets ready, and serves as a keeper once it is given a container.
fn wait_for_container(launcher: OwnedFd, init: &OwnedFd) -> std::io::Result<i32> {
    let ready = Readiness::reach(init.try_clone()?)?;
    let Some((_, descriptors)) = wire::receive::<Request>(launcher.as_fd())? else { return Ok(0) };
    drop(launcher);
    let mut descriptors = descriptors.into_iter();
    let (Some(listener), Some(exits)) = (descriptors.next(), descriptors.next()) else { return Ok(1) };
    Ok(Keeper::new(ready, listener, exits, descriptors.next())?.serve())
}

/// Makes a user namespace by a child that lives only as long as it takes to open it.
fn user_namespace(map: &[u32]) -> Result<OwnedFd> {
    let map = IdMap::from_triples(map)
        .ok_or_else(|| failure(FailureKind::BadRequest, "an id map is not made of triples"))?;
    // SAFETY: the launcher is single-threaded.
    #[allow(unsafe_code, reason = "forking is what the launcher is for")]
    let spawned = unsafe { spawn(Namespaces::USER, None) }
        .during(FailureKind::Exhausted, || "make a user namespace".into())?;
    match spawned {
        Spawned::Child => {
            let _ = system::die_with_parent();
            system::sleep_for_ever()
        }
        Spawned::Parent { pid, pidfd } => {
            let namespace =
                map.write(pid).during(FailureKind::Internal, || "write the id map".into()).and_then(|()| {
                    std::fs::File::open(format!("/proc/{pid}/ns/user"))
                        .during(FailureKind::Internal, || "open the user namespace".into())
                });
            gdn_namespaces::pidfd_signal(pidfd.as_fd(), libc::SIGKILL)
                .during(FailureKind::Internal, || "end the namespace's first process".into())?;
            Ok(namespace?.into())
        }
    }
}
