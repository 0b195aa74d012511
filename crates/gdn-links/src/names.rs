//! What links are called by: names, numbers and hardware addresses.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// The number of a link within its network namespace.
///
/// Two namespaces give out the same numbers; keep the namespace beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkIndex(u32);

impl LinkIndex {
    /// The loopback link, which has this number in every namespace (`LOOPBACK_IFINDEX`).
    pub const LOOPBACK: LinkIndex = LinkIndex(1);

    /// A number that came from elsewhere, such as a record or a firewall.
    #[must_use]
    pub const fn new(index: u32) -> Self {
        LinkIndex(index)
    }

    /// The number as the kernel knows it.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for LinkIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The name of a link: 1 to 15 bytes, as `dev_valid_name` of the kernel takes them and without what surprises readers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkName(String);

impl LinkName {
    /// The longest name in bytes (`IFNAMSIZ` - 1).
    pub const MAX_LENGTH: usize = 15;

    /// Checks a name.
    ///
    /// # Errors
    /// [`Error::InvalidName`] when it is empty or too long, is `.` or `..`, or holds `/`, `:`, `%` (the kernel would put a
    /// number there), white space or what is not printable ASCII.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let is_name = (1..=Self::MAX_LENGTH).contains(&name.len())
            && name != "."
            && name != ".."
            && name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%'));
        if is_name { Ok(LinkName(name)) } else { Err(Error::InvalidName { name }) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LinkName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        LinkName::new(name)
    }
}

/// A hardware address of an ethernet link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = Error;

    /// Reads six hexadecimal bytes with colons between them.
    fn from_str(text: &str) -> Result<Self> {
        let parsed: Option<Vec<u8>> = text
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).ok().filter(|_| byte.len() == 2))
            .collect();
        parsed
            .and_then(|bytes| bytes.try_into().ok())
            .map(Mac)
            .ok_or_else(|| Error::InvalidMac { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_name_is_what_the_kernel_takes() {
        for name in ["a", "gdn-0123456789a", "eth0.5", "w+_="] {
            assert_eq!(LinkName::new(name).unwrap().as_str(), name);
        }
        for name in ["", ".", "..", "a b", "a/b", "a:b", "gdn%d", "a\n", "0123456789abcdef", "ü"] {
            assert_eq!(LinkName::new(name), Err(Error::InvalidName { name: name.to_owned() }));
        }
    }

    #[test]
    fn a_hardware_address_reads_as_it_is_written() {
        let mac = Mac([2, 0, 0xab, 0xcd, 0, 0xff]);
        assert_eq!(mac.to_string(), "02:00:ab:cd:00:ff");
        assert_eq!(mac.to_string().parse(), Ok(mac));
        for text in [
            "",
            "02:00:ab:cd:00",
            "02:00:ab:cd:00:ff:00",
            "2:0:ab:cd:0:ff",
            "02-00-ab-cd-00-ff",
            "+2:00:ab:cd:00:ff0",
        ] {
            assert_eq!(text.parse::<Mac>(), Err(Error::InvalidMac { text: text.to_owned() }));
        }
    }
}
