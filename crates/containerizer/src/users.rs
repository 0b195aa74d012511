//! Who a process runs as, by the container's own `/etc/passwd` and `/etc/group`.
//!
//! Both files are hostile: they are read below the container's root only, must be regular, and are bounded in size. Numbers
//! are strict: what does not fit 32 bits is an error, never a name and never user 0.

use gdn_mounts::{Error as MountError, Root};
use gdn_types::{Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use files::{KnownFile, unread};

mod files;

/// Largest file that is read (1 MiB holds some 15,000 users).
const MAX_FILE: usize = 1024 * 1024;
/// Largest file that is read without a thread of its own (some 1,000 users, read in microseconds).
const SMALL_FILE: usize = 64 * 1024;
/// Kinds of file systems that answer from memory or a local disk (`statfs(2)`): ext4, XFS, btrfs, tmpfs and overlays of
/// those. Not FUSE, 9p or NFS, where somebody else decides when to answer.
const PROMPT_FILE_SYSTEMS: [i64; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630];
/// The kernel's bound on supplementary groups.
const MAX_GROUPS: usize = 65_536;

/// A user as the kernel and the process see him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
    /// His home directory; `/` when unknown.
    pub(crate) home: String,
}

/// What is known of the files of one root.
#[derive(Debug, Default)]
pub(crate) struct KnownFiles {
    passwd: KnownFile,
    group: KnownFile,
}

/// Looks a user up: `""` (root), `name`, `uid`, `uid:gid`, `name:group`, `uid:group`. May block.
pub(crate) fn look_up(root: &Root, asked: &str) -> Result<User> {
    let failed = |path: &str, error: MountError| {
        Error::new(ErrorKind::ImageInvalid, format!("read the container's {path}: {error}"))
    };
    let read = |path: &str| {
        let opened = root.open_at(path, OFlags::PATH);
        KnownFile::default().content(path, opened, MAX_FILE).map_err(|error| failed(path, error))
    };
    resolve(asked, &read("/etc/passwd")?, &read("/etc/group")?)
}

/// As [`look_up`], where that never blocks: both files are small and lie in the root's own mount, of a kind of file system
/// whose answers nobody else can hold back. `None` says nothing about the user.
pub(crate) fn look_up_at_once(root: &Root, known: &KnownFiles, asked: &str) -> Option<Result<User>> {
    let kind = rustix::fs::fstatfs(root.as_fd()).ok()?.f_type;
    if !PROMPT_FILE_SYSTEMS.contains(&kind) {
        return None;
    }
    let resolve_flags = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let read = |known: &KnownFile, path: &str| {
        let opened =
            openat2(root.as_fd(), path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve_flags);
        known.content(path, opened.map_err(|errno| unread(path, errno)), SMALL_FILE).ok()
    };
    let (passwd, group) = (read(&known.passwd, "/etc/passwd")?, read(&known.group, "/etc/group")?);
    Some(resolve(asked, &passwd, &group))
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn passwd_entries(passwd: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (number(fields.next()?)?, number(fields.next()?)?);
        let _comment = fields.next();
        Some(PasswdEntry { name, uid, gid, home: fields.next().unwrap_or("") })
    })
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn group_entries(group: &str) -> impl Iterator<Item = GroupEntry<'_>> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        Some(GroupEntry { name, gid: number(fields.next()?)?, members: fields.next().unwrap_or("") })
    })
}

/// Decimal digits only, within what the kernel can map: `u32::MAX` means "no id".
fn number(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|number| *number != u32::MAX)
}

fn looks_numeric(text: &str) -> bool {
    text.starts_with(|first: char| first.is_numeric() || "+-".contains(first))
}

fn resolve(asked: &str, passwd: &str, group: &str) -> Result<User> {
    let (name, group_name) = match asked.split_once(':') {
        Some((name, group_name)) => (name, Some(group_name)),
        None => (asked, None),
    };
    // A number in spaces must not be found as a name.
    let spaced = asked.split(':').any(|part| part != part.trim());
    if spaced
        || asked.contains(['\0', '\n'])
        || (name.is_empty() && group_name.is_some())
        || group_name == Some("")
    {
        return Err(Error::invalid(format!("user {asked:?} is not of the form user or user:group")));
    }
    let mut user = resolve_user(name, passwd, group)?;
    if let Some(group_name) = group_name {
        user.gid = resolve_group(group_name, group)?;
        user.groups.clear();
    }
    Ok(user)
}

fn resolve_user(name: &str, passwd: &str, group: &str) -> Result<User> {
    let name = if name.is_empty() { "root" } else { name };
    let found =
        passwd_entries(passwd).find(|entry| entry.name == name && !looks_numeric(name)).or_else(|| {
            let uid = number(name)?;
            passwd_entries(passwd).find(|entry| entry.uid == uid)
        });
    if let Some(entry) = found {
        let home = if entry.home.starts_with('/') && !entry.home.contains('\0') { entry.home } else { "/" };
        let groups = groups_of(entry.name, entry.gid, group);
        return Ok(User { uid: entry.uid, gid: entry.gid, groups, home: home.to_owned() });
    }
    let nobody_listed = |uid, gid| User { uid, gid, groups: Vec::new(), home: "/".to_owned() };
    match number(name) {
        Some(uid) => Ok(nobody_listed(uid, 0)),
        None if name == "root" => Ok(nobody_listed(0, 0)),
        None if looks_numeric(name) => Err(Error::invalid(format!(
            "user {name:?} is not a number from 0 to 4294967294 and no valid name"
        ))),
        None => Err(Error::new(
            ErrorKind::UserNotFound,
            format!("unable to find user {name}: no matching entries in passwd file"),
        )),
    }
}

fn resolve_group(name: &str, group: &str) -> Result<u32> {
    if let Some(gid) = number(name) {
        return Ok(gid);
    }
    group_entries(group)
        .find(|entry| entry.name == name && !looks_numeric(name))
        .map(|entry| entry.gid)
        .ok_or_else(|| {
            Error::new(
                ErrorKind::UserNotFound,
                format!("unable to find group {name}: no matching entries in group file"),
            )
        })
}

fn groups_of(user: &str, primary: u32, group: &str) -> Vec<u32> {
    let mut groups: Vec<u32> = group_entries(group)
        .filter(|entry| entry.gid != primary && entry.members.split(',').any(|member| member == user))
        .map(|entry| entry.gid)
        .take(MAX_GROUPS)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustix::fs::FileType;
    use rustix::io::Errno;

    fn look_up_now(root: &Root, asked: &str) -> Option<Result<User>> {
        look_up_at_once(root, &KnownFiles::default(), asked)
    }

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\n\nbroken\n4294967295:x:0:0::/:\n-1:x:0:0::/:\n 0:x:0:0::/:\n";
    const GROUP: &str = "root:x:0:\naudio:x:29:alice,bob\nwheel:x:10:alice\nalice:x:1001:alice\n 0:x:0:\n";

    fn ids(asked: &str) -> Result<(u32, u32, Vec<u32>)> {
        resolve(asked, PASSWD, GROUP).map(|user| (user.uid, user.gid, user.groups))
    }

    /// Conformance G163, G164, G165, G191, G225; campaign S4.02.
    #[test]
    fn every_form_of_user_gives_its_ids() {
        assert_eq!(ids("").unwrap(), (0, 0, vec![]));
        assert_eq!(ids("alice").unwrap(), (1000, 1001, vec![10, 29]));
        assert_eq!(ids("1000").unwrap(), (1000, 1001, vec![10, 29]));
        assert_eq!(ids("1000:7").unwrap(), (1000, 7, vec![]));
        assert_eq!(ids("alice:audio").unwrap(), (1000, 29, vec![]));
        assert_eq!(ids("5:audio").unwrap(), (5, 29, vec![]));
        assert_eq!(ids("1000000000").unwrap(), (1_000_000_000, 0, vec![]));
        assert_eq!(resolve("alice", PASSWD, GROUP).unwrap().home, "/home/alice");
    }

    /// Conformance G141, G142, G228, G229.
    #[test]
    fn without_a_passwd_file_only_root_and_numbers_work() {
        assert_eq!(
            resolve("root", "", "").unwrap(),
            User { uid: 0, gid: 0, groups: vec![], home: "/".into() }
        );
        let error = resolve("alice", "", "").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UserNotFound);
        assert_eq!(error.message(), "unable to find user alice: no matching entries in passwd file");
    }

    /// Campaign S4.01: numbers that do not fit are errors, whatever the file says about them, and never user 0.
    #[test]
    fn numbers_out_of_range_are_never_names() {
        for asked in [
            "4294967295",
            "4294967296",
            "-1",
            "18446744073709551616",
            "0x0",
            "+0",
            "٠",
            "1e3",
            "0:0:0",
            ":",
            ":0",
            "root:",
            "0\n",
            " 0",
            "0 ",
            "alice: 0",
        ] {
            assert!(ids(asked).is_err(), "{asked:?} gave {:?}", ids(asked));
        }
        assert_eq!(ids("2147483648").unwrap().0, 2_147_483_648);
    }

    fn root_with(passwd: &[u8]) -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("etc")).unwrap();
        std::fs::write(directory.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(directory.path().join("etc/group"), GROUP).unwrap();
        let root = Root::open(directory.path()).unwrap();
        (directory, root)
    }

    #[test]
    fn looking_up_at_once_says_the_same_or_nothing() {
        let (directory, root) = root_with(PASSWD.as_bytes());
        for asked in ["", "alice", "1000:7", "nobody", "-1"] {
            let at_once =
                look_up_now(&root, asked).expect("a temporary directory is on a prompt file system");
            assert_eq!(
                at_once.map_err(|error| error.report()),
                look_up(&root, asked).map_err(|error| error.report())
            );
        }
        let large = [PASSWD.as_bytes(), &vec![b'\n'; SMALL_FILE]].concat();
        std::fs::write(directory.path().join("etc/passwd"), large).unwrap();
        assert!(look_up_now(&root, "alice").is_none());
        assert_eq!(look_up(&root, "alice").unwrap().uid, 1000);
        std::fs::remove_file(directory.path().join("etc/passwd")).unwrap();
        assert_eq!(look_up_now(&root, "").unwrap().unwrap().uid, 0);
    }

    /// Nobody opens a fifo's other end: whoever opened it would wait for ever.
    #[test]
    fn what_is_no_regular_file_is_never_opened() {
        let (directory, root) = root_with(b"");
        let passwd = directory.path().join("etc/passwd");
        std::fs::remove_file(&passwd).unwrap();
        let (kind, mode) = (FileType::Fifo, Mode::from_raw_mode(0o666));
        rustix::fs::mknodat(rustix::fs::CWD, &passwd, kind, mode, 0).unwrap();
        assert!(look_up_now(&root, "").is_none());
        let error = look_up(&root, "").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ImageInvalid);
        assert!(error.message().contains("/etc/passwd") && error.message().contains("regular"), "{error}");
    }

    #[test]
    fn a_file_of_another_mount_is_left_to_a_thread() {
        let root = Root::open("/").unwrap();
        let proc = ResolveFlags::IN_ROOT | ResolveFlags::NO_XDEV;
        let crossed = openat2(root.as_fd(), "/proc/version", OFlags::PATH, Mode::empty(), proc);
        assert_eq!(crossed.unwrap_err(), Errno::XDEV);
    }

    proptest! {
        #[test]
        fn no_file_and_no_name_makes_it_panic(asked: String, passwd: String, group: String) {
            let _ = resolve(&asked, &passwd, &group);
        }
    }
}
