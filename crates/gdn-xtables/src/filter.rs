//! The table.

use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use rustix::io::Errno;

use crate::lock::Lock;
use crate::socket::Socket;
use crate::{Error, Family, Result, Rule, Snapshot};

/// How often a table that others change without the lock is read anew.
const ATTEMPTS: usize = 10;

/// The filter table of a family in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Filter {
    family: Family,
    socket: Socket,
}

impl Filter {
    /// The table of the network namespace of the calling thread; `None` where the kernel has none yet. It makes none: a
    /// table that is there costs every packet.
    ///
    /// # Errors
    /// [`Error::File`] when the kernel's list of tables cannot be read; `EPERM` without `CAP_NET_RAW`.
    pub fn open(family: Family) -> Result<Option<Filter>> {
        let path = family.names();
        let names = match fs::read_to_string(path) {
            Ok(names) => names,
            // A kernel without such tables, or without the family.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
                return Err(Error::File { op: "read", path: path.into(), errno });
            }
        };
        if !names.lines().any(|name| name.as_bytes() == crate::layout::TABLE) {
            return Ok(None);
        }
        Ok(Some(Filter { family, socket: Socket::open(family)? }))
    }

    /// How many bytes its entries take: some 200 for a short rule.
    ///
    /// # Errors
    /// [`Error::Kernel`]; `EPERM` without `CAP_NET_ADMIN`.
    pub fn size(&self) -> Result<u32> {
        Ok(self.socket.info()?.size)
    }

    /// The table as it is now.
    ///
    /// # Errors
    /// [`Error::Kernel`]; [`Error::Malformed`] when it is not understood; [`Error::Busy`] when it changes all the time.
    pub fn read(&self) -> Result<Snapshot> {
        for _ in 0..ATTEMPTS {
            let info = self.socket.info()?;
            if let Some(bytes) = self.socket.entries(&info)? {
                return Snapshot::parse(self.family, info, &bytes);
            }
        }
        Err(Error::Busy { family: self.family, waited_ms: 0 })
    }

    /// Sees to it that these rules, which have one comment, are at the head of FORWARD and nowhere else in it: others with
    /// that comment are taken out. Answers whether anything had to be changed. Waits for other programs for so long.
    ///
    /// # Errors
    /// [`Error::Text`] for rules that cannot be or have different comments; [`Error::Busy`]; as for [`read`](Filter::read).
    pub fn put_at_head(&self, rules: &[Rule], patience: Duration) -> Result<bool> {
        let Some(first) = rules.first() else { return Ok(false) };
        if let Some(other) = rules.iter().find(|rule| rule.comment() != first.comment()) {
            return Err(Error::Text { what: "second comment", text: other.comment().to_owned() });
        }
        self.change(first.comment(), rules, patience)
    }

    /// Takes the rules with a comment out of FORWARD, and answers whether there were any. Waits for other programs for so
    /// long.
    ///
    /// # Errors
    /// As for [`put_at_head`](Filter::put_at_head).
    pub fn remove(&self, comment: &str, patience: Duration) -> Result<bool> {
        self.change(comment, &[], patience)
    }

    fn change(&self, comment: &str, rules: &[Rule], patience: Duration) -> Result<bool> {
        let is_so = |now: &Snapshot| now.forward_marked(comment) == (rules.len(), rules.len());
        if is_so(&self.read()?) {
            return Ok(false);
        }
        let new: Vec<Vec<u8>> = rules.iter().map(|rule| rule.encode(self.family)).collect::<Result<_>>()?;
        let _lock = Lock::take(self.family, patience)?;
        for _ in 0..ATTEMPTS {
            let now = self.read()?;
            if is_so(&now) {
                return Ok(false);
            }
            let edit = now.edit(comment, &new)?;
            if let Some(before) = self.socket.replace(&edit.info, &edit.bytes, now.info.count)? {
                // The entries that are put in begin with nothing counted.
                self.socket.add_counters(&edit.counters(&before))?;
                return Ok(true);
            }
        }
        Err(Error::Busy { family: self.family, waited_ms: patience.as_millis() })
    }
}
