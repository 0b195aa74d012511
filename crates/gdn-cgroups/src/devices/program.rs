//! Device rules on v2: a BPF program of type `CGROUP_DEVICE`, assembled by hand (kernel 4.15; `linux/bpf.h`).

#![allow(unsafe_code, reason = "bpf(2)")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::{DeviceKind, DeviceRule};

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_QUERY: libc::c_int = 16;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// Programs of the groups above keep their say: an access must be allowed by all.
const ALLOW_MULTI: u32 = 2;
/// Most programs one group can have attached (`BPF_CGROUP_MAX_PROGS`).
const MAX_PROGRAMS: usize = 64;

// What the context says (`struct bpf_cgroup_dev_ctx`): three 32-bit words.
const CONTEXT_ACCESS: i16 = 0;
const CONTEXT_MAJOR: i16 = 4;
const CONTEXT_MINOR: i16 = 8;
// The first word holds the kind in its lower half and the access in its upper half.
const KIND_MASK: i32 = 0xffff;
const ACCESS_SHIFT: i32 = 16;
const KIND_BLOCK: i32 = 1;
const KIND_CHARACTER: i32 = 2;
const ACCESS_MKNOD: i32 = 1;
const ACCESS_READ: i32 = 2;
const ACCESS_WRITE: i32 = 4;

// Operation codes: class, operation and source of the operand.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbf;
const MOVE_NUMBER: u8 = 0xb4;
const AND_NUMBER: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_UNLESS_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

// Registers: 0 is the result, 1 the context at entry.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 1;

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    /// Destination in the lower four bits, source in the upper four.
    registers: u8,
    offset: i16,
    number: i32,
}

const fn instruction(code: u8, to: u8, from: u8, offset: i16, number: i32) -> Instruction {
    Instruction { code, registers: to | (from << 4), offset, number }
}

/// The program: the first rule that covers an access allows it; what no rule covers is refused.
fn assemble(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut program = vec![
        instruction(LOAD_WORD, KIND, CONTEXT, CONTEXT_ACCESS, 0),
        instruction(MOVE, ACCESS, KIND, 0, 0),
        instruction(AND_NUMBER, KIND, 0, 0, KIND_MASK),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, ACCESS_SHIFT),
        instruction(LOAD_WORD, MAJOR, CONTEXT, CONTEXT_MAJOR, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, CONTEXT_MINOR, 0),
    ];
    for rule in rules {
        program.extend(one_rule(rule));
    }
    program.extend([instruction(MOVE_NUMBER, RESULT, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    program
}

/// The tests of one rule, each of which jumps behind the rule when it fails.
fn one_rule(rule: &DeviceRule) -> Vec<Instruction> {
    let kind = match rule.kind {
        DeviceKind::Block => KIND_BLOCK,
        DeviceKind::Character => KIND_CHARACTER,
    };
    let letters = [
        (rule.access.read, ACCESS_READ),
        (rule.access.write, ACCESS_WRITE),
        (rule.access.mknod, ACCESS_MKNOD),
    ];
    let allowed: i32 = letters.into_iter().filter(|(set, _)| *set).map(|(_, bit)| bit).sum();
    let mut block = vec![instruction(JUMP_UNLESS_EQUAL, KIND, 0, 0, kind)];
    // No bit that is not allowed may be asked for.
    block.push(instruction(MOVE, SCRATCH, ACCESS, 0, 0));
    block.push(instruction(AND_NUMBER, SCRATCH, 0, 0, !allowed));
    block.push(instruction(JUMP_UNLESS_EQUAL, SCRATCH, 0, 0, 0));
    for (register, number) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
        if let Some(number) = number {
            block.push(instruction(JUMP_UNLESS_EQUAL, register, 0, 0, number.cast_signed()));
        }
    }
    block.extend([instruction(MOVE_NUMBER, RESULT, 0, 0, 1), instruction(EXIT, 0, 0, 0, 0)]);
    let length = block.len();
    for (position, step) in block.iter_mut().enumerate() {
        if step.code == JUMP_UNLESS_EQUAL {
            step.offset = i16::try_from(length - position - 1).expect("a rule is at most nine instructions");
        }
    }
    block
}

/// Puts the rules in the place of those that are attached to the group; `None` allows all again. The new program is attached
/// before the old one goes, so that there is no moment without.
pub(crate) fn replace(
    group: BorrowedFd<'_>,
    rules: Option<&[DeviceRule]>,
) -> Result<(), (&'static str, Errno)> {
    let old = attached(group).map_err(|errno| ("list the device programs of", errno))?;
    if let Some(rules) = rules {
        let program = load(&assemble(rules)).map_err(|errno| ("load a device program for", errno))?;
        change(PROG_ATTACH, group, &program, ALLOW_MULTI)
            .map_err(|errno| ("attach a device program to", errno))?;
    }
    for id in old {
        let program = open(id).map_err(|errno| ("open the old device program of", errno))?;
        change(PROG_DETACH, group, &program, 0)
            .map_err(|errno| ("detach the old device program of", errno))?;
    }
    Ok(())
}

fn load(program: &[Instruction]) -> Result<OwnedFd, Errno> {
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
    }
    let mut request = Load {
        kind: PROG_TYPE_CGROUP_DEVICE,
        count: u32::try_from(program.len()).map_err(|_| Errno::TOOBIG)?,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    let fd = bpf(PROG_LOAD, &mut request)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn change(command: libc::c_int, group: BorrowedFd<'_>, program: &OwnedFd, flags: u32) -> Result<(), Errno> {
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
    }
    let mut request = Attach {
        target: group.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        kind: ATTACH_CGROUP_DEVICE,
        flags,
    };
    bpf(command, &mut request).map(drop)
}

/// The ids of the programs attached to this very group.
fn attached(group: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    #[repr(C)]
    struct Query {
        target: u32,
        kind: u32,
        query_flags: u32,
        attach_flags: u32,
        ids: u64,
        count: u32,
        padding: u32,
    }
    let mut ids = [0u32; MAX_PROGRAMS];
    let mut request = Query {
        target: group.as_raw_fd().cast_unsigned(),
        kind: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: u32::try_from(MAX_PROGRAMS).expect("64 fits"),
        padding: 0,
    };
    bpf(PROG_QUERY, &mut request)?;
    Ok(ids.into_iter().take(request.count as usize).collect())
}

fn open(id: u32) -> Result<OwnedFd, Errno> {
    #[repr(C)]
    struct GetFd {
        id: u32,
        next: u32,
        flags: u32,
    }
    let fd = bpf(PROG_GET_FD_BY_ID, &mut GetFd { id, next: 0, flags: 0 })?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf<Request>(command: libc::c_int, request: &mut Request) -> Result<i32, Errno> {
    let size = size_of::<Request>();
    // SAFETY: `request` is a prefix of `union bpf_attr` of the size given, live and exclusive during the call, and the
    // addresses in it point to memory that outlives the call. The kernel takes what is behind the prefix as zero.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(request), size) };
    if result < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    i32::try_from(result).map_err(|_| Errno::OVERFLOW)
}
