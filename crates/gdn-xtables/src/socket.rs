//! The socket options by which the kernel gives and takes tables.

#![allow(unsafe_code, reason = "these options have no safe wrapper")]

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

use crate::layout::{
    COUNTER, COUNTERS_HEAD, ENTRIES_HEAD, ENTRIES_OR_COUNTERS, Family, HOOKS, INFO, INFO_OR_REPLACE, NAME,
    REPLACE_HEAD, TABLE, number32, put,
};
use crate::{Error, Result};

/// The largest table that is read, in bytes: some 300,000 rules.
const MOST: u32 = 64 << 20;

/// A socket to the tables of a family in the network namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Socket {
    family: Family,
    fd: OwnedFd,
}

/// `struct ipt_getinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    /// A bit for each hook that the table has.
    pub(crate) valid_hooks: u32,
    /// Where the chain of each hook begins, in bytes of the entries.
    pub(crate) hook_entry: [u32; HOOKS],
    /// Where the chain's last entry is, which is its policy.
    pub(crate) underflow: [u32; HOOKS],
    pub(crate) count: u32,
    /// Bytes of all entries.
    pub(crate) size: u32,
}

impl Socket {
    pub(crate) fn open(family: Family) -> Result<Self> {
        let domain = match family {
            Family::Ip => AddressFamily::INET,
            Family::Ip6 => AddressFamily::INET6,
        };
        let fd = socket_with(domain, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))
            .map_err(|errno| Error::Kernel { op: "open a socket to", family, errno })?;
        Ok(Socket { family, fd })
    }

    /// Its outline.
    pub(crate) fn info(&self) -> Result<Info> {
        let mut bytes = vec![0; INFO];
        put(&mut bytes, 0, TABLE);
        self.get(INFO_OR_REPLACE, &mut bytes).map_err(self.failed("ask for"))?;
        let number = |at: usize| number32(&bytes, at).unwrap_or(0);
        let five = |at: usize| std::array::from_fn(|hook| number(at + hook * 4));
        let after = NAME + 4 + 2 * HOOKS * 4;
        Ok(Info {
            valid_hooks: number(NAME),
            hook_entry: five(NAME + 4),
            underflow: five(NAME + 4 + HOOKS * 4),
            count: number(after),
            size: number(after + 4),
        })
    }

    /// Its entries; `None` when the table has changed its size since the outline was read.
    pub(crate) fn entries(&self, info: &Info) -> Result<Option<Vec<u8>>> {
        let size = usize::try_from(info.size.min(MOST)).unwrap_or(0);
        let mut bytes = vec![0; ENTRIES_HEAD + size];
        put(&mut bytes, 0, TABLE);
        put(&mut bytes, NAME, &info.size.to_ne_bytes());
        match self.get(ENTRIES_OR_COUNTERS, &mut bytes) {
            Ok(()) => Ok(Some(bytes.split_off(ENTRIES_HEAD))),
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(self.failed("read")(errno)),
        }
    }

    /// Puts other entries in the place of all. Answers the counters of those that were there; `None`, and nothing is done,
    /// when they are not `count` any more.
    pub(crate) fn replace(&self, info: &Info, entries: &[u8], count: u32) -> Result<Option<Vec<u8>>> {
        let old = usize::try_from(count).unwrap_or(0);
        let mut counters = vec![0_u8; old * COUNTER];
        let mut bytes = vec![0; REPLACE_HEAD];
        put(&mut bytes, 0, TABLE);
        let numbers = [info.valid_hooks, info.count, info.size]
            .into_iter()
            .chain(info.hook_entry)
            .chain(info.underflow)
            .chain([count]);
        for (at, number) in numbers.enumerate() {
            put(&mut bytes, NAME + at * 4, &number.to_ne_bytes());
        }
        let address = counters.as_mut_ptr().expose_provenance();
        put(&mut bytes, REPLACE_HEAD - 8, &address.to_ne_bytes());
        bytes.extend_from_slice(entries);
        // `counters` has room for `count` of them, which is what the kernel writes to it, and lives until it is returned.
        match self.set(INFO_OR_REPLACE, &bytes) {
            Ok(()) => Ok(Some(counters)),
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(self.failed("replace")(errno)),
        }
    }

    /// Adds to the counters of the entries, one for each.
    pub(crate) fn add_counters(&self, counters: &[u8]) -> Result<()> {
        let mut bytes = vec![0; COUNTERS_HEAD];
        put(&mut bytes, 0, TABLE);
        let count = u32::try_from(counters.len() / COUNTER).unwrap_or(u32::MAX);
        put(&mut bytes, NAME, &count.to_ne_bytes());
        bytes.extend_from_slice(counters);
        self.set(ENTRIES_OR_COUNTERS, &bytes).map_err(self.failed("give back the counters of"))
    }

    fn get(&self, option: i32, bytes: &mut [u8]) -> rustix::io::Result<()> {
        let mut length = libc::socklen_t::try_from(bytes.len()).map_err(|_| Errno::INVAL)?;
        // SAFETY: the kernel writes at most `length` bytes to the buffer, which has as many; both outlive the call.
        let result = unsafe {
            libc::getsockopt(
                self.fd.as_raw_fd(),
                self.family.level(),
                option,
                bytes.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        outcome(result)
    }

    fn set(&self, option: i32, bytes: &[u8]) -> rustix::io::Result<()> {
        let length = libc::socklen_t::try_from(bytes.len()).map_err(|_| Errno::INVAL)?;
        // SAFETY: the kernel reads `length` bytes of the buffer, which has as many. Of the options that are set here one has
        // an address in it, to which the kernel writes as many counters as are said beside it: `replace` sees to both.
        let result = unsafe {
            libc::setsockopt(self.fd.as_raw_fd(), self.family.level(), option, bytes.as_ptr().cast(), length)
        };
        outcome(result)
    }

    fn failed(&self, op: &'static str) -> impl Fn(Errno) -> Error + use<> {
        let family = self.family;
        move |errno| Error::Kernel { op, family, errno }
    }
}

fn outcome(result: i32) -> rustix::io::Result<()> {
    if result == 0 {
        return Ok(());
    }
    let code = std::io::Error::last_os_error().raw_os_error();
    Err(code.map_or(Errno::IO, Errno::from_raw_os_error))
}
