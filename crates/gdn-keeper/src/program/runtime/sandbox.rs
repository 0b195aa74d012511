//! The namespaces that exist before a runtime makes a container: the network is set up in them meanwhile.

use std::os::fd::OwnedFd;

use gdn_namespaces::{Namespaces, Spawned, spawn};

use crate::program::container::Container;
use crate::program::failure::{During, Result, encoded, failure};
use crate::program::system;
use crate::protocol::{Failure, FailureKind, Sandbox};

/// Forks a process into a network namespace of its own that belongs to a user namespace of its own (unless privileged). It
/// holds both until the container's init does.
pub(crate) fn sandbox(sandbox: &Sandbox, mut descriptors: Vec<OwnedFd>) -> Result<Container> {
    // Runtimes leave their processes to the next ancestor that takes them.
    system::adopt_orphans().during(FailureKind::Internal, || "become a parent of orphans".into())?;
    let pipe = || {
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .during(FailureKind::Exhausted, || "make a pipe".into())
    };
    let ((life, our_life), (said, says)) = (pipe()?, pipe()?);
    let own = if sandbox.privileged { Namespaces::NETWORK } else { Namespaces::NETWORK | Namespaces::USER };
    // SAFETY: the keeper is single-threaded.
    #[allow(unsafe_code, reason = "forking is what the keeper is for")]
    let spawned = unsafe { spawn(own, None) }
        .during(FailureKind::Exhausted, || "make the container's namespaces".into())?;
    match spawned {
        Spawned::Child => hold(life, our_life, says),
        Spawned::Parent { pid, pidfd } => {
            drop((life, says));
            // Its loopback interface is up once it closes its end; that takes microseconds.
            let mut failed = vec![0; 8192];
            let heard = rustix::io::retry_on_intr(|| rustix::io::read(&said, &mut failed));
            match heard.during(FailureKind::Internal, || "hear from the sandbox".into())? {
                0 => {}
                length => {
                    return Err(<Failure as prost::Message>::decode(&failed[..length])
                        .unwrap_or_else(|_| failure(FailureKind::Internal, "make the sandbox")));
                }
            }
            let mut container = Container::of_runtime((pid, pidfd), our_life, sandbox)?;
            container.unified = if sandbox.unified { descriptors.pop() } else { None };
            Ok(container)
        }
    }
}

/// The child: nothing of it runs on once the other end of `life` is closed.
fn hold(life: OwnedFd, keepers: OwnedFd, says: OwnedFd) -> ! {
    drop(keepers);
    system::set_name(c"gdn-sandbox");
    let up = system::loopback_up().during(FailureKind::Internal, || "bring the loopback interface up".into());
    if let Err(failure) = up {
        let _ = rustix::io::write(&says, &encoded(failure));
        system::exit_now(1);
    }
    // Whatever the keeper holds would be held by this one too: other containers' clients wait for ends of theirs.
    let closed =
        system::place(says, 4).and_then(|()| system::place(life, 3)).and_then(|()| system::close_from(4));
    if closed.is_err() {
        system::exit_now(1);
    }
    let life = system::placed(3);
    while matches!(rustix::io::read(&life, &mut [0]), Err(rustix::io::Errno::INTR)) {}
    system::exit_now(0)
}
