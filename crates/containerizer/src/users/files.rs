//! Reading `/etc/passwd` and `/etc/group` of a container: bounded, only where they are regular files, and not again while they
//! are what they were.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use gdn_mounts::Error;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// The largest file that is remembered, in bytes (some 100 users).
const MAX_KNOWN: usize = 8 * 1024;

/// A file changed in the last so many seconds is not remembered: another change within the same tick of the file system's
/// clock, which is a second in the coarsest, could not be told from it.
const SETTLED: i64 = 2;

/// How long a content is remembered at most.
const EXPIRY: Duration = Duration::from_secs(10);

/// The last content of a file, for as long as the file is the same, and no longer than [`EXPIRY`].
///
/// Few changes leave no trace that could be seen: through a shared mapping that was written to before (`mmap(2)`), or by a
/// `write(2)` of the same length that was held up for seconds. They show when the content expires. It is the container's own
/// file that is read, for its own processes.
#[derive(Debug, Default)]
pub(super) struct KnownFile(Mutex<Option<Known>>);

#[derive(Debug)]
struct Known {
    version: Version,
    content: Arc<str>,
    read: Instant,
}

/// What tells one state of a file from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    size: i64,
    /// Times of the last change of its content, and of anything about it, in seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    fn of(stat: &Stat) -> Self {
        let nanoseconds = |number| i64::try_from(number).unwrap_or(0);
        Version {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            modified: (stat.st_mtime, nanoseconds(stat.st_mtime_nsec)),
            changed: (stat.st_ctime, nanoseconds(stat.st_ctime_nsec)),
        }
    }

    /// Whether a change from now on is seen in the version.
    fn is_settled(&self) -> bool {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = since.ok().and_then(|since| i64::try_from(since.as_secs()).ok());
        now.zip(self.changed.0.checked_add(SETTLED)).is_some_and(|(now, settled)| settled <= now)
    }
}

impl KnownFile {
    /// The content of a file opened as a mere path: only what is known to be regular is opened for reading, since a device or
    /// a fifo can hold its opener. A missing file is an empty one.
    pub(super) fn content(
        &self,
        path: &str,
        opened: Result<OwnedFd, Error>,
        limit: usize,
    ) -> Result<Arc<str>, Error> {
        let failed = |errno| unread(path, errno);
        let file = match opened {
            Ok(file) => file,
            Err(Error::Path { errno: Errno::NOENT | Errno::NOTDIR, .. }) => return Ok("".into()),
            Err(error) => return Err(error),
        };
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            let (path, expected) = (path.to_owned(), "a regular file");
            return Err(Error::WrongKind { path, found: "something else", expected });
        }
        let version = Version::of(&stat);
        if let Some(known) = self.known(version) {
            return Ok(known);
        }
        // Before it is read: what changes it meanwhile makes another version of it.
        let (settled, read) = (version.is_settled(), Instant::now());
        let same = format!("/proc/self/fd/{}", file.as_raw_fd());
        let file = rustix::fs::open(same, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let mut bytes = Vec::new();
        let outcome = File::from(file).take(limit as u64 + 1).read_to_end(&mut bytes);
        outcome.map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        if bytes.len() > limit {
            return Err(failed(Errno::FBIG));
        }
        let content: Arc<str> = String::from_utf8_lossy(&bytes).into();
        if settled && content.len() <= MAX_KNOWN {
            let known = Known { version, content: Arc::clone(&content), read };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        }
        Ok(content)
    }

    fn known(&self, version: Version) -> Option<Arc<str>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &&Known| known.version == version && known.read.elapsed() < EXPIRY;
        known.as_ref().filter(same).map(|known| Arc::clone(&known.content))
    }
}

/// An error of the kernel about a file of the container.
pub(super) fn unread(path: &str, errno: Errno) -> Error {
    Error::Path { op: "read", path: path.to_owned(), errno }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(known: &KnownFile, path: &Path) -> String {
        let opened = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let opened = opened.map_err(|errno| unread("passwd", errno));
        known.content("passwd", opened, 1024).unwrap().to_string()
    }

    fn is_known(known: &KnownFile) -> bool {
        known.0.lock().unwrap().is_some()
    }

    #[test]
    fn a_file_that_was_just_changed_is_read_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let (path, known) = (directory.path().join("passwd"), KnownFile::default());
        for round in 0..1000 {
            let content = format!("{round:04}");
            std::fs::write(&path, &content).unwrap();
            assert_eq!(read(&known, &path), content);
        }
    }

    #[test]
    fn a_file_that_rests_is_known_until_it_changes_in_any_way() {
        let directory = tempfile::tempdir().unwrap();
        let (path, known) = (directory.path().join("passwd"), KnownFile::default());
        std::fs::write(&path, "one").unwrap();
        // Its content's time can be set; the time at which that was done cannot.
        let file = File::options().write(true).open(&path).unwrap();
        let then = SystemTime::now() - Duration::from_secs(100);
        file.set_modified(then).unwrap();
        assert_eq!(read(&known, &path), "one");
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_known(&known) {
            assert!(Instant::now() < deadline, "it is never known");
            std::thread::park_timeout(Duration::from_millis(50));
            assert_eq!(read(&known, &path), "one");
        }
        assert_eq!(read(&known, &path), "one");
        std::fs::write(&path, "two").unwrap();
        file.set_modified(then).unwrap();
        assert_eq!(read(&known, &path), "two", "the same length, and the time set back");
        let other = directory.path().join("other");
        std::fs::write(&other, "six").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(read(&known, &path), "six");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read(&known, &path), "");
    }

    #[test]
    fn what_is_known_is_not_read_again_until_it_expires() {
        let directory = tempfile::tempdir().unwrap();
        let (path, known) = (directory.path().join("passwd"), KnownFile::default());
        std::fs::write(&path, "what is there").unwrap();
        let version = Version::of(&rustix::fs::stat(&path).unwrap());
        let at = |read| Known { version, content: "what is known".into(), read };
        *known.0.lock().unwrap() = Some(at(Instant::now() + EXPIRY));
        assert_eq!(read(&known, &path), "what is known");
        *known.0.lock().unwrap() = Some(at(Instant::now().checked_sub(EXPIRY).unwrap()));
        assert_eq!(read(&known, &path), "what is there");
    }
}
