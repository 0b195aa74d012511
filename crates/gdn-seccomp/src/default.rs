//! The profile of containers.

use crate::capabilities::Capabilities;
use crate::profile::{Action, Condition, Profile, Rule, Test};

mod calls;
mod privileges;

/// `clone` flags that make namespaces (`linux/sched.h`): NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET and NEWNS.
/// NEWTIME has a bit of the exit signal's number, so `clone` cannot be asked for it.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;
/// Personalities that may be chosen (`linux/personality.h`): PER_LINUX, PER_LINUX32, and the question for the present one.
const PERSONALITIES: [u32; 3] = [0, 8, 0xffff_ffff];
/// Address families whose kernel code is a large surface (AF_ALG: the crypto API), or which leave the network namespace
/// (AF_VSOCK: the hypervisor).
const REFUSED_FAMILIES: [u32; 2] = [38, 40];
/// Terminal requests that put input into somebody else's terminal (TIOCSTI), or select and paste on a console (TIOCLINUX).
const REFUSED_REQUESTS: [u32; 2] = [0x5412, 0x541c];
/// `SYS_SOCKET` of `linux/net.h`: i386's call number for `socket` within `socketcall`.
const SOCKETCALL_SOCKET: u32 = 1;

impl Profile {
    /// The profile for programs in containers: what ordinary programs use, without what changes the machine, builds
    /// containers, or opens kernel surface that containers need not. It is [`Profile::default_for`] containers that may
    /// `chroot` and have no capability else that would open calls.
    ///
    /// Argument rules: `clone` makes no namespace; `clone3`, whose flags a filter cannot see, does not exist, so that C
    /// libraries fall back to `clone`; `personality` is Linux or 32-bit Linux; no AF_ALG and AF_VSOCK sockets; no TIOCSTI and
    /// TIOCLINUX. `socketcall` of i386 cannot be asked for a socket: its arguments are in memory, where a filter does not see
    /// the family. musl falls back to `socket`; glibc only if it was configured for Linux 4.3 or newer. Its `socketpair` stays,
    /// because no kernel makes pairs of the refused families.
    pub fn default_profile() -> Self {
        let mut profile = Profile::empty();
        for name in calls::ALLOWED {
            profile.set(*name, Action::Allow);
        }
        let makes_no_namespace = Condition::new(0, Test::Masked { mask: NAMESPACE_FLAGS, value: 0 });
        profile.set("clone", Rule::any([makes_no_namespace], Action::Allow, Action::REFUSE));
        profile.set("clone3", Action::ABSENT);
        profile.set("personality", Rule::any(ints(0, &PERSONALITIES), Action::Allow, Action::REFUSE));
        for name in ["socket", "socketpair"] {
            profile.set(name, Rule::any(ints(0, &REFUSED_FAMILIES), Action::REFUSE, Action::Allow));
        }
        profile.set("ioctl", Rule::any(ints(1, &REFUSED_REQUESTS), Action::REFUSE, Action::Allow));
        profile.set("socketcall", Rule::any(ints(0, &[SOCKETCALL_SOCKET]), Action::ABSENT, Action::Allow));
        profile
    }

    /// The profile for programs in containers with these capabilities in their bounding set: [`Profile::default_profile`],
    /// and the calls that each capability is for. A call that the kernel would refuse anyway stays refused without running
    /// any code of it.
    ///
    /// `io_uring` and the keyrings stay refused whatever the capabilities: the one passes by filters, the others are not
    /// divided by containers.
    pub fn default_for(capabilities: Capabilities) -> Self {
        let mut profile = Profile::default_profile();
        if !capabilities.meets(Capabilities::from_bits(privileges::CHROOT)) {
            profile.set("chroot", Action::REFUSE);
        }
        for (needed, names) in privileges::CALLS {
            if capabilities.meets(Capabilities::from_bits(*needed)) {
                for name in *names {
                    profile.set(*name, Action::Allow);
                }
            }
        }
        profile
    }
}

/// The argument is one of these, as the kernel sees it: an `int`, whatever is in the register's upper half.
fn ints(argument: u8, values: &[u32]) -> Vec<Condition> {
    values.iter().map(|value| Condition::int(argument, *value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Architecture::{self, Aarch64, I386, X86_64};

    fn at(architecture: Architecture, name: &str, arguments: [u64; 6]) -> Action {
        Profile::default_profile().action(architecture, architecture.number(name).unwrap(), &arguments)
    }

    #[test]
    fn ordinary_calls_are_allowed_on_every_architecture() {
        for name in
            ["read", "execve", "futex", "rseq", "close_range", "openat2", "statmount", "ptrace", "mseal"]
        {
            for architecture in [X86_64, I386, Aarch64] {
                assert_eq!(at(architecture, name, [0; 6]), Action::Allow, "{name}");
            }
        }
        assert_eq!(at(X86_64, "fork", [0; 6]), Action::Allow);
        assert_eq!(at(I386, "fstat64", [0; 6]), Action::Allow);
    }

    #[test]
    fn calls_that_change_the_machine_or_build_containers_are_refused() {
        for name in [
            "mount",
            "umount2",
            "unshare",
            "setns",
            "pivot_root",
            "move_mount",
            "bpf",
            "perf_event_open",
            "userfaultfd",
            "keyctl",
            "add_key",
            "request_key",
            "io_uring_setup",
            "kexec_load",
            "init_module",
            "reboot",
            "swapon",
            "settimeofday",
            "sethostname",
            "open_by_handle_at",
            "quotactl",
            "acct",
            "syslog",
            "fsopen",
            "open_tree",
        ] {
            for architecture in [X86_64, I386, Aarch64] {
                assert_eq!(at(architecture, name, [0; 6]), Action::REFUSE, "{name}");
            }
        }
    }

    #[test]
    fn arguments_are_looked_at_where_the_kernel_looks() {
        for flag in
            [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000]
        {
            assert_eq!(at(X86_64, "clone", [flag | 17, 0, 0, 0, 0, 0]), Action::REFUSE, "{flag:#x}");
        }
        assert_eq!(at(X86_64, "clone", [0x003d_0f00, 0, 0, 0, 0, 0]), Action::Allow, "a thread");
        assert_eq!(at(X86_64, "clone3", [0; 6]), Action::ABSENT);
        assert_eq!(at(X86_64, "socket", [40, 1, 0, 0, 0, 0]), Action::REFUSE);
        assert_eq!(at(X86_64, "socket", [0xff_0000_0026, 5, 0, 0, 0, 0]), Action::REFUSE);
        assert_eq!(at(X86_64, "socketpair", [38, 5, 0, 0, 0, 0]), Action::REFUSE);
        assert_eq!(at(X86_64, "socketpair", [1, 1, 0, 0, 0, 0]), Action::Allow);
        assert_eq!(at(X86_64, "socket", [2, 1, 0, 0, 0, 0]), Action::Allow);
        assert_eq!(at(X86_64, "ioctl", [0, 0xffff_ffff_0000_5412, 0, 0, 0, 0]), Action::REFUSE);
        assert_eq!(at(I386, "socketcall", [1, 0, 0, 0, 0, 0]), Action::ABSENT);
        assert_eq!(at(I386, "socketcall", [3, 0, 0, 0, 0, 0]), Action::Allow);
        assert_eq!(at(X86_64, "personality", [0xffff_ffff, 0, 0, 0, 0, 0]), Action::Allow);
        assert_eq!(at(X86_64, "personality", [0x0004_0000, 0, 0, 0, 0, 0]), Action::REFUSE);
    }

    #[test]
    fn a_capability_opens_the_calls_it_is_for_and_no_other() {
        let opened = |names: &[&str]| {
            let profile = Profile::default_for(Capabilities::named(names.iter().copied()).unwrap());
            let allowed = |name: &&str| {
                let number = X86_64.number(name).unwrap();
                profile.action(X86_64, number, &[0x1000_0000, 0, 0, 0, 0, 0]) == Action::Allow
            };
            let names = [
                "bpf",
                "chroot",
                "clone",
                "clone3",
                "io_uring_setup",
                "keyctl",
                "mount",
                "syslog",
                "unshare",
            ];
            names.iter().copied().filter(allowed).collect::<Vec<_>>()
        };
        assert!(opened(&[]).is_empty());
        assert_eq!(opened(&["CAP_SYS_CHROOT"]), ["chroot"]);
        assert_eq!(opened(&["CAP_BPF", "CAP_SYSLOG"]), ["bpf", "syslog"]);
        assert_eq!(
            opened(&["CAP_SYS_ADMIN"]),
            ["bpf", "clone", "clone3", "mount", "syslog", "unshare"],
            "never io_uring and keyrings"
        );
        assert_eq!(
            Profile::default_for(Capabilities::named(["CAP_SYS_CHROOT"]).unwrap()),
            Profile::default_profile()
        );
        assert!(Profile::default_for(Capabilities::from_bits(u64::MAX)).compile().is_ok(), "all names exist");
    }

    #[test]
    fn the_numbers_x32_has_for_itself_follow_the_same_rules() {
        let profile = Profile::default_profile();
        let ioctl_of_x32 = 0x4000_0000 | 514;
        assert_eq!(profile.action(X86_64, ioctl_of_x32, &[0, 0x5412, 0, 0, 0, 0]), Action::REFUSE);
        assert_eq!(profile.action(X86_64, ioctl_of_x32, &[0, 1, 0, 0, 0, 0]), Action::Allow);
        assert_eq!(profile.action(X86_64, 0x4000_0000 | 528, &[0; 6]), Action::REFUSE, "kexec_load");
    }

    #[test]
    fn every_name_of_the_list_exists_and_none_comes_twice() {
        let known = Architecture::all_names();
        let mut names = calls::ALLOWED.to_vec();
        assert!(names.iter().all(|name| known.contains(name)));
        assert!(names.is_sorted());
        names.dedup();
        assert_eq!(names.len(), calls::ALLOWED.len());
    }
}
