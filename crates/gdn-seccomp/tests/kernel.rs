//! The default profile in the kernel. A filter belongs to a thread, so each test filters a thread of its own.

#![allow(unsafe_code, reason = "raw system calls")]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use gdn_seccomp::{Capabilities, Instruction, Profile, Program, Target};

const AF_VSOCK: i32 = 40;
const AF_ALG: i32 = 38;
const TIOCLINUX: u64 = 0x541c;

/// Filters the calling thread, and what it starts.
fn install(program: &Program) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap(),
        filter: program.instructions().as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    const { assert!(size_of::<Instruction>() == size_of::<libc::sock_filter>()) };
    // SAFETY: the program outlives the call, which only reads it; both calls change nothing but this thread's rights.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn filtered<Answer: Send + 'static>(work: impl FnOnce() -> Answer + Send + 'static) -> Answer {
    filtered_by(&Profile::default_profile(), work)
}

fn filtered_by<Answer: Send + 'static>(
    profile: &Profile,
    work: impl FnOnce() -> Answer + Send + 'static,
) -> Answer {
    let program = profile.compile().unwrap();
    let thread = std::thread::spawn(move || {
        install(&program).unwrap();
        work()
    });
    thread.join().unwrap()
}

/// Makes a call; the error number, or 0.
fn call(number: libc::c_long, first: u64, second: u64) -> i32 {
    // SAFETY: callers pass arguments with which the call reads and writes no memory, or fails before.
    let result = unsafe { libc::syscall(number, first, second, 0, 0, 0, 0) };
    if result >= 0 { 0 } else { io::Error::last_os_error().raw_os_error().unwrap() }
}

#[test]
fn refused_calls_answer_eperm_and_absent_ones_enosys() {
    let answers = filtered(|| {
        [
            call(libc::SYS_unshare, libc::CLONE_FS as u64, 0),
            call(libc::SYS_setns, u64::MAX, 0),
            call(libc::SYS_keyctl, 0, 0),
            call(libc::SYS_bpf, 0, 0),
            call(libc::SYS_clone, 0x1000_0000, 0),
            call(libc::SYS_socket, AF_VSOCK as u64, libc::SOCK_STREAM as u64),
            call(libc::SYS_socket, AF_ALG as u64, libc::SOCK_SEQPACKET as u64),
            call(libc::SYS_socketpair, AF_ALG as u64, libc::SOCK_SEQPACKET as u64),
            call(libc::SYS_add_key, 0, 0),
            call(libc::SYS_io_uring_setup, 1, 0),
            call(libc::SYS_ioctl, 0, libc::TIOCSTI),
            call(libc::SYS_ioctl, 0, TIOCLINUX),
            call(libc::SYS_ioctl, 0, libc::TIOCSTI | 0xff_0000_0000),
            call(libc::SYS_personality, 0x0004_0000, 0),
        ]
    });
    assert_eq!(answers, [libc::EPERM; 14]);
    let absent = filtered(|| [call(libc::SYS_clone3, 0, 0), call(470, 0, 0), call(1_000, 0, 0)]);
    assert_eq!(absent, [libc::ENOSYS; 3]);
}

#[test]
fn ordinary_calls_work() {
    let answers = filtered(|| {
        [
            call(libc::SYS_getpid, 0, 0),
            call(libc::SYS_personality, 0xffff_ffff, 0),
            call(libc::SYS_socket, libc::AF_INET as u64, libc::SOCK_STREAM as u64),
            call(libc::SYS_socket, libc::AF_UNIX as u64, libc::SOCK_STREAM as u64),
        ]
    });
    assert_eq!(answers, [0; 4]);
    assert_eq!(
        filtered(|| call(libc::SYS_ioctl, u64::MAX, libc::TCGETS)),
        libc::EBADF,
        "it reached the kernel"
    );
    let threads = filtered(|| std::thread::spawn(|| 7).join().unwrap());
    assert_eq!(threads, 7, "the C library falls back from clone3 to clone");
}

#[test]
fn newer_calls_reach_the_kernel() {
    // Arguments that the kernel refuses in its own way: bad descriptors, flags and addresses.
    let answers = filtered(|| {
        [
            call(libc::SYS_close_range, 10, 9),
            call(libc::SYS_openat2, u64::MAX, 0),
            call(libc::SYS_landlock_create_ruleset, 0, 1),
            call(libc::SYS_futex_waitv, 0, 0),
        ]
    });
    for answer in answers {
        assert!(![0, libc::EPERM, libc::ENOSYS].contains(&answer), "{answers:?}");
    }
}

#[test]
fn a_profile_from_json_is_what_the_kernel_does() {
    let text = br#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
        {"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5,
         "args": [{"index": 0, "value": 2, "op": "SCMP_CMP_GE"}, {"index": 1, "value": 7, "op": "SCMP_CMP_EQ"}]}]}"#;
    let target = Target::here(Capabilities::NONE).unwrap();
    let profile = Profile::from_json(text, target).unwrap().profile;
    let answers = filtered_by(&profile, || {
        let made = std::fs::create_dir("/proc/never").unwrap_err().raw_os_error();
        (made, call(libc::SYS_getpriority, 2, 7), call(libc::SYS_getpriority, 0, 0))
    });
    assert_eq!(answers, (Some(libc::ENOSPC), libc::EIO, 0));
}

#[test]
fn a_capability_opens_its_calls_in_the_kernel_too() {
    let profile = Profile::default_for(Capabilities::named(["CAP_SYS_ADMIN"]).unwrap());
    let answers = filtered_by(&profile, || {
        [call(libc::SYS_setns, u64::MAX, 0), call(libc::SYS_chroot, 0, 0), call(libc::SYS_keyctl, 0, 0)]
    });
    assert_eq!(answers, [libc::EBADF, libc::EPERM, libc::EPERM]);
}

#[test]
fn programs_run_and_start_others_under_the_filter() {
    let program = Profile::default_profile().compile().unwrap();
    let mut shell = Command::new("/bin/sh");
    shell.args([
        "-c",
        "grep Seccomp: /proc/self/status; (sleep 0) & wait; ls / | grep -c proc; unshare -U true || echo no",
    ]);
    // SAFETY: the closure makes two system calls and allocates nothing unless it fails.
    unsafe { shell.pre_exec(move || install(&program)) };
    let output = String::from_utf8(shell.output().unwrap().stdout).unwrap();
    assert_eq!(output.split_whitespace().collect::<Vec<_>>(), ["Seccomp:", "2", "1", "no"]);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn calls_of_32_bit_programs_follow_the_same_profile() {
    /// The i386 system call with two arguments.
    fn call_i386(number: u32, first: u32, second: u32) -> i32 {
        let result: i64;
        // SAFETY: int 0x80 is the i386 call gate of a 64-bit kernel; the calls made here touch no memory. LLVM keeps rbx for
        // itself, so it is exchanged and restored; the kernel may change r8 to r11.
        unsafe {
            std::arch::asm!(
                "xchg {first:r}, rbx",
                "int 0x80",
                "xchg {first:r}, rbx",
                first = inout(reg) u64::from(first) => _,
                inlateout("rax") u64::from(number) => result,
                in("rcx") u64::from(second),
                in("rdx") 0u64,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            );
        }
        i32::try_from(result & 0xffff_ffff).unwrap_or_else(|_| i32::try_from((result << 32) >> 32).unwrap())
    }
    let (getpid, unshare, socket, socketcall, ioctl, clone3) = (20, 310, 359, 102, 54, 435);
    let answers = filtered(move || {
        let own = call_i386(getpid, 0, 0) == std::process::id().cast_signed();
        let refused = [
            call_i386(unshare, 0x200, 0),
            call_i386(socket, AF_VSOCK as u32, 1),
            call_i386(ioctl, 0, 0x5412),
            call_i386(socketcall, 1, 0),
            call_i386(clone3, 0, 0),
            call_i386(470, 0, 0),
        ];
        (own, refused)
    });
    let (refused, absent) = (-libc::EPERM, -libc::ENOSYS);
    assert_eq!(answers, (true, [refused, refused, refused, absent, absent, absent]));
}
