//! Who a process runs as.

use std::fs;
use std::path::Path;

use gdn_types::{ContainerSpec, ImageRef};

use crate::{Stage, Target, Verdict};

/// Texts that are no number of 32 bits, or only nearly one.
const ODD_IDS: [&str; 13] = [
    "4294967295",
    "4294967296",
    "-1",
    "2147483648",
    "18446744073709551616",
    "0x0",
    " 0",
    "+0",
    "٠",
    "0:0:0",
    ":",
    "root:",
    "1e3",
];

/// The only one of them that names an id.
const VALID: &str = "2147483648";

/// Makes every odd id a name of user 0 and group 0.
fn lie(rootfs: &Path) {
    let line = |id: &str, rest: &str| format!("{id}:x:{rest}\n");
    let passwd: String = ODD_IDS.iter().map(|id| line(id, "0:0::/:/bin/sh")).collect();
    let group: String = ODD_IDS.iter().map(|id| line(id, "0:")).collect();
    fs::write(rootfs.join("etc/passwd"), format!("alice:x:1000:1000::/:/bin/sh\n{passwd}")).unwrap();
    fs::write(rootfs.join("etc/group"), format!("alice:x:1000:\n{group}")).unwrap();
}

/// Whether asking for it made the process something that was not asked for.
fn becomes(target: &dyn Target, user: &str, option: &str, asked: &str) -> Verdict {
    let seen = target.run(user, &["id", option]);
    match seen.status {
        None => Verdict::Held,
        Some(0) if asked == VALID && seen.stdout.trim() == asked => Verdict::Held,
        Some(_) => Verdict::Escaped(format!("{user:?} ran: {seen}")),
    }
}

pub(super) fn numbers_out_of_range(stage: &mut Stage<'_>) {
    let uri = stage.bed().image_with("odd-ids", lie);
    let handle = stage.bed().create(ContainerSpec { image: ImageRef::uri(uri), ..ContainerSpec::default() });
    for id in ODD_IDS {
        stage.case(format!("user {id:?}"), |bed| becomes(&bed.inside(&handle), id, "-u", id));
    }
    for id in ODD_IDS {
        let user = format!("alice:{id}");
        stage.case(format!("user {user:?}"), |bed| becomes(&bed.inside(&handle), &user, "-g", id));
    }
    stage.control("a look-up by atoi", |bed| becomes(&bed.bare(), "4294967296", "-u", "4294967296"));
    stage.control("a look-up that tries names first", |bed| {
        let rootfs = bed.engine().scratch().join("odd-ids");
        becomes(&crate::Bare::new(&rootfs), "alice: 0", "-g", " 0")
    });
}
