//! Calls that no container may make, written down by hand.
//!
//! The engine's profile is a list of what is allowed; this is a list of what must not be, with numbers from the C library
//! and, for 32-bit programs, from the kernel's table. Neither comes from the engine, so that a mistake in its list or its
//! tables does not excuse itself.

/// A call, its number for 64-bit programs and for 32-bit ones.
type Call = (&'static str, i64, Option<u32>);

/// They load code into the kernel, change the machine, its clock, swap and mounts, make or enter namespaces, pass by filters,
/// or are kernel surface that containers share. `adjtimex` and `clock_adjtime` are not among them: whoever may not set the clock
/// only reads by them.
#[rustfmt::skip]
pub(super) const DANGEROUS: &[Call] = &[
    ("acct", libc::SYS_acct, Some(51)),
    ("add_key", libc::SYS_add_key, Some(286)),
    ("bpf", libc::SYS_bpf, Some(357)),
    ("clock_settime", libc::SYS_clock_settime, Some(264)),
    ("delete_module", libc::SYS_delete_module, Some(129)),
    ("fanotify_init", libc::SYS_fanotify_init, Some(338)),
    ("finit_module", libc::SYS_finit_module, Some(350)),
    ("fsconfig", libc::SYS_fsconfig, Some(431)),
    ("fsmount", libc::SYS_fsmount, Some(432)),
    ("fsopen", libc::SYS_fsopen, Some(430)),
    ("fspick", libc::SYS_fspick, Some(433)),
    ("init_module", libc::SYS_init_module, Some(128)),
    ("io_uring_enter", libc::SYS_io_uring_enter, Some(426)),
    ("io_uring_register", libc::SYS_io_uring_register, Some(427)),
    ("io_uring_setup", libc::SYS_io_uring_setup, Some(425)),
    ("ioperm", libc::SYS_ioperm, Some(101)),
    ("iopl", libc::SYS_iopl, Some(110)),
    ("kcmp", libc::SYS_kcmp, Some(349)),
    ("kexec_load", libc::SYS_kexec_load, Some(283)),
    ("kexec_file_load", libc::SYS_kexec_file_load, None),
    ("keyctl", libc::SYS_keyctl, Some(288)),
    ("mount", libc::SYS_mount, Some(21)),
    ("mount_setattr", libc::SYS_mount_setattr, Some(442)),
    ("move_mount", libc::SYS_move_mount, Some(429)),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, Some(342)),
    ("open_tree", libc::SYS_open_tree, Some(428)),
    ("perf_event_open", libc::SYS_perf_event_open, Some(336)),
    ("pivot_root", libc::SYS_pivot_root, Some(217)),
    ("quotactl", libc::SYS_quotactl, Some(131)),
    ("quotactl_fd", libc::SYS_quotactl_fd, Some(443)),
    ("reboot", libc::SYS_reboot, Some(88)),
    ("request_key", libc::SYS_request_key, Some(287)),
    ("setdomainname", libc::SYS_setdomainname, Some(121)),
    ("sethostname", libc::SYS_sethostname, Some(74)),
    ("setns", libc::SYS_setns, Some(346)),
    ("settimeofday", libc::SYS_settimeofday, Some(79)),
    ("swapoff", libc::SYS_swapoff, Some(115)),
    ("swapon", libc::SYS_swapon, Some(87)),
    ("syslog", libc::SYS_syslog, Some(103)),
    ("umount2", libc::SYS_umount2, Some(52)),
    ("unshare", libc::SYS_unshare, Some(310)),
    ("userfaultfd", libc::SYS_userfaultfd, Some(374)),
    ("vhangup", libc::SYS_vhangup, Some(111)),
];

/// The first number that no kernel known to us has; all above it must not exist for a container.
pub(super) const FIRST_UNKNOWN: u32 = 480;
