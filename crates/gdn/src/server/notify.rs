//! Tells the service manager how the server is (sd_notify(3)), without its library.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use anyhow::Context;

/// The server answers.
pub(crate) const READY: &str = "READY=1";
/// The server begins to stop.
pub(crate) const STOPPING: &str = "STOPPING=1";

/// Sends one line to the service manager; nothing when there is none.
pub(crate) fn tell(line: &str) -> anyhow::Result<()> {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
        return Ok(());
    };
    send(name.as_bytes(), line)
        .with_context(|| format!("cannot tell the service manager at {name:?} {line:?}"))
}

/// A name that begins with `@` is in the abstract name space.
fn send(name: &[u8], line: &str) -> std::io::Result<()> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    UnixDatagram::unbound()?.send_to_addr(line.as_bytes(), &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_arrives_at_a_path_and_at_an_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("n");
        let abstract_name = format!("gdn-notify-test-{}", std::process::id());
        let receivers = [
            (path.to_str().unwrap().to_owned(), UnixDatagram::bind(&path).unwrap()),
            (
                format!("@{abstract_name}"),
                UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&abstract_name).unwrap()).unwrap(),
            ),
        ];
        for (name, receiver) in receivers {
            send(name.as_bytes(), READY).unwrap();
            let mut buffer = [0; 32];
            let read = receiver.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..read], READY.as_bytes(), "{name}");
        }
    }
}
