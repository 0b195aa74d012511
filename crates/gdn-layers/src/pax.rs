//! Extended headers (POSIX.1-2001 pax), parsed by their own lengths: a value may hold any byte, newlines included.

/// What an extended header says of the entry that follows.
#[derive(Default)]
pub(crate) struct Extended {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) mtime: Option<(i64, u32)>,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) sparse: bool,
}

/// Prefix of records that hold an extended attribute, by which GNU tar, star and Go agree.
const XATTR: &[u8] = b"SCHILY.xattr.";

impl Extended {
    /// Parses the records; a later record of one key replaces the earlier.
    pub(crate) fn parse(data: &[u8]) -> Result<Self, &'static str> {
        let mut extended = Extended::default();
        let mut rest = data;
        while !rest.is_empty() {
            let (key, value, after) = record(rest)?;
            extended.set(key, value)?;
            rest = after;
        }
        Ok(extended)
    }

    /// Whether the header changes what an archive contains, which a global header must not.
    pub(crate) fn is_structural(&self) -> bool {
        self.path.is_some()
            || self.link.is_some()
            || self.size.is_some()
            || self.sparse
            || !self.xattrs.is_empty()
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        // An empty value withdraws the record (POSIX), so that the header's own field counts again.
        let given = !value.is_empty();
        match key {
            b"path" => self.path = given.then(|| value.to_vec()),
            b"linkpath" => self.link = given.then(|| value.to_vec()),
            b"size" => self.size = optional(given, value)?,
            b"uid" => self.uid = optional(given, value)?,
            b"gid" => self.gid = optional(given, value)?,
            b"mtime" => self.mtime = if given { Some(time(value)?) } else { None },
            _ if key.starts_with(b"GNU.sparse.") => self.sparse = true,
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.xattrs.retain(|(known, _)| known != name);
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// One record, `LENGTH KEY=VALUE\n`, and what follows it.
#[allow(clippy::type_complexity, reason = "three parts of one slice")]
fn record(data: &[u8]) -> Result<(&[u8], &[u8], &[u8]), &'static str> {
    let space = data
        .iter()
        .take(20)
        .position(|byte| *byte == b' ')
        .ok_or("an extended header record has no length")?;
    let length =
        usize::try_from(number(&data[..space])?).map_err(|_| "an extended header record is too long")?;
    if length > data.len() || length < space + 3 {
        return Err("an extended header record has a wrong length");
    }
    let (body, newline) = data[space + 1..length].split_at(length - space - 2);
    if newline != b"\n" {
        return Err("an extended header record does not end in a newline");
    }
    let equals = body.iter().position(|byte| *byte == b'=').ok_or("an extended header record has no =")?;
    if equals == 0 {
        return Err("an extended header record has no key");
    }
    Ok((&body[..equals], &body[equals + 1..], &data[length..]))
}

fn optional(given: bool, value: &[u8]) -> Result<Option<u64>, &'static str> {
    if given { number(value).map(Some) } else { Ok(None) }
}

fn number(digits: &[u8]) -> Result<u64, &'static str> {
    let text = std::str::from_utf8(digits).map_err(|_| "an extended header holds no number")?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("an extended header holds no number where one belongs");
    }
    text.parse().map_err(|_| "a number of an extended header is too large")
}

/// Seconds with an optional sign and fraction; digits beyond nanoseconds are dropped.
fn time(value: &[u8]) -> Result<(i64, u32), &'static str> {
    let text = std::str::from_utf8(value).map_err(|_| "an extended header holds no time")?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().map_err(|_| "an extended header holds no time where one belongs")?;
    let digits = format!("{:0<9.9}", fraction);
    let nanos: u32 = digits.parse().map_err(|_| "an extended header holds no time where one belongs")?;
    if whole.starts_with('-') && nanos > 0 {
        return Ok((seconds - 1, 1_000_000_000 - nanos));
    }
    Ok((seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &[u8]) -> Vec<u8> {
        let mut length = text.len() + 3;
        while format!("{length} ").len() + text.len() + 1 != length {
            length = format!("{length} ").len() + text.len() + 1;
        }
        [format!("{length} ").as_bytes(), text, b"\n"].concat()
    }

    #[test]
    fn a_value_may_hold_newlines_and_the_last_record_of_a_key_counts() {
        let data =
            [line(b"SCHILY.xattr.user.a=x\n12 y=z\n"), line(b"path=one"), line(b"path=two"), line(b"size=7")]
                .concat();
        let extended = Extended::parse(&data).unwrap();
        assert_eq!(extended.xattrs, [(b"user.a".to_vec(), b"x\n12 y=z\n".to_vec())]);
        assert_eq!(extended.path.as_deref(), Some(&b"two"[..]));
        assert_eq!(extended.size, Some(7));
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"x"[..],
            b"5 a=b",
            b"99 a=b\n",
            b"3 \n",
            b"6 ab=\n\n",
            b"6 abc\n",
            b"5 =b\n",
            b"9 size=-\n",
            b"0 a=b\n",
        ] {
            assert!(Extended::parse(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn times_have_fractions_and_signs() {
        assert_eq!(time(b"12.5").unwrap(), (12, 500_000_000));
        assert_eq!(time(b"-1.25").unwrap(), (-2, 750_000_000));
        assert_eq!(time(b"3").unwrap(), (3, 0));
        assert!(time(b"x").is_err() && time(b"1.x").is_err() && time(b"").is_err());
    }
}
