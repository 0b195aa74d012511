//! Processes that outlived the server that made them; this process is their parent now.

use std::io;

use crate::trace;

/// Reaps those that have ended, and answers the others by pid and name. Right only while this process waits for no child
/// of its own.
pub(crate) fn living() -> io::Result<Vec<String>> {
    Ok(children()?.into_iter().map(|(pid, name)| format!("{pid} {name}")).collect())
}

/// Ends those that live.
pub(crate) fn kill() -> io::Result<()> {
    children()?.into_iter().try_for_each(|(pid, _)| trace::kill(pid))
}

fn children() -> io::Result<Vec<(u32, String)>> {
    let own = std::process::id().to_string();
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // proc(5): pid (name) state parent ...
        let Some((before, after)) = stat.rsplit_once(") ") else { continue };
        if after.split(' ').nth(1) == Some(own.as_str()) && trace::lives(pid) {
            let name = before.split_once(" (").map_or(before, |(_, name)| name);
            children.push((pid, name.to_owned()));
        }
    }
    Ok(children)
}
