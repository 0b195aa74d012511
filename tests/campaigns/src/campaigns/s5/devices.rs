//! Devices of the host.

use gdn_types::ContainerSpec;

use crate::{Stage, Target, Verdict};

/// Devices that are not lent to containers: kind and numbers.
const DEVICES: [(&str, &str); 10] = [
    ("memory", "c 1 1"),
    ("kernel memory", "c 1 2"),
    ("ports", "c 1 4"),
    ("the kernel's log", "c 1 11"),
    ("the first disk", "b 8 0"),
    ("the first virtual disk", "b 254 0"),
    ("a loop device", "b 7 0"),
    ("the control of loop devices", "c 10 237"),
    ("virtual machines", "c 10 232"),
    ("the first terminal of the machine", "c 4 0"),
];

/// Whether a device can be made and opened; what is refused is refused by the device rules or before, not for want of the
/// device.
fn opens(target: &dyn Target, numbers: &str, place: &str) -> Verdict {
    let node = format!("{place}/device");
    let script =
        format!("rm -f {node}; mknod {node} {numbers} && head -c 0 {node} && echo opened; rm -f {node}");
    let seen = target.shell("", &script);
    let refused = ["Operation not permitted", "Permission denied"];
    let by_rule = refused.iter().any(|text| seen.stderr.contains(text));
    Verdict::held_unless(seen.stdout.contains("opened") || !by_rule, || format!("{seen}"))
}

pub(super) fn not_lent(stage: &mut Stage<'_>) {
    for privileged in [false, true] {
        let handle = stage.bed().create(ContainerSpec { privileged, ..ContainerSpec::default() });
        // A tmpfs for devices where one may be made; nothing else stands in the way there.
        let place = if privileged { "/dev" } else { "/tmp" };
        for (name, numbers) in DEVICES {
            let kind = if privileged { "privileged" } else { "unprivileged" };
            stage.case(format!("{kind}: {name}"), |bed| opens(&bed.inside(&handle), numbers, place));
        }
    }
    stage.control("a runtime without device rules", |bed| opens(&bed.bare(), "c 1 11", "/tmp"));
}
