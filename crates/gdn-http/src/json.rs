//! The JSON documents of the Garden API, as Go's `encoding/json` writes and reads them.
//!
//! Written: one document and a line feed, with `<`, `>`, `&`, U+2028 and U+2029 as escapes. Read: unknown members are
//! ignored, names count in whatever case, `null` is as good as nothing, and what follows the first document is not looked at.
//! Where ours differs from Go's decoder: documents nest 128 levels at most, and have half a million values; numbers beyond a
//! double's range are refused wherever they stand; of a name that is there twice the later value counts as a whole, and one
//! in the protocol's own case wins over all others.

use serde::Serialize;

mod container;
mod fields;
mod info;
mod lenient;
mod metrics;
mod network;
mod process;

pub(crate) use container::{container_spec, grace_time, kill, property};
pub(crate) use fields::Fields;
pub(crate) use info::{BulkInfo, Capacity, Created, Handles, Info, Nothing, Property, properties};
pub(crate) use info::{CpuLimit, MemoryLimit};
pub(crate) use metrics::{BulkMetrics, Metrics};
pub(crate) use network::{MappedPort, net_in, net_out, net_out_rules};
pub(crate) use process::{process_spec, window_size};

/// A document as Go writes it, with the line feed at its end.
pub(crate) fn document(value: &impl Serialize) -> Vec<u8> {
    let text = serde_json::to_string(value).expect("our own types have no keys that are not text");
    let mut document = Vec::with_capacity(text.len() + 1);
    for character in text.chars() {
        // These stand only in strings, where an escape means the same.
        match character {
            '<' => document.extend_from_slice(b"\\u003c"),
            '>' => document.extend_from_slice(b"\\u003e"),
            '&' => document.extend_from_slice(b"\\u0026"),
            '\u{2028}' => document.extend_from_slice(b"\\u2028"),
            '\u{2029}' => document.extend_from_slice(b"\\u2029"),
            _ => document.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    document.push(b'\n');
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_escaped_as_go_escapes_it_and_ends_in_a_line_feed() {
        let document = document(&"a<b>&c\u{2028}\u{2029}\u{e9}\"\n");
        assert_eq!(
            String::from_utf8(document).unwrap(),
            "\"a\\u003cb\\u003e\\u0026c\\u2028\\u2029\u{e9}\\\"\\n\"\n"
        );
    }
}
