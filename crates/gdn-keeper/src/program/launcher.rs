//! The launcher: forks keepers when the engine asks.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gdn_namespaces::{IdMap, Namespaces, Spawned, spawn};

use super::failure::{During, Result, failure};
use super::keeper::Keeper;
use super::system;
use crate::protocol::{Body, Call, FailureKind, Message, Reply, Request};
use crate::wire;

/// `garden-init`, compiled by the build script.
const GARDEN_INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/garden-init"));

/// Serves the engine on standard input until it hangs up. Returns the exit status.
pub(crate) fn run() -> i32 {
    system::set_name(c"gdn-launcher");
    system::default_signals();
    system::ignore_children();
    let prepared =
        system::set_not_dumpable().and_then(|()| system::sealed_program("garden-init", GARDEN_INIT));
    let init = match prepared {
        Ok(init) => init,
        Err(error) => {
            eprintln!("gdn-launcher: cannot start: {error}");
            return 1;
        }
    };
    let engine = std::io::stdin();
    loop {
        match wire::receive::<Request>(engine.as_fd()) {
            Ok(Some((request, descriptors))) => answer(engine.as_fd(), &init, &request, descriptors),
            // The engine is gone; the keepers stay.
            Ok(None) => return 0,
            Err(error) => {
                eprintln!("gdn-launcher: cannot go on: {error}");
                return 1;
            }
        }
    }
}

fn answer(engine: BorrowedFd<'_>, init: &OwnedFd, request: &Request, descriptors: Vec<OwnedFd>) {
    let outcome = match &request.call {
        Some(Call::Launch(_)) => launch(init, descriptors).map(|pid| (pid, None)),
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

/// Forks a keeper. The child never returns.
fn launch(init: &OwnedFd, descriptors: Vec<OwnedFd>) -> Result<u32> {
    let [listener, exits]: [OwnedFd; 2] = descriptors
        .try_into()
        .map_err(|_| failure(FailureKind::BadRequest, "launch needs a listening socket and an exit log"))?;
    // SAFETY: the launcher is single-threaded.
    #[allow(unsafe_code, reason = "forking is what the launcher is for")]
    let spawned =
        unsafe { spawn(Namespaces::NONE, None) }.during(FailureKind::Exhausted, || "fork a keeper".into())?;
    match spawned {
        Spawned::Parent { pid, .. } => Ok(pid),
        Spawned::Child => {
            let status = match init.try_clone().and_then(|init| Keeper::new(listener, exits, init)) {
                Ok(mut keeper) => keeper.serve(),
                Err(_) => 1,
            };
            system::exit_now(status)
        }
    }
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
