//! Capabilities: which a process keeps.

#![allow(unsafe_code, reason = "capset(2) and prctl(2) have no safe wrapper here")]

use std::io;

/// A set of capabilities, bit N standing for capability number N of `linux/capability.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapabilitySet(pub u64);

impl CapabilitySet {
    /// No capability.
    pub const EMPTY: CapabilitySet = CapabilitySet(0);
    /// Root in an unprivileged container: CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP
    /// NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE (conformance G207).
    pub const UNPRIVILEGED: CapabilitySet = CapabilitySet(0xa804_25fb);
    /// Root in a privileged container: everything up to AUDIT_READ (conformance G218).
    pub const PRIVILEGED: CapabilitySet = CapabilitySet(0x3f_ffff_ffff);
    /// A user in a privileged container may regain these at most: the unprivileged set and SYS_ADMIN (conformance G219).
    pub const PRIVILEGED_USER: CapabilitySet = CapabilitySet(0xa824_25fb);

    /// What is in both sets.
    #[must_use]
    pub fn intersection(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 & other.0)
    }

    /// Whether capability number `number` is in the set.
    pub fn contains(self, number: u32) -> bool {
        number < 64 && self.0 & (1 << number) != 0
    }
}

/// The capability sets of the calling thread, to be taken on in two steps around the change of user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// What can ever be had again; also the permitted and effective set of root.
    pub bounding: CapabilitySet,
    /// What survives an exec by a user.
    pub inheritable: CapabilitySet,
}

/// `_LINUX_CAPABILITY_VERSION_3`.
const VERSION_3: u32 = 0x2008_0522;
/// The kernel's own bound on capability numbers is below this; PR_CAPBSET_READ tells where they end.
const MAX_CAPABILITY: u32 = 63;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

impl Capabilities {
    /// Removes everything but `bounding` from the bounding set. Needs CAP_SETPCAP; done before the change of user.
    ///
    /// # Errors
    /// `EPERM` without the capability.
    pub fn limit_bounding(&self) -> io::Result<()> {
        for number in 0..=MAX_CAPABILITY {
            if self.bounding.contains(number) {
                continue;
            }
            // SAFETY: PR_CAPBSET_DROP takes a number and touches no memory of ours.
            if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) } != 0 {
                let error = io::Error::last_os_error();
                // The kernel's capabilities end here.
                return if error.raw_os_error() == Some(libc::EINVAL) { Ok(()) } else { Err(error) };
            }
        }
        Ok(())
    }

    /// Takes on the inheritable set, which only root can make larger; done before the change of user, which leaves it.
    ///
    /// What the engine itself lacks is left out.
    ///
    /// # Errors
    /// `EPERM` without CAP_SETPCAP when the set would grow.
    pub fn inherit(&self) -> io::Result<()> {
        self.take_on(self.held()?)
    }

    /// Takes on the sets: for root (`uid` 0 inside) permitted and effective are the bounding set, for others empty. Done
    /// after the change of user.
    ///
    /// # Errors
    /// `EPERM` when a set would grow.
    pub fn apply(&self, uid: u32) -> io::Result<()> {
        let held = self.held()?;
        let wanted = if uid == 0 { self.bounding.intersection(held) } else { CapabilitySet::EMPTY };
        self.take_on(wanted)
    }

    /// Takes on these as permitted, and what the kernel lets be inherited.
    fn take_on(&self, permitted: CapabilitySet) -> io::Result<()> {
        match set(permitted, self.inheritable.intersection(self.bounding)) {
            // An engine that lacks some cannot give them. It is rare, and asking for each is dear: they are asked only now.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                set(permitted, self.inheritable.intersection(self.bounding).intersection(bounding_now()))
            }
            other => other,
        }
    }

    /// The permitted set of the calling thread: asking for more than that is EPERM, so it bounds what is asked for.
    fn held(&self) -> io::Result<CapabilitySet> {
        let [low, high] = get()?;
        Ok(CapabilitySet(u64::from(low.permitted) | (u64::from(high.permitted) << 32)))
    }
}

/// Makes what is permitted to the calling thread effective.
pub(crate) fn raise_permitted() -> io::Result<()> {
    let raised = |half: Data| Data { effective: half.permitted, ..half };
    put(get()?.map(raised))
}

fn get() -> io::Result<[Data; 2]> {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data { effective: 0, permitted: 0, inheritable: 0 }; 2];
    // SAFETY: as in `put`; the kernel writes exactly two elements.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) };
    if result == 0 { Ok(data) } else { Err(io::Error::last_os_error()) }
}

/// Sets the calling thread's sets; the permitted one is the effective one, too.
fn set(permitted: CapabilitySet, inheritable: CapabilitySet) -> io::Result<()> {
    let half = |set: CapabilitySet, high: bool| {
        u32::try_from(if high { set.0 >> 32 } else { set.0 & 0xffff_ffff }).expect("32 bits are left")
    };
    let data = [false, true].map(|high| Data {
        effective: half(permitted, high),
        permitted: half(permitted, high),
        inheritable: half(inheritable, high),
    });
    put(data)
}

fn put(data: [Data; 2]) -> io::Result<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    // SAFETY: header and data have the kernel's layout for version 3 (two elements) and outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The bounding set of the calling thread.
fn bounding_now() -> CapabilitySet {
    let mut set = 0;
    for number in 0..=MAX_CAPABILITY {
        // SAFETY: PR_CAPBSET_READ takes a number and touches no memory of ours.
        match unsafe { libc::prctl(libc::PR_CAPBSET_READ, number, 0, 0, 0) } {
            1 => set |= 1 << number,
            0 => {}
            _ => break,
        }
    }
    CapabilitySet(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_itself_lacks_is_not_inherited_and_the_rest_is() {
        const CHOWN: u32 = 0;
        const SYS_BOOT: u32 = 22;
        // Capabilities are a thread's: this one is not used for anything else afterwards.
        let asked = CapabilitySet(1 << CHOWN | 1 << SYS_BOOT);
        let inherited = std::thread::spawn(move || {
            // SAFETY: PR_CAPBSET_DROP takes a number and touches no memory of ours.
            assert_eq!(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, SYS_BOOT, 0, 0, 0) }, 0);
            Capabilities { bounding: CapabilitySet::PRIVILEGED, inheritable: asked }.inherit().unwrap();
            get().unwrap()[0].inheritable
        });
        assert_eq!(inherited.join().unwrap(), 1 << CHOWN);
        let held = std::thread::spawn(move || {
            Capabilities { bounding: CapabilitySet::PRIVILEGED, inheritable: asked }.inherit().unwrap();
            get().unwrap()[0].inheritable
        });
        assert_eq!(u64::from(held.join().unwrap()), asked.0);
    }
}
