//! Names and comments, checked before anything is sent.

use crate::{Error, Result};

/// The longest name of a table, chain or set, in bytes (`NFT_NAME_MAXLEN` without the NUL).
const NAME_BYTES: usize = 255;
/// The longest name of an interface, in bytes (`IFNAMSIZ` without the NUL).
const INTERFACE_BYTES: usize = 15;
/// The longest comment, in bytes (`NFTNL_UDATA_COMMENT_MAXLEN` without the NUL).
const COMMENT_BYTES: usize = 127;

/// A table's, chain's or set's name: printable, without spaces and quotes. Names of others may hold more than letters.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<()> {
    let fine = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
    check(what, name, (1..=NAME_BYTES).contains(&name.len()) && name.bytes().all(fine))
}

/// An interface's name or its beginning.
pub(crate) fn check_interface(name: &str) -> Result<()> {
    let fine = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'/' | b':' | b'*');
    let length = (1..=INTERFACE_BYTES).contains(&name.len());
    check("interface name", name, length && name.bytes().all(fine) && name != "." && name != "..")
}

/// A comment or a log prefix: one line that can stand between quotes.
pub(crate) fn check_text(what: &'static str, text: &str) -> Result<()> {
    let fine = |c: char| !c.is_control() && c != '"';
    check(what, text, (1..=COMMENT_BYTES).contains(&text.len()) && text.chars().all(fine))
}

fn check(what: &'static str, name: &str, fine: bool) -> Result<()> {
    if fine { Ok(()) } else { Err(Error::Name { what, name: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::{check_interface, check_name, check_text};

    #[test]
    fn names_are_bounded_and_printable() {
        assert!(check_name("chain", "DOCKER-USER").is_ok());
        for bad in ["", "a b", "a\0", "a\n", "a\"", "ä", &"a".repeat(256)] {
            assert!(check_name("chain", bad).is_err(), "{bad:?}");
        }
        assert!(check_interface("eth0.100").is_ok());
        for bad in ["", "..", "a/b", "a*", "sixteen-bytes-xx"] {
            assert!(check_interface(bad).is_err(), "{bad:?}");
        }
        assert!(check_text("comment", "für handle a:b").is_ok());
        assert!(check_text("comment", "two\nlines").is_err());
        assert!(check_text("comment", &"a".repeat(128)).is_err());
    }
}
