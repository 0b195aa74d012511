//! What the host itself must do: pass packets on.

use std::fs;
use std::io;
use std::path::Path;

use gdn_types::{Error, ErrorKind, Result};

const SETTINGS: &str = "/proc/sys/net";

/// Lets the host pass packets on between its links.
pub(crate) fn forward_packets(six: bool) -> Result<()> {
    switch_on(&Path::new(SETTINGS).join("ipv4/ip_forward"))?;
    if six {
        keep_default_routes()?;
        switch_on(&Path::new(SETTINGS).join("ipv6/conf/all/forwarding"))?;
    }
    Ok(())
}

/// A host that forwards IPv6 no longer listens to routers, unless it is told to: links that did go on doing so.
fn keep_default_routes() -> Result<()> {
    let directory = Path::new(SETTINGS).join("ipv6/conf");
    let entries = fs::read_dir(&directory).map_err(|error| failed(&directory, error))?;
    for entry in entries.flatten().filter(|entry| entry.file_name() != "all") {
        let path = entry.path().join("accept_ra");
        match fs::read_to_string(&path) {
            Ok(text) if text.trim() == "1" => fs::write(&path, "2").map_err(|error| failed(&path, error))?,
            Ok(_) => {}
            // A link that went away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&path, error)),
        }
    }
    Ok(())
}

/// Nobody at the other end of a link becomes the host's router by saying so. New links have the host's default, which may be to
/// listen.
pub(crate) fn ignore_routers(link: &str) -> Result<()> {
    set_for_link(link, "accept_ra", "0")
}

/// The host has no IPv6 on a link. Otherwise the kernel keeps a route for multicast on each, all of them in one list that it
/// goes through for every link that comes.
pub(crate) fn refuse_ipv6(link: &str) -> Result<()> {
    set_for_link(link, "disable_ipv6", "1")
}

fn set_for_link(link: &str, setting: &str, value: &str) -> Result<()> {
    let path = Path::new(SETTINGS).join("ipv6/conf").join(link).join(setting);
    match fs::write(&path, value) {
        // A host without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::caused(
            ErrorKind::Internal,
            format!("keep what a container says by IPv6 from the host: {}", path.display()),
            error,
        )),
        Ok(()) => Ok(()),
    }
}

fn switch_on(path: &Path) -> Result<()> {
    let now = fs::read_to_string(path).map_err(|error| failed(path, error))?;
    if now.trim() == "1" {
        return Ok(());
    }
    fs::write(path, "1").map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::caused(
        ErrorKind::FailedPrecondition,
        format!("let the host forward packets: {}", path.display()),
        error,
    )
}
