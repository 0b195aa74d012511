//! Processes that outlived the server that made them; this process is their parent now.

use std::io;

use crate::trace;

/// Reaps those that have ended, and answers the others by pid and name. Right only while this process waits for no child
/// of its own.
pub(crate) fn living() -> io::Result<Vec<String>> {
    let own = std::process::id().to_string();
    let mut living = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // proc(5): pid (name) state parent ...
        let Some((before, after)) = stat.rsplit_once(") ") else { continue };
        if after.split(' ').nth(1) == Some(own.as_str()) && trace::lives(pid) {
            living.push(before.replace('(', "").to_owned());
        }
    }
    Ok(living)
}
