//! Reaching for what lies outside.

use crate::system::{checked, text};

/// `read-memory PID ADDRESS`: reads eight bytes of another process and prints them.
pub(crate) fn read_memory(pid: &str, address: &str) -> Result<u8, String> {
    let pid: libc::pid_t = pid.parse().map_err(|error| format!("{pid}: {error}"))?;
    let mut bytes = [0_u8; 8];
    let own = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 8 };
    let theirs = libc::iovec { iov_base: crate::calls::value(address)? as *mut _, iov_len: 8 };
    // SAFETY: one place of eight bytes here; the other is in another process, whose kernel checks it.
    let read = unsafe { libc::process_vm_readv(pid, &raw const own, 1, &raw const theirs, 1, 0) };
    checked("process_vm_readv", read as i64)?;
    println!("read {bytes:?}");
    Ok(0)
}

/// `open-by-handle PATH INODE`: opens a file by its number in the file system of a path, as "shocker" did.
pub(crate) fn open_by_handle(path: &str, inode: &str) -> Result<u8, String> {
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        inode: u32,
        generation: u32,
    }
    let path = text(path)?;
    // SAFETY: the path ends with a zero byte; the handle has the size and the form that it says (FILEID_INO32_GEN).
    unsafe {
        let mount = checked("open", libc::open(path.as_ptr(), libc::O_RDONLY))?;
        let inode = u32::try_from(crate::calls::value(inode)?).map_err(|error| error.to_string())?;
        let mut handle = Handle { bytes: 8, kind: 1, inode, generation: 0 };
        let opened =
            libc::syscall(libc::SYS_open_by_handle_at, mount as i32, &raw mut handle, libc::O_RDONLY);
        checked("open_by_handle_at", opened)?;
    }
    println!("opened");
    Ok(0)
}

/// `connect-abstract NAME`: connects to a socket of the abstract name space.
pub(crate) fn connect_abstract(name: &str) -> Result<u8, String> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixStream};
    let address = SocketAddr::from_abstract_name(name).map_err(|error| error.to_string())?;
    UnixStream::connect_addr(&address).map_err(|error| format!("connect: {error}"))?;
    println!("connected");
    Ok(0)
}
