//! Two engines of one host.

use engine_tests::binary;

use super::*;

/// An engine beside the bed's, in the same network.
fn start_beside(bed: &Bed, options: &[&str]) -> Engine {
    let mut other = Engine::new();
    other.start_server_in(&bed.host.inside, options);
    other
}

/// Ports of their own, unless they are named.
fn with_ports<'a>(options: &[&'a str]) -> Vec<&'a str> {
    match options.contains(&"--port-pool-start") {
        true => options.to_vec(),
        false => [options, &["--port-pool-start", "50000", "--port-pool-size", "1000"]].concat(),
    }
}

/// A server with these options does not start, and says which engine has what it would hand out.
fn does_not_start(bed: &Bed, options: &[&str], shared: &str) {
    let mut other = Engine::new();
    let mut command = bed.host.inside.command(&binary().to_string_lossy());
    command.args(other.server_arguments(options));
    let log = other.server_that_ends(command);
    assert!(log.contains(shared) && log.contains(&bed.engine.mark()), "{options:?}: {log}");
}

/// Design, 4: an engine whose pools or ports are another's does not hand them out, and names it.
#[test]
fn what_one_engine_hands_out_no_other_does() {
    let mut bed = Bed::start_with(&["--network-pool", "10.254.0.0/24", "--network-pool6", "fd00:9::/64"]);
    let same: [(&[&str], &str); 3] = [
        (&["--network-pool", "10.254.0.128/25"], "the addresses 10.254.0.0/24"),
        (&["--network-pool", "10.253.0.0/24", "--network-pool6", "fd00::/8"], "the addresses fd00:9::/64"),
        (
            &["--network-pool", "10.253.0.0/24", "--port-pool-start", "60000", "--port-pool-size", "1002"],
            "the host ports",
        ),
    ];
    // Nobody has a container yet: both start, and one of them gets the first.
    let late = start_beside(&bed, &with_ports(same[0].0));
    bed.engine.create(&["--handle", "one"]);
    let refused = late.gdn(["create", "--image", late.image()]).expect_error("the addresses 10.254.0.0/24");
    assert!(refused.stderr.contains(&bed.engine.mark()), "{}", refused.stderr);
    late.create(&["--handle", "alone", "--network", "none"]);
    late.finish();
    for (options, shared) in same {
        does_not_start(&bed, &with_ports(options), shared);
    }
    bed.engine.gdn(["destroy", "one"]).expect_status(0);
    does_not_start(&bed, &with_ports(same[0].0), same[0].1);
    bed.engine.create(&["--handle", "one"]);
    let other = start_beside(&bed, &with_ports(&["--network-pool", "10.253.0.0/24"]));
    other.create(&["--handle", "two"]);
    assert!(bed.pings("one", "192.0.2.1"));
    other.finish();
    bed.engine.kill_server();
    does_not_start(&bed, &with_ports(same[0].0), same[0].1);
    bed.serve();
    bed.engine.gdn(["destroy", "one"]).expect_status(0);
    bed.engine.stop_server();
    // Nobody hands it out any more.
    let other = start_beside(&bed, &with_ports(same[0].0));
    other.create(&["--handle", "two"]);
    other.finish();
    bed.serve();
    bed.finish();
}
