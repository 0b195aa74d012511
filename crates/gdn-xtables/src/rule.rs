//! Rules that can be put in.

use crate::layout::{ACCEPT, COMMENT, EXTENSION_HEAD, Family, INTERFACE, Layout, STANDARD_TARGET, put};
use crate::{Error, Result};

/// A rule that accepts packets of interfaces whose names begin alike, with a comment by which it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    incoming: bool,
    beginning: String,
    comment: String,
}

impl Rule {
    /// Accepts what comes in by interfaces with names that begin so (at most 14 bytes). The comment has at most 255 bytes.
    pub fn accept_from(beginning: &str, comment: &str) -> Rule {
        Rule { incoming: true, beginning: beginning.to_owned(), comment: comment.to_owned() }
    }

    /// Accepts what goes out by interfaces with names that begin so (at most 14 bytes). The comment has at most 255 bytes.
    pub fn accept_to(beginning: &str, comment: &str) -> Rule {
        Rule { incoming: false, beginning: beginning.to_owned(), comment: comment.to_owned() }
    }

    pub(crate) fn comment(&self) -> &str {
        &self.comment
    }

    /// The entry as the kernel takes it: `-i NAME+ -m comment --comment TEXT -j ACCEPT`, or with `-o`.
    pub(crate) fn encode(&self, family: Family) -> Result<Vec<u8>> {
        self.check()?;
        let Layout { interfaces, target_offset, head, .. } = family.layout();
        let matches = EXTENSION_HEAD + COMMENT;
        let mut bytes = vec![0; head + matches + STANDARD_TARGET];
        let name = if self.incoming { interfaces } else { interfaces + INTERFACE };
        put(&mut bytes, name, self.beginning.as_bytes());
        // The mask says how much counts; the sign behind it is what people are shown.
        put(&mut bytes, name + self.beginning.len(), b"+");
        put(&mut bytes, name + 2 * INTERFACE, &vec![0xff; self.beginning.len()]);
        put(&mut bytes, target_offset, &length(head + matches));
        put(&mut bytes, target_offset + 2, &length(head + matches + STANDARD_TARGET));
        put(&mut bytes, head, &length(matches));
        put(&mut bytes, head + 2, b"comment");
        put(&mut bytes, head + EXTENSION_HEAD, self.comment.as_bytes());
        let target = head + matches;
        put(&mut bytes, target, &length(STANDARD_TARGET));
        put(&mut bytes, target + EXTENSION_HEAD, &ACCEPT.to_ne_bytes());
        Ok(bytes)
    }

    fn check(&self) -> Result<()> {
        let Rule { beginning, comment, .. } = self;
        let fine = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        // One byte is for the sign, one for the end.
        if beginning.is_empty() || beginning.len() > INTERFACE - 2 || !fine(beginning) {
            return Err(Error::Text { what: "beginning of an interface name", text: beginning.clone() });
        }
        if comment.is_empty() || comment.len() >= COMMENT || comment.contains('\0') {
            return Err(Error::Text { what: "comment", text: comment.clone() });
        }
        Ok(())
    }
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_interface_or_comment_can_be_is_refused() {
        for (beginning, comment) in [
            ("", "c"),
            ("123456789012345", "c"),
            ("a/b", "c"),
            ("a b", "c"),
            ("a", ""),
            ("a", "\0"),
            ("a", &"x".repeat(256)),
        ] {
            let refused = Rule::accept_from(beginning, comment).encode(Family::Ip);
            assert!(matches!(refused, Err(Error::Text { .. })), "{beginning:?} {comment:?}");
        }
        assert!(Rule::accept_to("12345678901234", &"x".repeat(255)).encode(Family::Ip6).is_ok());
    }
}
