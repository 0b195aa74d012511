//! The leak oracle: what the host's kernel and file system hold, before and after.
//!
//! A test takes a [`Snapshot`] within a [`Scope`], does its work, and asks [`wait_until_equal`] whether the host came back
//! to where it was. The oracle knows nothing of the engine's code: it reads `/proc`, `/sys` and directories, so that it
//! also finds what the engine has forgotten.
//!
//! It is *not* a ledger of what is used (memory, ports, addresses in pools), and it changes nothing.
//!
//! Invariants: a snapshot of an idle host equals the next one; everything in a snapshot has a [`Kind`] and a name that
//! means the same thing in every snapshot (a process is its pid *and* start time, a namespace its inode number).
//!
//! Limitations: links, sockets and System V objects are those of the caller's own namespaces; objects of other network
//! namespaces count through the namespace itself. Firewall rules are not read.
//!
//! ```
//! use gdn_testkit::leak::{Scope, Snapshot};
//!
//! let directory = std::env::temp_dir().join(format!("leak-example-{}", std::process::id()));
//! std::fs::create_dir(&directory)?;
//! let scope = Scope::engine("no-such-engine").below(&directory);
//! let before = Snapshot::take(&scope)?;
//! std::fs::write(directory.join("forgotten"), "")?;
//! let leaks = before.diff(&Snapshot::take(&scope)?);
//! assert!(leaks[0].to_string().contains("forgotten"));
//! # std::fs::remove_dir_all(&directory)?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod files;
mod kernel;
mod objects;
mod processes;
mod scope;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use scope::Scope;

/// How long asynchronous removal (network namespaces, mounts, cgroups) may take after a destroy was acknowledged.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// How long to wait between two looks. Short against the deadline, long against the cost of a look.
const PAUSE: Duration = Duration::from_millis(20);

/// What sort of thing is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Kind {
    /// A mount of the caller's mount namespace.
    Mount,
    /// A process or a zombie.
    Process,
    /// A namespace held by a process, or by a descriptor of one.
    Namespace,
    /// A network namespace bound below `/run/netns`.
    NamedNetns,
    /// A network link of the caller's network namespace.
    Link,
    /// A directory of any cgroup hierarchy, v1 or v2.
    Cgroup,
    /// A loop device with a backing file.
    LoopDevice,
    /// A file, directory, link, socket or FIFO below one of the scope's roots.
    File,
    /// A Unix socket with a path or an abstract name.
    UnixSocket,
    /// A System V message queue, semaphore set or shared memory segment.
    SysvIpc,
    /// A file in `/dev/shm`.
    SharedMemory,
    /// A key or keyring that the caller may see.
    Key,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 12] = [
        Kind::Mount,
        Kind::Process,
        Kind::Namespace,
        Kind::NamedNetns,
        Kind::Link,
        Kind::Cgroup,
        Kind::LoopDevice,
        Kind::File,
        Kind::UnixSocket,
        Kind::SysvIpc,
        Kind::SharedMemory,
        Kind::Key,
    ];

    /// Whether things of this kind come and go on any host without anyone's fault, so that one *missing* says nothing.
    fn ends_by_itself(self) -> bool {
        matches!(self, Kind::Process | Kind::Namespace | Kind::UnixSocket | Kind::Key)
    }
}

/// What was held at one moment, within one scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Kind and name, with a detail for the reader that takes no part in comparisons.
    held: Vec<(Kind, BTreeMap<String, String>)>,
}

impl Snapshot {
    /// Looks at everything in the scope once. Takes some milliseconds.
    ///
    /// # Errors
    /// When `/proc` or one of the scope's roots cannot be read. What vanishes during the look is no error, and a root
    /// that does not exist is an empty one.
    pub fn take(scope: &Scope) -> io::Result<Self> {
        let mut held = Vec::new();
        for kind in scope.kinds() {
            let mut found = match kind {
                Kind::Mount => kernel::mounts()?,
                Kind::Process => processes::processes(scope)?,
                Kind::Namespace => processes::namespaces(scope)?,
                Kind::NamedNetns => objects::entries("/run/netns")?,
                Kind::Link => objects::entries("/sys/class/net")?,
                Kind::Cgroup => kernel::cgroups()?,
                Kind::LoopDevice => objects::loop_devices()?,
                Kind::File => files::below(scope.roots())?,
                Kind::UnixSocket => kernel::unix_sockets()?,
                Kind::SysvIpc => kernel::sysv_ipc()?,
                Kind::SharedMemory => objects::entries("/dev/shm")?,
                Kind::Key => kernel::keys()?,
            };
            found.retain(|name, detail| scope.covers(kind, name, detail));
            held.push((kind, found));
        }
        Ok(Snapshot { held })
    }

    /// How `after` differs from this one: what was left behind, and what was taken that was not the engine's to take.
    ///
    /// A kind that only one of the two looked at is not compared.
    pub fn diff(&self, after: &Snapshot) -> Vec<Leak> {
        let mut leaks = Vec::new();
        for (kind, before) in &self.held {
            let Some((_, after)) = after.held.iter().find(|(other, _)| other == kind) else { continue };
            let leak = |change, (name, detail): (&String, &String)| Leak {
                kind: *kind,
                change,
                name: name.clone(),
                detail: detail.clone(),
            };
            leaks.extend(
                after
                    .iter()
                    .filter(|(name, _)| !before.contains_key(*name))
                    .map(|entry| leak(Change::Left, entry)),
            );
            if !kind.ends_by_itself() {
                let taken = before.iter().filter(|(name, _)| !after.contains_key(*name));
                leaks.extend(taken.map(|entry| leak(Change::Taken, entry)));
            }
        }
        leaks
    }

    /// A snapshot of a host that holds nothing in this scope: everything found later differs from it.
    pub fn empty(scope: &Scope) -> Self {
        Snapshot { held: scope.kinds().map(|kind| (kind, BTreeMap::new())).collect() }
    }

    /// How many things are held.
    pub fn len(&self) -> usize {
        self.held.iter().map(|(_, found)| found.len()).sum()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Looks until nothing differs from `before`, for at most `deadline`.
///
/// # Errors
/// What still differed at the deadline. A look that fails counts as a difference, shown as itself.
pub fn wait_until_equal(before: &Snapshot, scope: &Scope, deadline: Duration) -> Result<(), Leaks> {
    let end = Instant::now() + deadline;
    loop {
        let leaks = match Snapshot::take(scope) {
            Ok(after) => before.diff(&after),
            Err(error) => vec![Leak {
                kind: Kind::File,
                change: Change::Left,
                name: "the host cannot be looked at".into(),
                detail: error.to_string(),
            }],
        };
        if leaks.is_empty() {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(Leaks(leaks));
        }
        std::thread::park_timeout(PAUSE);
    }
}

/// One difference between two snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// What sort of thing it is.
    pub kind: Kind,
    /// Whether it was left or taken.
    pub change: Change,
    /// Which one.
    pub name: String,
    /// What is known about it besides.
    pub detail: String,
}

/// Which way a thing differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is there now and was not before.
    Left,
    /// It was there before and is gone now.
    Taken,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change = match self.change {
            Change::Left => "left behind",
            Change::Taken => "taken away",
        };
        write!(f, "{:?} {change}: {}", self.kind, self.name)?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        Ok(())
    }
}

/// Differences, one a line when printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaks(pub Vec<Leak>);

impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|leak| writeln!(f, "{leak}"))
    }
}

impl std::error::Error for Leaks {}
