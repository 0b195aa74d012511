//! Cuts the power below a store, again and again, and counts acknowledged batches that are gone.
//!
//! `power_loss [CYCLES]` needs root, loop devices, `mkfs.ext4` and `mkfs.xfs`.
//! A cycle makes the file system stop as it does when power fails (FS_IOC_SHUTDOWN, nothing unsynced survives) while four
//! writers commit, mounts it again and compares.

mod campaign;
mod load;
#[allow(unsafe_code, reason = "the shutdown is an ioctl that no kept library offers")]
mod mounted;

fn main() {
    if load::is_child() {
        return load::run();
    }
    let cycles =
        std::env::args().nth(1).map_or(60, |text| text.parse().expect("the argument is a number of cycles"));
    let mut lost = 0;
    for kind in ["ext4", "xfs"] {
        let report = campaign::run(kind, cycles, &[]);
        println!("{report}");
        lost += report.lost;
    }
    assert_eq!(lost, 0, "acknowledged batches are gone");
}
