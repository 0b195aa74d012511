//! What a process inherits.

use std::fs;

use crate::system::{become_command, checked};

/// What `getpriority` and its like call this process.
const SELF: libc::id_t = 0;

/// `identity`: prints a line for each thing that a process gets from whoever started it.
pub(crate) fn show() -> Result<u8, String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let status = read("/proc/self/status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.unwrap_or("missing").to_owned()
    };
    println!("oom_score_adj {}", read("/proc/self/oom_score_adj")?.trim());
    // SAFETY: numbers only, in this block as in the next.
    println!("nice {}", unsafe { libc::getpriority(libc::PRIO_PROCESS, SELF) });
    // SAFETY: as above.
    println!("personality {:x}", unsafe { libc::personality(0xffff_ffff) });
    // SAFETY: as above; the mask is put back.
    let umask = unsafe {
        let umask = libc::umask(0);
        libc::umask(umask);
        umask
    };
    println!("umask {umask:03o}");
    // SAFETY: numbers only.
    println!("dumpable {}", unsafe { libc::prctl(libc::PR_GET_DUMPABLE) });
    let mut signal = 0;
    // SAFETY: a place for one int.
    checked("prctl", unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal) })?;
    println!("parent_death {signal}");
    println!("blocked {}", field("SigBlk"));
    // Rust's own start ignores SIGPIPE.
    println!(
        "ignored {:x}",
        u64::from_str_radix(&field("SigIgn"), 16).map_err(|e| e.to_string())? & !(1 << 12)
    );
    // SAFETY: numbers only.
    println!("policy {}", unsafe { libc::sched_getscheduler(0) });
    println!("terminal {}", fs::File::open("/dev/tty").is_ok());
    let mut files: Vec<String> = Vec::new();
    for number in 3..1024 {
        // SAFETY: asks for a flag of a descriptor that may not exist.
        if unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0 {
            files.push(number.to_string());
        }
    }
    println!("descriptors {}", files.join(","));
    let limits = read("/proc/self/limits")?;
    let soft = |line: &str| limits.lines().find(|l| l.starts_with(line)).map(|l| l[26..].trim().to_owned());
    println!(
        "file_size {}",
        soft("Max file size").unwrap_or_default().split_whitespace().next().unwrap_or("")
    );
    Ok(0)
}

/// `odd COMMAND...`: becomes the command after changing everything that it would inherit.
pub(crate) fn odd(command: &[&str]) -> Result<u8, String> {
    fs::write("/proc/self/oom_score_adj", "500").map_err(|error| format!("oom_score_adj: {error}"))?;
    let limit = libc::rlimit { rlim_cur: 1 << 30, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: numbers, a limit and a set of signals that live through the calls.
    unsafe {
        checked("setpriority", libc::setpriority(libc::PRIO_PROCESS, SELF, 5))?;
        libc::personality(0x0004_0000);
        libc::umask(0);
        checked("prctl", libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGUSR2))?;
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        let mut signals = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGUSR1);
        checked("sigprocmask", libc::sigprocmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut()))?;
        let batch = libc::sched_param { sched_priority: 0 };
        checked("sched_setscheduler", libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const batch))?;
        checked("setrlimit", libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit))?;
        let file = checked("open", libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY))?;
        checked("dup2", libc::dup2(file as i32, 333))?;
    }
    become_command(command)
}
