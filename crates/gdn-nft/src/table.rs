//! Tables.

use std::fmt;

/// Which packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Frames at a bridge.
    Bridge,
    /// ARP.
    Arp,
    /// Frames at a device, before all else.
    Netdev,
}

impl Family {
    const ALL: [(Family, u8, &'static str); 6] = [
        (Family::Inet, 1, "inet"),
        (Family::Ip, 2, "ip"),
        (Family::Arp, 3, "arp"),
        (Family::Netdev, 5, "netdev"),
        (Family::Bridge, 7, "bridge"),
        (Family::Ip6, 10, "ip6"),
    ];

    /// The kernel's number (`NFPROTO_*`).
    pub(crate) fn number(self) -> u8 {
        Family::ALL.iter().find(|(family, ..)| *family == self).map_or(0, |(_, number, _)| *number)
    }

    pub(crate) fn of_number(number: u8) -> Option<Family> {
        Family::ALL.iter().find(|(_, known, _)| *known == number).map(|(family, ..)| *family)
    }
}

impl fmt::Display for Family {
    /// The name as `nft` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Family::ALL.iter().find(|(family, ..)| family == self).map_or("", |(.., name)| name))
    }
}

/// Bytes of a comment that count.
const MOST_COMMENT: usize = 128;

/// A table: the name under which chains, sets and maps are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub(crate) family: Family,
    pub(crate) name: String,
    pub(crate) flags: u32,
    pub(crate) comment: Option<String>,
}

impl Table {
    /// `NFT_TABLE_F_OWNER`.
    pub(crate) const OWNER: u32 = 2;
    /// `NFT_TABLE_F_PERSIST`.
    pub(crate) const PERSIST: u32 = 4;

    /// A table anybody may change. The name is at most 255 printable bytes.
    pub fn new(family: Family, name: &str) -> Table {
        Table { family, name: name.to_owned(), flags: 0, comment: None }
    }

    /// Only the socket that added it may change it, and it goes with that socket (Linux 5.12).
    pub fn owned(mut self) -> Table {
        self.flags |= Table::OWNER;
        self
    }

    /// It stays when its owner's socket is gone, and whoever adds it again with these flags owns it (Linux 6.9).
    pub fn persistent(mut self) -> Table {
        self.flags |= Table::PERSIST;
        self
    }

    /// With a comment, which a table gets when it is made (Linux 5.10; earlier ones do without). At most 128 bytes count.
    pub fn comment(mut self, comment: &str) -> Table {
        let fits = comment.char_indices().take_while(|(at, letter)| at + letter.len_utf8() <= MOST_COMMENT);
        self.comment = Some(fits.map(|(_, letter)| letter).collect());
        self
    }

    /// Its family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}
