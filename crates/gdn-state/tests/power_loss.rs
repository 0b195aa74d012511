//! A few cycles of the power-loss campaign; `cargo run --release --example power_loss` runs many.
//!
//! Needs root, loop devices, `mkfs.ext4` and `mkfs.xfs`.

#[path = "../examples/power_loss/campaign.rs"]
mod campaign;
#[path = "../examples/power_loss/load.rs"]
mod load;
#[path = "../examples/power_loss/mounted.rs"]
#[allow(unsafe_code, reason = "the shutdown is an ioctl that no kept library offers")]
mod mounted;

const CYCLES: u64 = 3;

fn no_acknowledged_batch_is_lost(kind: &str, test: &str) {
    if load::is_child() {
        return load::run();
    }
    let report = campaign::run(kind, CYCLES, &["--exact", test, "--nocapture"]);
    assert!(report.lost == 0 && report.acknowledged > 0, "{report}");
}

#[test]
fn a_loss_of_power_on_ext4_costs_no_acknowledged_batch() {
    no_acknowledged_batch_is_lost("ext4", "a_loss_of_power_on_ext4_costs_no_acknowledged_batch");
}

#[test]
fn a_loss_of_power_on_xfs_costs_no_acknowledged_batch() {
    no_acknowledged_batch_is_lost("xfs", "a_loss_of_power_on_xfs_costs_no_acknowledged_batch");
}
