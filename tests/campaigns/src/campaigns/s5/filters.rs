//! Filters of arguments, and that every process has one.

use std::fs;

use engine_tests::inside::processes_beside;
use engine_tests::session::{as_user, program};
use engine_tests::until_some;
use gdn_seccomp::Architecture;
use gdn_types::{ContainerSpec, Handle, ImageRef, ProcessSpec, SeccompProfile, WindowSize};

use super::filter::Filters;
use crate::{Bed, Stage, Target, Verdict};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// A call that must be refused: what it is, the door, its number, its arguments and the errno.
type Refusal = (&'static str, &'static str, u32, &'static [u64], u32);

/// Flags of new namespaces (`linux/sched.h`).
const NEWNS: u64 = 0x0002_0000;
const NEWCGROUP: u64 = 0x0200_0000;
const NEWUTS: u64 = 0x0400_0000;
const NEWIPC: u64 = 0x0800_0000;
const NEWUSER: u64 = 0x1000_0000;
const NEWPID: u64 = 0x2000_0000;
const NEWNET: u64 = 0x4000_0000;
const NEWTIME: u64 = 0x80;

#[rustfmt::skip]
const REFUSALS: [Refusal; 48] = [
    ("clone NEWNS", "x86_64", 56, &[NEWNS | 17], EPERM),
    ("clone NEWCGROUP", "x86_64", 56, &[NEWCGROUP | 17], EPERM),
    ("clone NEWUTS", "x86_64", 56, &[NEWUTS | 17], EPERM),
    ("clone NEWIPC", "x86_64", 56, &[NEWIPC | 17], EPERM),
    ("clone NEWUSER", "x86_64", 56, &[NEWUSER | 17], EPERM),
    ("clone NEWPID", "x86_64", 56, &[NEWPID | 17], EPERM),
    ("clone NEWNET", "x86_64", 56, &[NEWNET | 17], EPERM),
    ("clone NEWUSER of i386", "i386", 120, &[NEWUSER | 17], EPERM),
    ("clone3", "x86_64", 435, &[0, 88], ENOSYS),
    ("clone3 of i386", "i386", 435, &[0, 88], ENOSYS),
    ("unshare NEWNS", "x86_64", 272, &[NEWNS], EPERM),
    ("unshare NEWCGROUP", "x86_64", 272, &[NEWCGROUP], EPERM),
    ("unshare NEWUTS", "x86_64", 272, &[NEWUTS], EPERM),
    ("unshare NEWIPC", "x86_64", 272, &[NEWIPC], EPERM),
    ("unshare NEWUSER", "x86_64", 272, &[NEWUSER], EPERM),
    ("unshare NEWPID", "x86_64", 272, &[NEWPID], EPERM),
    ("unshare NEWNET", "x86_64", 272, &[NEWNET], EPERM),
    ("unshare NEWTIME", "x86_64", 272, &[NEWTIME], EPERM),
    ("unshare NEWUSER of i386", "i386", 310, &[NEWUSER], EPERM),
    ("setns", "x86_64", 308, &[0, 0], EPERM),
    ("socket AF_ALG", "x86_64", 41, &[38, 5, 0], EPERM),
    ("socket AF_ALG with dirt above", "x86_64", 41, &[0xdead_0000_0026, 5, 0], EPERM),
    ("socket AF_ALG of i386", "i386", 359, &[38, 5, 0], EPERM),
    ("socket AF_ALG of x32", "x32", 41, &[38, 5, 0], EPERM),
    ("socketcall for a socket", "i386", 102, &[1, 0], ENOSYS),
    ("socket AF_VSOCK", "x86_64", 41, &[40, 1, 0], EPERM),
    ("socket AF_VSOCK of i386", "i386", 359, &[40, 1, 0], EPERM),
    ("socketpair AF_ALG", "x86_64", 53, &[38, 5, 0, 0], EPERM),
    ("ioctl TIOCSTI", "x86_64", 16, &[0, 0x5412, 0], EPERM),
    ("ioctl TIOCSTI with dirt above", "x86_64", 16, &[0, 0xffff_ffff_0000_5412, 0], EPERM),
    ("ioctl TIOCSTI of i386", "i386", 54, &[0, 0x5412, 0], EPERM),
    ("ioctl TIOCSTI of x32", "x32", 514, &[0, 0x5412, 0], EPERM),
    ("ioctl TIOCLINUX", "x86_64", 16, &[0, 0x541c, 0], EPERM),
    ("personality without randomness", "x86_64", 135, &[0x0004_0000], EPERM),
    ("personality of old programs", "x86_64", 135, &[0x0040_0000], EPERM),
    ("keyctl", "x86_64", 250, &[0, 0], EPERM),
    ("add_key", "x86_64", 248, &[0, 0, 0, 0, 0], EPERM),
    ("request_key", "x86_64", 249, &[0, 0, 0, 0], EPERM),
    ("bpf", "x86_64", 321, &[0, 0, 0], EPERM),
    ("perf_event_open", "x86_64", 298, &[0, 0, 0, 0, 0], EPERM),
    ("userfaultfd", "x86_64", 323, &[1], EPERM),
    ("io_uring_setup", "x86_64", 425, &[1, 0], EPERM),
    ("mount", "x86_64", 165, &[0, 0, 0, 0, 0], EPERM),
    ("fsopen", "x86_64", 430, &[0, 0], EPERM),
    ("open_tree", "x86_64", 428, &[0, 0, 1], EPERM),
    ("move_mount", "x86_64", 429, &[0, 0, 0, 0, 0], EPERM),
    ("mount_setattr", "x86_64", 442, &[0, 0, 0, 0, 0], EPERM),
    ("open_by_handle_at", "x86_64", 304, &[0, 0, 0], EPERM),
];

/// `AUDIT_ARCH_X86_64`, `AUDIT_ARCH_I386` and the bit of x32, from the kernel's headers.
const AUDIT_X86_64: u32 = 0xc000_003e;
const AUDIT_I386: u32 = 0x4000_0003;
const X32: u32 = 0x4000_0000;

/// Whether the call is refused, and by the installed filter: what the kernel lacks anyway (AF_ALG here) says nothing.
fn is_refused(target: &dyn Target, filters: &Filters, refusal: Refusal) -> Verdict {
    let (_, door, number, arguments, errno) = refusal;
    let mut six = [0; 6];
    six[..arguments.len()].copy_from_slice(arguments);
    let (audit, bit) = match door {
        "i386" => (AUDIT_I386, 0),
        "x32" => (AUDIT_X86_64, X32),
        _ => (AUDIT_X86_64, 0),
    };
    let installed = filters.errno(audit, number | bit, six);
    let words: Vec<_> = arguments.iter().map(|argument| format!("{argument:#x}")).collect();
    let number = number.to_string();
    let mut command = vec!["probe", "call", door, &number];
    command.extend(words.iter().map(String::as_str));
    let seen = target.run("", &command);
    let expected = format!("errno {errno}");
    Verdict::held_unless(installed != Some(errno) || seen.said() != expected, || {
        format!("the filter says {installed:?}, the call answers {}", seen.said())
    })
}

/// The host's number of the program `sleep` in the container. Before it is that program it is still the keeper's child, which
/// loads its filter as one of its last steps.
fn sleeper(bed: &Bed, handle: &Handle) -> u32 {
    let init = bed.engine().init_pid(handle.as_str());
    let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    until_some("the program sleep in the container", || {
        processes_beside(init).into_iter().find(|pid| name(pid) == "sleep\n")
    })
}

/// The filters of the processes of a container, by one that waits.
fn installed(bed: &Bed, handle: &Handle) -> Filters {
    let sleeping = bed.engine().begin(["exec", handle.as_str(), "sleep", "1000"]);
    let filters = Filters::of(sleeper(bed, handle));
    drop(sleeping);
    bed.engine().gdn(["stop", "--kill", handle.as_str()]).expect_status(0);
    filters
}

fn unconfined() -> ContainerSpec {
    ContainerSpec { seccomp: SeccompProfile::Unconfined, ..ContainerSpec::default() }
}

pub(super) fn arguments(stage: &mut Stage<'_>) {
    let handle = stage.bed().create(ContainerSpec::default());
    let filters = installed(stage.bed(), &handle);
    for refusal in REFUSALS {
        stage.case(refusal.0, |bed| is_refused(&bed.inside(&handle), &filters, refusal));
    }
    stage.control("a container without a filter", |bed| {
        let handle = bed.create(unconfined());
        let filters = installed(bed, &handle);
        let verdicts = REFUSALS.map(|refusal| is_refused(&bed.inside(&handle), &filters, refusal));
        let red = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Escaped(_))).count();
        Verdict::held_unless(red == REFUSALS.len(), || format!("{red} of {} are let through", REFUSALS.len()))
    });
}

fn mode_of(status: &str) -> Verdict {
    let line = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    Verdict::equal(line.unwrap_or_default().trim(), "2")
}

fn init_has_one(bed: &Bed, handle: &Handle) -> Verdict {
    let init = bed.engine().init_pid(handle.as_str());
    mode_of(&fs::read_to_string(format!("/proc/{init}/status")).unwrap())
}

fn runs_with_one(bed: &Bed, handle: &Handle, spec: ProcessSpec) -> Verdict {
    mode_of(bed.inside(handle).process(spec).said())
}

pub(super) fn everywhere(stage: &mut Stage<'_>) {
    let handle = stage.bed().create(ContainerSpec::default());
    let status = || program(&["cat", "/proc/self/status"]);
    let own = Some(ImageRef::uri(stage.bed().image()));
    let terminal = Some(WindowSize { columns: 80, rows: 24 });
    stage.case("the first process", |bed| init_has_one(bed, &handle));
    let specs = [
        ("root", status()),
        ("a user", as_user("alice", status())),
        ("a terminal", ProcessSpec { tty: terminal, ..status() }),
        ("a sidecar", ProcessSpec { image: own.clone(), ..status() }),
        ("a user of a sidecar", ProcessSpec { image: own, ..as_user("1000:1000", status()) }),
    ];
    for (name, spec) in specs {
        stage.case(name, |bed| runs_with_one(bed, &handle, spec));
    }
    for (name, audit) in [("32-bit calls", Architecture::I386), ("64-bit calls", Architecture::X86_64)] {
        stage.case(format!("{name}, by the installed filter"), |bed| {
            let filters = installed(bed, &handle);
            let mount = if audit == Architecture::I386 { 21 } else { 165 };
            let errno = filters.errno(audit.audit_number(), mount, [0; 6]);
            Verdict::equal((filters.len(), errno), (1, Some(EPERM)))
        });
    }
    stage.case("a process after a restart of the server", |bed| {
        bed.engine_mut().kill_server();
        bed.engine_mut().start_server(&[]);
        runs_with_one(bed, &handle, status())
    });
    stage.case("the first process after a restart of the server", |bed| init_has_one(bed, &handle));
    stage.control("a container without a filter", |bed| {
        let handle = bed.create(unconfined());
        runs_with_one(bed, &handle, status())
    });
}
