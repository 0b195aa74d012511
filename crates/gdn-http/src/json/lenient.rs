//! What Go's decoder takes and ours does not: text that is no text.
//!
//! Go puts U+FFFD in the place of bytes that are no UTF-8, and of an escape for one half of a surrogate pair without the other.
//! Clients send such things, mostly as input of a process. It is looked for only in documents that were refused.

/// The document with U+FFFD where Go reads it; none when there is no such place.
pub(super) fn mended(document: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(document);
    match (without_halves(&text), text) {
        (Some(whole), _) => Some(whole),
        (None, std::borrow::Cow::Owned(text)) => Some(text),
        (None, std::borrow::Cow::Borrowed(_)) => None,
    }
}

/// The text without escapes for halves of pairs; none when it has none.
fn without_halves(text: &str) -> Option<String> {
    let mut whole = String::new();
    let mut done = 0;
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('\\')) {
        let begin = at + found;
        let end = match unit(text, begin) {
            // Another escape is two characters long, and the second may be a backslash.
            None => begin + 1 + text[begin + 1..].chars().next().map_or(0, char::len_utf8),
            Some(0xd800..=0xdbff) if matches!(unit(text, begin + 6), Some(0xdc00..=0xdfff)) => begin + 12,
            Some(0xd800..=0xdfff) => {
                whole.push_str(&text[done..begin]);
                whole.push('\u{fffd}');
                done = begin + 6;
                done
            }
            Some(_) => begin + 6,
        };
        at = end;
    }
    if done == 0 {
        return None;
    }
    whole.push_str(&text[done..]);
    Some(whole)
}

/// The number in an escape of the form `\u0000` that begins here.
fn unit(text: &str, begin: usize) -> Option<u16> {
    let digits = text.get(begin..begin + 6)?.strip_prefix("\\u")?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn halves_of_pairs_and_bytes_that_are_no_text_become_the_replacement() {
        for (document, expected) in [
            (&br#""\ud800""#[..], Some("\"\u{fffd}\"")),
            (br#""a\udc00b\uD83D\uDE00""#, Some("\"a\u{fffd}b\\uD83D\\uDE00\"")),
            (br#""\ud83d\ud83d\ude00""#, Some("\"\u{fffd}\\ud83d\\ude00\"")),
            (br#""\ud83dx""#, Some("\"\u{fffd}x\"")),
            (b"\"a\xff\xfeb\"", Some("\"a\u{fffd}\u{fffd}b\"")),
            (b"\"\xff\\ud800\"", Some("\"\u{fffd}\u{fffd}\"")),
            (br#""\\ud800""#, None),
            (br#""\ud83d\ude00 \u00e9 \n""#, None),
            (br#""\ud8"#, None),
            (b"\\", None),
        ] {
            assert_eq!(mended(document).as_deref(), expected, "{}", String::from_utf8_lossy(document));
        }
    }

    proptest! {
        #[test]
        fn what_was_mended_needs_no_mending(document in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(text) = mended(&document) {
                prop_assert_eq!(mended(text.as_bytes()), None);
            }
        }

        #[test]
        fn escapes_of_every_kind_are_read(units in prop::collection::vec(0xd7f0_u16..0xe010, 0..8)) {
            let document: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let document = format!("\"{document}\"");
            let text = mended(document.as_bytes()).unwrap_or(document);
            let read: String = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read, String::from_utf16_lossy(&units));
        }
    }
}
