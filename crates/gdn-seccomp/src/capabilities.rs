//! Which capabilities a profile is made for.

/// By number (`linux/capability.h`), from 0 to 40.
#[rustfmt::skip]
const NAMES: [&str; 41] = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
    "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
];

/// A set of capabilities, by number as the kernel counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(u64);

impl Capabilities {
    /// No capability.
    pub const NONE: Capabilities = Capabilities(0);

    /// Bit n is capability n, as in `CapBnd` of `/proc/PID/status`.
    pub const fn from_bits(bits: u64) -> Self {
        Capabilities(bits)
    }

    /// Those with these names, such as `CAP_SYS_ADMIN`; `None` if one of the names is unknown.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        names.into_iter().try_fold(Capabilities::NONE, |all, name| {
            let number = NAMES.iter().position(|known| *known == name)?;
            Some(all.and(Capabilities(1 << number)))
        })
    }

    /// The names of those that have one, in the order of their numbers.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES
            .into_iter()
            .enumerate()
            .filter_map(move |(number, name)| (self.0 & 1 << number != 0).then_some(name))
    }

    /// These and the others.
    pub const fn and(self, others: Capabilities) -> Self {
        Capabilities(self.0 | others.0)
    }

    /// Whether all of the others are in it.
    pub const fn contains(self, others: Capabilities) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether any of the others is in it.
    pub const fn meets(self, others: Capabilities) -> bool {
        self.0 & others.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_numbers_of_the_kernel() {
        for (name, bit) in [("CAP_CHOWN", 0), ("CAP_SYS_CHROOT", 18), ("CAP_SYS_ADMIN", 21), ("CAP_BPF", 39)]
        {
            assert_eq!(Capabilities::named([name]), Some(Capabilities::from_bits(1 << bit)), "{name}");
        }
        assert_eq!(Capabilities::named(["CAP_BPF", "CAP_SYS_UNKNOWN"]), None);
        assert_eq!(Capabilities::named([]), Some(Capabilities::NONE));
        let two = Capabilities::from_bits(1 << 18 | 1 | 1 << 63);
        assert_eq!(two.names().collect::<Vec<_>>(), ["CAP_CHOWN", "CAP_SYS_CHROOT"]);
    }

    #[test]
    fn sets_are_compared_as_sets() {
        let both = Capabilities::from_bits(0b11);
        assert!(both.contains(Capabilities::from_bits(0b01)) && both.contains(Capabilities::NONE));
        assert!(!both.contains(Capabilities::from_bits(0b101)));
        assert!(both.meets(Capabilities::from_bits(0b110)) && !both.meets(Capabilities::NONE));
    }
}
