//! Architectures: what the kernel calls them, and which calls they have.

use std::collections::HashSet;

use crate::tables;

/// An architecture as the kernel tells it to a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Architecture {
    /// 64-bit x86, with its x32 variant: the same calls, marked by bit 30 of the number.
    X86_64,
    /// 32-bit x86.
    I386,
    /// 64-bit ARM.
    Aarch64,
}

/// The bit that marks calls of x32 programs (`__X32_SYSCALL_BIT`).
pub(crate) const X32_BIT: u32 = 0x4000_0000;
/// From here on numbers of the x86_64 table are those that only x32 has.
pub(crate) const FIRST_OF_X32: u32 = 512;

impl Architecture {
    /// The architecture this is built for; `None` if it is not one of these.
    pub const fn native() -> Option<Self> {
        if cfg!(target_arch = "x86_64") {
            Some(Architecture::X86_64)
        } else if cfg!(target_arch = "x86") {
            Some(Architecture::I386)
        } else if cfg!(target_arch = "aarch64") {
            Some(Architecture::Aarch64)
        } else {
            None
        }
    }

    /// `AUDIT_ARCH_*` of `linux/audit.h`.
    pub const fn audit_number(self) -> u32 {
        match self {
            Architecture::X86_64 => 0xc000_003e,
            Architecture::I386 => 0x4000_0003,
            Architecture::Aarch64 => 0xc000_00b7,
        }
    }

    /// The architectures whose programs a kernel of this one runs, itself first. 32-bit ARM programs are not among them.
    pub(crate) const fn family(self) -> &'static [Architecture] {
        match self {
            Architecture::X86_64 => &[Architecture::X86_64, Architecture::I386],
            Architecture::I386 => &[Architecture::I386],
            Architecture::Aarch64 => &[Architecture::Aarch64],
        }
    }

    /// The number of a call; `None` if this architecture does not have it. On x86_64 the one that is not x32's own.
    pub fn number(self, name: &str) -> Option<u32> {
        self.calls().find(|(known, _)| *known == name).map(|(_, number)| number)
    }

    /// The name of the call with this number; `None` if it is newer than this crate or does not exist.
    pub fn name(self, number: u32) -> Option<&'static str> {
        let number = self.base(number);
        self.calls().find(|(_, known)| *known == number).map(|(name, _)| name)
    }

    /// The number without the mark of x32: what tables and trees are about.
    pub(crate) const fn base(self, number: u32) -> u32 {
        match self {
            Architecture::X86_64 => number & !X32_BIT,
            Architecture::I386 | Architecture::Aarch64 => number,
        }
    }

    /// All calls; where x32 has a number of its own, the name comes twice.
    pub(crate) fn calls(self) -> impl Iterator<Item = (&'static str, u32)> {
        let (calls, more): (&'static [_], &'static [_]) = match self {
            Architecture::X86_64 => (tables::x86_64::CALLS, tables::x86_64::X32_CALLS),
            Architecture::I386 => (tables::i386::CALLS, &[]),
            Architecture::Aarch64 => (tables::aarch64::CALLS, &[]),
        };
        calls.iter().chain(more).copied()
    }

    /// The names of the calls of all architectures.
    pub(crate) fn all_names() -> HashSet<&'static str> {
        [Architecture::X86_64, Architecture::I386, Architecture::Aarch64]
            .into_iter()
            .flat_map(Architecture::calls)
            .map(|(name, _)| name)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_architecture_gives_a_number_twice() {
        for architecture in [Architecture::X86_64, Architecture::I386, Architecture::Aarch64] {
            let mut numbers: Vec<u32> = architecture.calls().map(|(_, number)| number).collect();
            let all = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), all, "{architecture:?}");
            assert!(numbers.iter().all(|number| *number < X32_BIT));
        }
    }

    #[test]
    fn the_native_table_agrees_with_the_c_library() {
        let native = Architecture::native().unwrap();
        for (name, number) in [
            ("read", libc::SYS_read),
            ("clone", libc::SYS_clone),
            ("openat2", libc::SYS_openat2),
            ("mseal", libc::SYS_mseal),
            ("ptrace", libc::SYS_ptrace),
            ("seccomp", libc::SYS_seccomp),
            ("statx", libc::SYS_statx),
            ("pidfd_open", libc::SYS_pidfd_open),
        ] {
            assert_eq!(native.number(name).map(i64::from), Some(number), "{name}");
        }
        assert_eq!(native.name(native.number("rseq").unwrap()), Some("rseq"));
        assert_eq!(native.number("no_such_call"), None);
    }

    #[test]
    fn calls_from_424_on_have_one_number_everywhere() {
        for (name, number) in Architecture::Aarch64.calls().filter(|(_, number)| *number >= 424) {
            for architecture in [Architecture::X86_64, Architecture::I386] {
                assert_eq!(architecture.number(name), Some(number), "{name}");
            }
        }
    }
}
