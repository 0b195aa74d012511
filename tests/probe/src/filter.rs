//! The system call filters of another process, as the kernel has them.

use std::ptr;

use crate::system::checked;

/// `ptrace` request that copies a filter (`linux/ptrace.h`).
const GET_FILTER: libc::c_uint = 0x420c;
/// The kernel's bound on the instructions of one filter (`BPF_MAXINSNS`).
const MOST: usize = 4096;

/// `filter PID`: prints the instructions of each filter of a process, one a line (code, jumps, operand), an empty line
/// between two filters.
pub(crate) fn show(pid: &str) -> Result<u8, String> {
    let pid: libc::pid_t = pid.parse().map_err(|error| format!("{pid}: {error}"))?;
    trace(libc::PTRACE_SEIZE, pid, 0, ptr::null_mut())?;
    trace(libc::PTRACE_INTERRUPT, pid, 0, ptr::null_mut())?;
    let mut status = 0;
    // SAFETY: a place for one int.
    checked("waitpid", unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) })?;
    let mut index = 0;
    loop {
        let mut filter = [libc::sock_filter { code: 0, jt: 0, jf: 0, k: 0 }; MOST];
        let count = match trace(GET_FILTER, pid, index, filter.as_mut_ptr().cast()) {
            Ok(count) => count as usize,
            // There are no more, or none at all.
            Err(_) if matches!(last_errno(), Some(libc::ENOENT | libc::EINVAL)) => break,
            Err(error) => return Err(error),
        };
        for instruction in &filter[..count] {
            println!("{} {} {} {}", instruction.code, instruction.jt, instruction.jf, instruction.k);
        }
        println!();
        index += 1;
    }
    trace(libc::PTRACE_DETACH, pid, 0, ptr::null_mut())?;
    Ok(0)
}

fn last_errno() -> Option<i32> {
    std::io::Error::last_os_error().raw_os_error()
}

fn trace(
    request: libc::c_uint,
    pid: libc::pid_t,
    address: usize,
    data: *mut libc::c_void,
) -> Result<i64, String> {
    // SAFETY: the requests used here write to data at most MOST instructions, which is what it points to, or nothing.
    checked(&format!("ptrace {request:#x} {pid}"), unsafe { libc::ptrace(request, pid, address, data) })
}
