//! Containers that take all they can get, and their neighbours.

use std::fs;

use engine_tests::{Gdn, inside, until};
use gdn_types::{ContainerSpec, Handle, Limits, MemoryLimits, PidLimits};

use crate::{Bed, Stage, Target, Verdict};

/// Kinds of things that the probe can take without end.
pub(super) const KINDS: [&str; 22] = [
    "descriptors",
    "inotify",
    "epoll",
    "eventfds",
    "timers",
    "queues",
    "semaphores",
    "shared-memory",
    "messages",
    "terminals",
    "sockets",
    "pipes",
    "net-namespaces",
    "user-namespaces",
    "mounts",
    "keys",
    "processes",
    "memory",
    "connections",
    "files-of-memory",
    "directories",
    "output",
];

/// What the kernel counts for all containers together, and why that stays so.
const SHARED: [(&str, &str); 1] = [(
    "terminals",
    "the kernel counts terminals of all containers (kernel.pty.max, 4096, of which 1024 are kept for the host); a limit of \
         the mount would show in its options, which clients compare word by word",
)];

/// Limits of the containers: less than would harm the machine.
fn limited() -> ContainerSpec {
    let limits = Limits {
        memory: MemoryLimits { bytes: 128 << 20 },
        pids: PidLimits { max: 64 },
        ..Limits::default()
    };
    ContainerSpec { limits, ..ContainerSpec::default() }
}

/// Starts to take one kind of thing, and waits until all is taken, or the process was ended for it.
fn hoard(bed: &Bed, handle: &Handle, kind: &str, seconds: u64) -> Gdn {
    let words = ["exec", handle.as_str(), "probe", "hoard", kind, &seconds.to_string()];
    let mut hoarding = Gdn::start_unread(&bed.engine().root(), words);
    let held = inside::path(bed.engine().init_pid(handle.as_str()), "/tmp/holding");
    until("all of it to be taken", || fs::metadata(&held).is_ok() || !hoarding.runs() || kind == "output");
    hoarding
}

/// Whether a neighbour still gets one, and is served.
fn is_served(neighbour: &dyn Target, kind: &str) -> Verdict {
    let served = neighbour.run("", &["true"]);
    let took = neighbour.run("", &["probe", "take", kind]);
    Verdict::held_unless(served.status != Some(0) || took.status != Some(0), || {
        format!("{served}; took {took}")
    })
}

fn neighbours(bed: &Bed, kind: &str, seconds: u64) -> Verdict {
    let (greedy, modest) = (bed.create(limited()), bed.create(limited()));
    let before = is_served(&bed.inside(&modest), kind);
    let hoarding = hoard(bed, &greedy, kind, seconds);
    // What no container gets, nobody can be kept from: then it is only served.
    let kind = if before == Verdict::Held { kind } else { "descriptors" };
    let verdict = is_served(&bed.inside(&modest), kind);
    bed.engine().gdn(["ping"]).expect_status(0);
    let again = bed.create(limited());
    let verdict = Verdict::all([verdict, is_served(&bed.inside(&again), kind).at("a new container")]);
    drop(hoarding);
    for handle in [greedy, modest, again] {
        bed.engine().gdn(["destroy", handle.as_str()]).expect_status(0);
    }
    verdict
}

pub(super) fn bounded(stage: &mut Stage<'_>) {
    let seconds = stage.bound().as_secs();
    for kind in KINDS {
        match SHARED.iter().find(|(shared, _)| *shared == kind) {
            Some((_, reason)) => stage.excepted(kind, reason, |bed| neighbours(bed, kind, seconds)),
            None => stage.case(kind, |bed| neighbours(bed, kind, seconds)),
        }
    }
    stage.control("two programs in one IPC namespace", |bed| {
        // Message queues of System V have a limit for each IPC namespace (kernel.msgmni).
        let script =
            "probe hoard messages 60 & while ! test -e /tmp/holding; do true; done; probe take messages";
        let seen = bed.bare().walled().shell("", &format!("rm -f /tmp/holding; {script}"));
        Verdict::held_unless(seen.status != Some(0), || format!("the second got none: {seen}"))
    });
}
