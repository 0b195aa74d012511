//! Supplementary groups.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use gdn_types::{ContainerSpec, ImageRef};

use crate::{Bare, Stage, Target, Verdict};

/// A file that its group may not read and everybody else may.
const KEPT_FROM_GROUP: &str = "/kept-from-a-group";
const DENIED: u32 = 7777;

fn change(rootfs: &Path) {
    let many: String = (0..100).map(|number| format!("many{number}:x:{}:carol\n", 3000 + number)).collect();
    let passwd = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\ncarol:x:1002:1002::/:/bin/sh\n";
    fs::write(rootfs.join("etc/passwd"), passwd).unwrap();
    let group = format!("root:x:0:\nwheel:x:10:root\ndenied:x:{DENIED}:alice\naudio:x:29:\n{many}");
    fs::write(rootfs.join("etc/group"), group).unwrap();
    let file = rootfs.join(&KEPT_FROM_GROUP[1..]);
    fs::write(&file, "kept").unwrap();
    chown(&file, Some(0), Some(DENIED)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
}

fn has_groups(target: &dyn Target, user: &str, expected: &str) -> Verdict {
    let seen = target.run(user, &["sed", "-n", "s/^Groups:\\t//p", "/proc/self/status"]);
    Verdict::equal(seen.said(), expected)
}

/// Whether somebody reads it who is in the group that may not.
fn cannot_read(target: &dyn Target, user: &str) -> Verdict {
    let seen = target.run(user, &["cat", KEPT_FROM_GROUP]);
    Verdict::held_unless(seen.stdout.contains("kept"), || format!("{user} reads it: {seen}"))
}

pub(super) fn supplementary(stage: &mut Stage<'_>) {
    let uri = stage.bed().image_with("groups", change);
    let handle = stage.bed().create(ContainerSpec { image: ImageRef::uri(uri), ..ContainerSpec::default() });
    let many: Vec<_> = (3000..3100).map(|gid| gid.to_string()).collect();
    let expected = [
        ("", "10"),
        ("alice", "7777"),
        ("1000", "7777"),
        ("5", ""),
        ("alice:audio", ""),
        ("carol", &many.join(" ")),
    ];
    for (user, groups) in expected {
        stage.case(format!("groups of {user:?}"), |bed| has_groups(&bed.inside(&handle), user, groups));
    }
    for user in ["alice", "1000", "alice:denied"] {
        stage.case(format!("{user} is kept from a file by a group"), |bed| {
            cannot_read(&bed.inside(&handle), user)
        });
    }
    stage.case("somebody else is not kept from it", |bed| {
        let seen = bed.inside(&handle).run("5", &["cat", KEPT_FROM_GROUP]);
        Verdict::equal(seen.said(), "kept")
    });
    stage.control("a runtime that leaves groups as they are", |bed| {
        cannot_read(&Bare::new(&bed.engine().scratch().join("groups")), "alice")
    });
}
