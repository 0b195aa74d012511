//! Processes, zombies included, and the namespaces that they hold.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::objects::unless_gone;
use super::scope::Scope;

type Found = BTreeMap<String, String>;

/// Namespace types as `/proc/PID/ns` names them.
const NAMESPACES: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

/// Processes by pid, start time and program name; threads are not listed, and neither is the caller.
pub(super) fn processes(scope: &Scope) -> io::Result<Found> {
    let mut found = Found::new();
    for process in all()? {
        if process.is_in(scope) {
            let name = format!("{} started {} {}", process.pid, process.start, process.comm);
            found.insert(
                name,
                format!("state {}, parent {}, {}", process.state, process.parent, process.command_line),
            );
        }
    }
    Ok(found)
}

/// Namespaces other than the caller's, held by a process in the scope as its own or by a descriptor.
pub(super) fn namespaces(scope: &Scope) -> io::Result<Found> {
    let own: Vec<u64> =
        NAMESPACES.iter().filter_map(|name| inode(&PathBuf::from(format!("/proc/self/ns/{name}")))).collect();
    let mut found = Found::new();
    for process in all()?.into_iter().filter(|process| process.is_in(scope)) {
        let directory = PathBuf::from(format!("/proc/{}", process.pid));
        let entered = NAMESPACES
            .iter()
            .filter_map(|name| Some((name.to_string(), inode(&directory.join("ns").join(name))?)));
        for (name, inode) in entered.chain(opened(&directory)).filter(|(_, inode)| !own.contains(inode)) {
            found
                .entry(format!("{name} {inode}"))
                .or_insert_with(|| format!("held by {} {}", process.pid, process.comm));
        }
    }
    Ok(found)
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|metadata| metadata.ino())
}

/// Namespaces open in a process: descriptors that read as `net:[4026531840]`.
fn opened(process: &Path) -> Vec<(String, u64)> {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return Vec::new() };
    let parse = |target: PathBuf| {
        let text = target.to_str()?;
        let (name, rest) = text.split_once(":[")?;
        NAMESPACES.contains(&name).then_some((name.to_owned(), rest.strip_suffix(']')?.parse().ok()?))
    };
    descriptors.flatten().filter_map(|entry| parse(fs::read_link(entry.path()).ok()?)).collect()
}

struct Process {
    pid: u32,
    start: u64,
    parent: u32,
    state: char,
    comm: String,
    command_line: String,
}

impl Process {
    fn is_in(&self, scope: &Scope) -> bool {
        let directory = PathBuf::from(format!("/proc/{}", self.pid));
        let link = |name: &str| fs::read_link(directory.join(name)).map(|path| path.display().to_string());
        let paths =
            || ["exe", "cwd", "root"].iter().any(|name| link(name).is_ok_and(|path| scope.names(&path)));
        scope.names_program(&self.comm)
            || fs::read_to_string(directory.join("cgroup")).is_ok_and(|text| scope.names(&text))
            || (scope.trusts_paths() && (scope.names(&self.command_line) || paths()))
    }
}

fn all() -> io::Result<Vec<Process>> {
    let own = std::process::id();
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if pid != own {
            processes.extend(read(pid)?);
        }
    }
    Ok(processes)
}

/// Reads `/proc/PID/stat`; `None` when the process is gone, or is a thread of the kernel, which no engine leaks.
fn read(pid: u32) -> io::Result<Option<Process>> {
    const KERNEL_THREADS: u32 = 2;
    let Some(stat) = unless_gone(fs::read(format!("/proc/{pid}/stat")))? else { return Ok(None) };
    let stat = String::from_utf8_lossy(&stat);
    let unknown = || io::Error::other(format!("/proc/{pid}/stat has an unknown form: {stat}"));
    // The program's name is in brackets and may itself hold brackets and blanks, so the last bracket ends it.
    let (before, after) = stat.rsplit_once(") ").ok_or_else(unknown)?;
    let comm = before.split_once(" (").ok_or_else(unknown)?.1.to_owned();
    let fields: Vec<&str> = after.split(' ').collect();
    // proc(5): state is field 3, the parent field 4, the start time field 22.
    let field = |number: usize| fields.get(number - 3).copied().ok_or_else(unknown);
    let parent = field(4)?.parse().map_err(|_| unknown())?;
    if pid == KERNEL_THREADS || parent == KERNEL_THREADS {
        return Ok(None);
    }
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    Ok(Some(Process {
        pid,
        start: field(22)?.parse().map_err(|_| unknown())?,
        parent,
        state: field(3)?.chars().next().ok_or_else(unknown)?,
        comm,
        command_line: String::from_utf8_lossy(&command_line).replace('\0', " ").trim_end().to_owned(),
    }))
}
