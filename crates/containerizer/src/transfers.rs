//! StreamIn and StreamOut: tars in and out of a container, made and taken apart by a child of its keeper.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use gdn_launcher::protocol::{Call, Transfer};
use gdn_traits::StreamOut;
use gdn_types::{Error, Result};

use crate::container::Container;
use crate::failures;
use crate::users::User;

/// Extracts the tar below `path`, as the user.
pub(crate) async fn stream_in(container: &Container, user: User, path: &str, source: OwnedFd) -> Result<()> {
    let call = Call::Transfer(transfer(user, path, false)?);
    container.keeper.call(call, &[source.as_fd()]).await.map(drop).map_err(failures::keeper)
}

/// Makes a tar of `path`, as the user.
pub(crate) fn stream_out(container: Arc<Container>, user: User, path: &str) -> Result<StreamOut> {
    let call = Call::Transfer(transfer(user, path, true)?);
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|errno| failures::os("make a pipe for the tar")(errno.into()))?;
    // The copy runs whether or not anybody waits for its outcome; our write end closes with it, so that the reader sees the
    // end only when the outcome is known.
    let copy = tokio::spawn(async move {
        let outcome = container.keeper.call(call, &[write.as_fd()]).await;
        drop(write);
        outcome.map(drop).map_err(failures::keeper)
    });
    let done = async move { copy.await.map_err(|error| failures::joined(&error))? };
    Ok(StreamOut { tar: read, done: Box::pin(done) })
}

fn transfer(user: User, path: &str, out: bool) -> Result<Transfer> {
    if path.contains('\0') || path.len() >= 4096 {
        return Err(Error::invalid("the path contains a NUL byte or is longer than 4095 bytes"));
    }
    Ok(Transfer {
        out,
        path: if path.is_empty() { b".".to_vec() } else { path.as_bytes().to_vec() },
        home: user.home.into_bytes(),
        uid: user.uid,
        gid: user.gid,
        groups: user.groups,
    })
}
