//! Calls that the default profile allows to those who have a capability for them.

/// Bits of the capabilities with these numbers (`linux/capability.h`).
const DAC_READ_SEARCH: u64 = 1 << 2;
const SYS_MODULE: u64 = 1 << 16;
const SYS_RAWIO: u64 = 1 << 17;
const SYS_CHROOT: u64 = 1 << 18;
const SYS_PTRACE: u64 = 1 << 19;
const SYS_PACCT: u64 = 1 << 20;
const SYS_ADMIN: u64 = 1 << 21;
const SYS_BOOT: u64 = 1 << 22;
const SYS_NICE: u64 = 1 << 23;
const SYS_TIME: u64 = 1 << 25;
const SYS_TTY_CONFIG: u64 = 1 << 26;
const SYSLOG: u64 = 1 << 34;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;
const CHECKPOINT_RESTORE: u64 = 1 << 40;

/// What `chroot` takes.
pub(super) const CHROOT: u64 = SYS_CHROOT;

/// Any of the capabilities, and the calls that are then allowed.
#[rustfmt::skip]
pub(super) const CALLS: &[(u64, &[&str])] = &[
    (DAC_READ_SEARCH, &["open_by_handle_at"]),
    (SYS_ADMIN, &[
        "clone", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount",
        "mount_setattr", "move_mount", "open_tree", "open_tree_attr", "pivot_root", "quotactl", "quotactl_fd",
        "setdomainname", "sethostname", "setns", "swapoff", "swapon", "umount", "umount2", "unshare",
    ]),
    (SYS_ADMIN | BPF, &["bpf"]),
    (SYS_ADMIN | PERFMON, &["perf_event_open"]),
    (SYS_ADMIN | SYSLOG, &["syslog"]),
    (SYS_PTRACE, &["userfaultfd"]),
    (SYS_PTRACE | CHECKPOINT_RESTORE, &["kcmp"]),
    (SYS_BOOT, &["reboot"]),
    (SYS_MODULE, &["delete_module", "finit_module", "init_module"]),
    (SYS_NICE, &["get_mempolicy", "mbind", "migrate_pages", "move_pages", "set_mempolicy"]),
    (SYS_PACCT, &["acct"]),
    (SYS_RAWIO, &["ioperm", "iopl"]),
    (SYS_TIME, &["clock_settime", "clock_settime64", "settimeofday", "stime"]),
    (SYS_TTY_CONFIG, &["vhangup"]),
];
