//! How many clients are connected to this process's own socket.
//!
//! Asked only at the end of an embedded engine, so reading the kernel's table is cheap enough; it counts every client,
//! whatever it does.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

/// The state of a connected socket in `/proc/net/unix` (SS_CONNECTED).
const CONNECTED: &str = "03";

/// Counts this process's ends of connections that were made to a socket of this file name.
pub(crate) fn connected(socket: &Path) -> io::Result<usize> {
    let name = socket.file_name().unwrap_or_default().to_string_lossy();
    let own = own_sockets()?;
    let table = fs::read_to_string("/proc/net/unix")?;
    Ok(table.lines().filter_map(|line| accepted(line, &name)).filter(|inode| own.contains(inode)).count())
}

/// The inode of a connection that was accepted on a socket of this file name. The socket itself listens and is not connected;
/// the client's end has no name.
fn accepted(line: &str, name: &str) -> Option<u64> {
    // Num: RefCount Protocol Flags Type State Inode Path
    let fields: Vec<_> = line.split_whitespace().collect();
    let (state, inode, path) = (fields.get(5)?, fields.get(6)?, fields.get(7)?);
    let ours = *state == CONNECTED && path.rsplit('/').next() == Some(name);
    ours.then(|| inode.parse().ok()).flatten()
}

/// The inodes of the sockets this process holds.
fn own_sockets() -> io::Result<HashSet<u64>> {
    let mut inodes = HashSet::new();
    for descriptor in fs::read_dir("/proc/self/fd")? {
        // A descriptor may be closed between the listing and the look.
        let Ok(link) = fs::read_link(descriptor?.path()) else { continue };
        let inode: Option<u64> =
            link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        inodes.extend(inode);
    }
    Ok(inodes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn accepted_connections_are_counted_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("count-me.sock");
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(connected(&path).unwrap(), 0);
        let client = UnixStream::connect(&path).unwrap();
        let accepted = listener.accept().unwrap();
        assert_eq!(connected(&path).unwrap(), 1);
        assert_eq!(connected(Path::new("/other.sock")).unwrap(), 0);
        drop(accepted);
        drop(client);
        assert_eq!(connected(&path).unwrap(), 0);
    }
}
