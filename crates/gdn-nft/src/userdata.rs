//! What `nft` keeps beside the kernel's own attributes: comments, and how keys are to be shown.
//!
//! It is a list of type (one byte), length (one byte) and value. The kernel stores it and does not look at it.

use crate::attribute::text;

/// A comment of a rule (`NFTNL_UDATA_RULE_COMMENT`), of an element, or of a table or chain.
pub(crate) const COMMENT: u8 = 0;
/// `NFTNL_UDATA_SET_KEYBYTEORDER`.
pub(crate) const SET_KEY_ORDER: u8 = 0;
/// `NFTNL_UDATA_SET_DATABYTEORDER`.
pub(crate) const SET_DATA_ORDER: u8 = 1;
/// `NFTNL_UDATA_SET_COMMENT`.
pub(crate) const SET_COMMENT: u8 = 7;

/// Appends one entry.
pub(crate) fn put(to: &mut Vec<u8>, kind: u8, value: &[u8]) {
    let length = u8::try_from(value.len()).expect("comments are checked to be short");
    to.extend_from_slice(&[kind, length]);
    to.extend_from_slice(value);
}

/// Appends a comment with its NUL.
pub(crate) fn put_text(to: &mut Vec<u8>, kind: u8, value: &str) {
    let mut bytes = value.as_bytes().to_vec();
    bytes.push(0);
    put(to, kind, &bytes);
}

/// The comment among the entries.
pub(crate) fn find_text(mut from: &[u8], kind: u8) -> Option<String> {
    while let [found, length, rest @ ..] = from {
        let value = rest.get(..usize::from(*length))?;
        if *found == kind {
            return Some(text(value));
        }
        from = rest.get(usize::from(*length)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{find_text, put, put_text};

    #[test]
    fn a_comment_is_found_behind_other_entries_and_never_beyond_the_end() {
        let mut bytes = Vec::new();
        put(&mut bytes, 3, &[1, 2]);
        put_text(&mut bytes, 0, "why");
        assert_eq!(bytes, [3, 2, 1, 2, 0, 4, b'w', b'h', b'y', 0]);
        assert_eq!(find_text(&bytes, 0).as_deref(), Some("why"));
        for cut in 0..bytes.len() {
            assert_eq!(find_text(&bytes[..cut], 0), None);
        }
    }
}
