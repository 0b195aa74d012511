//! Extended headers (POSIX.1-2001 pax): records of a length, a key and a value that may hold any byte, newlines included.

use super::attributes::Attribute;

/// Prefix of records that hold an extended attribute, by which GNU tar, star and Go agree.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// What an extended header says of the entry that follows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) attributes: Vec<Attribute>,
}

impl Extended {
    /// Parses the records; a later record of one key replaces the earlier.
    pub(super) fn parse(data: &[u8]) -> Result<Self, &'static str> {
        let mut extended = Extended::default();
        let mut rest = data;
        while !rest.is_empty() {
            let (key, value, after) = record(rest).ok_or("a record of an extended header is malformed")?;
            extended.set(key, value)?;
            rest = after;
        }
        Ok(extended)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        // An empty value withdraws the record (POSIX), so that the header's own field counts again.
        let given = !value.is_empty();
        match key {
            b"path" => self.path = given.then(|| value.to_vec()),
            b"linkpath" => self.link = given.then(|| value.to_vec()),
            b"size" if !given => self.size = None,
            b"size" => {
                self.size = Some(number(value).ok_or("an extended header holds no number as size")?);
            }
            _ => {
                let Some(name) = key.strip_prefix(XATTR).map(decoded) else { return Ok(()) };
                if name.is_empty() || name.contains(&0) {
                    return Err("an extended attribute has no name that a file's can have");
                }
                self.attributes.retain(|known| known.name != name);
                self.attributes.push(Attribute { name, value: value.to_vec() });
            }
        }
        Ok(())
    }
}

/// The records that hold these attributes.
pub(super) fn records(attributes: &[Attribute]) -> Vec<u8> {
    let mut records = Vec::new();
    for attribute in attributes {
        let key = [XATTR, &encoded(&attribute.name)].concat();
        let rest = key.len() + attribute.value.len() + " =\n".len();
        // The length counts its own digits.
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length = rest + length.to_string().len();
        }
        records.extend_from_slice(format!("{length} ").as_bytes());
        records.extend_from_slice(&key);
        records.push(b'=');
        records.extend_from_slice(&attribute.value);
        records.push(b'\n');
    }
    records
}

/// One record, `LENGTH KEY=VALUE\n`: its key, its value, and what follows it.
#[allow(clippy::type_complexity, reason = "three parts of one slice")]
fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    // More digits than a length in memory has.
    let space = data.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(number(&data[..space])?).ok()?;
    let body = data.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
    Some((&body[..equals], &body[equals + 1..], &data[length..]))
}

fn number(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?;
    // A sign is not parsed away.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// What GNU tar writes for bytes that would end the key, or begin what stands for such a byte.
const ESCAPES: [(u8, &[u8]); 2] = [(b'%', b"%25"), (b'=', b"%3D")];

fn encoded(name: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(name.len());
    for byte in name {
        match ESCAPES.iter().find(|(escaped, _)| escaped == byte) {
            Some((_, escape)) => text.extend_from_slice(escape),
            None => text.push(*byte),
        }
    }
    text
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        match ESCAPES.iter().find(|(_, escape)| rest.starts_with(escape)) {
            Some((byte, escape)) => {
                name.push(*byte);
                rest = &rest[escape.len()..];
            }
            None => {
                name.push(*first);
                rest = after;
            }
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(name: &[u8], value: &[u8]) -> Attribute {
        Attribute { name: name.to_vec(), value: value.to_vec() }
    }

    #[test]
    fn attributes_are_read_as_they_were_written() {
        // Lengths at which the number of digits changes, and what other readers take for the end of a record.
        for length in [0, 1, 60, 66, 67, 68, 69, 70, 71, 72, 73, 970, 980, 9_970, 65_536] {
            let attributes = [
                attribute(b"user.a", &vec![b'\n'; length]),
                attribute(b"user.b=c%3D%d", b"x\n11 size=99\n\0\xff"),
                attribute(b"user.\xff\xfe\n 1", b""),
            ];
            let read = Extended::parse(&records(&attributes)).unwrap();
            assert_eq!(read.attributes, attributes, "{length}");
            assert_eq!((read.path, read.link, read.size), (None, None, None));
        }
        assert_eq!(records(&[attribute(b"user.a=b", b"12")]), b"30 SCHILY.xattr.user.a%3Db=12\n");
    }

    #[test]
    fn the_last_record_of_a_key_counts_and_an_empty_one_withdraws_it() {
        let data = b"12 path=one\n12 path=two\n14 linkpath=l\n13 linkpath=\n10 size=7\n25 SCHILY.xattr.user.a=x\n25 SCHILY.xattr.user.a=y\n";
        let read = Extended::parse(data).unwrap();
        assert_eq!((read.path.as_deref(), read.link, read.size), (Some(&b"two"[..]), None, Some(7)));
        assert_eq!(read.attributes, [attribute(b"user.a", b"y")]);
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"x"[..],
            b"5 a=b",
            b"99 a=b\n",
            b"3 \n",
            b"2 \n",
            b"0 a=b\n",
            b"6 ab=\n\n",
            b"6 abc\n",
            b"5 =b\n",
            b" 6 a=b\n",
            b"+6 a=b\n",
            b"18446744073709551615 a=b\n",
            b"9 size=-\n",
            b"10 size=+7\n",
            b"17 SCHILY.xattr.=\n",
            b"24 SCHILY.xattr.user.\0=\n",
        ] {
            assert!(Extended::parse(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
    }
}
