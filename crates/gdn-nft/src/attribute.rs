//! Netlink messages and their attributes: written and read.
//!
//! Numbers in attributes of netfilter are big-endian; lengths and types in headers are the host's.

/// `NLA_F_NESTED`: the value is attributes again.
const NESTED: u16 = 0x8000;
/// The bits of an attribute's type that are not flags (`NLA_TYPE_MASK`).
const TYPE_MASK: u16 = 0x3fff;
/// Length of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;
/// Length of `struct nfgenmsg`.
pub(crate) const FAMILY_HEADER: usize = 4;
const ATTRIBUTE_HEADER: usize = 4;

/// The header of one message to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) family: u8,
    /// `res_id` of `struct nfgenmsg`.
    pub(crate) resource: u16,
}

/// Appends one message with the attributes that `body` writes. Its sequence number is left 0.
pub(crate) fn message(out: &mut Vec<u8>, header: Header, body: impl FnOnce(&mut Writer<'_>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&header.kind.to_ne_bytes());
    out.extend_from_slice(&header.flags.to_ne_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&[header.family, 0]);
    out.extend_from_slice(&header.resource.to_be_bytes());
    body(&mut Writer { out });
    let length = u32::try_from(out.len() - start).expect("a message is made of attributes below 64 KiB each");
    out[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

/// Sets the sequence number of the message that starts at `at`.
pub(crate) fn set_sequence(out: &mut [u8], at: usize, sequence: u32) {
    if let Some(field) = out.get_mut(at + 8..at + 12) {
        field.copy_from_slice(&sequence.to_ne_bytes());
    }
}

/// Adds flags to the message that starts at `at`.
pub(crate) fn add_flags(out: &mut [u8], at: usize, flags: u16) {
    if let Some(field) = out.get_mut(at + 6..at + 8) {
        let old = u16::from_ne_bytes([field[0], field[1]]);
        field.copy_from_slice(&(old | flags).to_ne_bytes());
    }
}

/// Appends attributes to a message.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    /// Bytes.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.out.extend_from_slice(value);
        self.close(start);
    }

    /// Attributes as they were read.
    pub(crate) fn raw(&mut self, attributes: &[u8]) {
        self.out.extend_from_slice(attributes);
    }

    /// A string with its final NUL, as netfilter wants it.
    pub(crate) fn string(&mut self, kind: u16, value: &str) {
        let start = self.open(kind);
        self.out.extend_from_slice(value.as_bytes());
        self.out.push(0);
        self.close(start);
    }

    pub(crate) fn number8(&mut self, kind: u16, value: u8) {
        self.bytes(kind, &[value]);
    }

    pub(crate) fn number16(&mut self, kind: u16, value: u16) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(crate) fn number32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(crate) fn number64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// Attributes in an attribute.
    pub(crate) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Writer<'_>)) {
        let start = self.open(kind | NESTED);
        body(&mut Writer { out: self.out });
        self.close(start);
    }

    /// Bytes already written to the message.
    pub(crate) fn written(&self) -> usize {
        self.out.len()
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.out.len();
        self.out.extend_from_slice(&[0; 2]);
        self.out.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        let length = u16::try_from(self.out.len() - start).expect("what is written is bounded below 64 KiB");
        self.out[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.out.resize(start + usize::from(length).next_multiple_of(4), 0);
    }
}

/// One message as read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    /// The socket that asked for it, or whose doing it tells of.
    pub(crate) port: u32,
    pub(crate) payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The address family of `struct nfgenmsg`; 0 where the message has none.
    pub(crate) fn family(&self) -> u8 {
        self.payload.first().copied().unwrap_or(0)
    }

    /// The attributes after `struct nfgenmsg`.
    pub(crate) fn attributes(&self) -> Attributes<'a> {
        Attributes(self.payload.get(FAMILY_HEADER..).unwrap_or(&[]))
    }
}

/// The messages of one datagram. Ends at the first that does not fit into it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let length = usize::try_from(native32(self.0)?).ok()?;
        let whole = self.0.get(..length)?;
        let message = Message {
            kind: native16(whole.get(4..)?)?,
            flags: native16(whole.get(6..)?)?,
            sequence: native32(whole.get(8..)?)?,
            port: native32(whole.get(12..)?)?,
            payload: whole.get(HEADER..)?,
        };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    }
}

/// Attributes: pairs of type (without flags) and value. Ends at the first that does not fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Attributes<'a> {
    /// The value of the first attribute of this type.
    pub(crate) fn find(mut self, kind: u16) -> Option<&'a [u8]> {
        Iterator::find(&mut self, |(found, _)| *found == kind).map(|(_, value)| value)
    }

    /// The attributes in the first attribute of this type; none where there is no such attribute.
    pub(crate) fn inside(self, kind: u16) -> Attributes<'a> {
        Attributes(self.find(kind).unwrap_or(&[]))
    }

    /// A string without its final NUL.
    pub(crate) fn string(self, kind: u16) -> Option<String> {
        self.find(kind).map(text)
    }

    pub(crate) fn number32(self, kind: u16) -> Option<u32> {
        self.find(kind)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(crate) fn number64(self, kind: u16) -> Option<u64> {
        self.find(kind)?.try_into().ok().map(u64::from_be_bytes)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let length = usize::from(native16(self.0)?);
        let kind = native16(self.0.get(2..)?)? & TYPE_MASK;
        let value = self.0.get(ATTRIBUTE_HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    }
}

/// A string up to its first NUL; what is not UTF-8 is replaced.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or(value)).into_owned()
}

/// The first two bytes as a number of the host.
pub(crate) fn native16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().copied().map(u16::from_ne_bytes)
}

/// The first four bytes as a number of the host.
pub(crate) fn native32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::{Attributes, Header, Messages, message, set_sequence};

    const HEADER: Header = Header { kind: 0xa00, flags: 1, family: 1, resource: 10 };

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let mut out = Vec::new();
        message(&mut out, HEADER, |body| {
            body.string(1, "table");
            body.nest(2, |inner| {
                inner.number16(1, 0x0102);
                inner.number64(2, 7);
            });
            body.number32(3, 9);
        });
        set_sequence(&mut out, 0, 77);
        assert_eq!(out.len() % 4, 0);
        let all: Vec<_> = Messages(&out).collect();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].kind, all[0].sequence, all[0].family()), (0xa00, 77, 1));
        let attributes = all[0].attributes();
        assert_eq!(attributes.string(1).as_deref(), Some("table"));
        assert_eq!(attributes.inside(2).find(1), Some(&[1, 2][..]));
        assert_eq!(attributes.inside(2).number64(2), Some(7));
        assert_eq!(attributes.number32(3), Some(9));
        assert_eq!(attributes.find(4), None);
    }

    #[test]
    fn bytes_of_an_attribute_are_padded_but_not_its_length() {
        let mut out = Vec::new();
        message(&mut out, HEADER, |body| body.bytes(5, b"abcde"));
        assert_eq!(&out[20..], &[9, 0, 5, 0, b'a', b'b', b'c', b'd', b'e', 0, 0, 0]);
    }

    #[test]
    fn no_cut_or_lying_message_makes_the_reader_read_beyond_it() {
        let mut out = Vec::new();
        message(&mut out, HEADER, |body| {
            body.nest(2, |inner| inner.string(1, "a name"));
            body.number32(3, 9);
        });
        for cut in 0..out.len() {
            let found: Vec<_> = Messages(&out[..cut]).flat_map(|one| one.attributes()).collect();
            assert!(found.is_empty(), "{cut}");
        }
        for at in 0..out.len() {
            for value in [0, 1, 3, 5, 0x7f, 0xff] {
                let mut lie = out.clone();
                lie[at] = value;
                for one in Messages(&lie).take(100) {
                    for (_, value) in one.attributes().take(100) {
                        let _ = Attributes(value).take(100).count();
                    }
                }
            }
        }
    }
}
