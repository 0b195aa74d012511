//! What stays as it was when the server is killed, and what a foreigner cannot take away.

use super::*;

/// Q327 to Q336, Q71, Q107, Q108: rules, ports and addresses outlive the server.
///
/// Conformance: Q107-108, Q327-328, Q330-331, Q333-336
#[test]
fn the_network_outlives_a_killed_server_and_nothing_is_handed_out_twice() {
    let mut bed = Bed::start(&["--deny-network", "192.0.2.7", "--deny-network", "192.0.2.1"]);
    let _listener = bed.host.outside.listen(80);
    bed.engine.create(&["--handle", "web", "--publish", "8080:80", "--network", "10.9.0.2/24"]);
    bed.engine.create(&["--handle", "open", "--allow", "tcp,to=192.0.2.1,ports=80"]);
    bed.engine.gdn(["net", "out", "web", "tcp,to=192.0.2.1,ports=80"]).expect_status(0);
    let _greeter = bed.greeter("web", 80);
    let addresses = [bed.addresses("web"), bed.addresses("open")];
    let as_before = |bed: &Bed| {
        assert_eq!([bed.addresses("web"), bed.addresses("open")], addresses);
        assert!(bed.host.outside.reaches("192.0.2.2", 8080));
        for handle in ["web", "open"] {
            assert!(bed.reaches(handle, "192.0.2.1", 80), "{handle}");
            assert!(!bed.reaches(handle, "192.0.2.7", 80), "{handle}");
        }
    };
    as_before(&bed);
    for _ in 0..3 {
        bed.restart();
        as_before(&bed);
    }
    bed.engine.stop_server();
    assert!(bed.host.outside.reaches("192.0.2.2", 8080), "while no server runs");
    bed.serve();
    as_before(&bed);
    for network in ["10.9.0.2/24", "10.9.0.0/25"] {
        bed.engine
            .gdn(["create", "--image", bed.engine.image(), "--network", network])
            .expect_error("10.9.0.");
    }
    bed.engine.gdn(["net", "in", "open", "8080:1"]).expect_error("8080");
    bed.engine.create(&["--handle", "new"]);
    assert!(!addresses.iter().any(|known| known.0 == bed.addresses("new").0));
    bed.finish();
}

/// Q332: what the operator no longer denies is open after a restart.
///
/// Conformance: Q332
#[test]
fn a_denied_network_that_is_dropped_is_open_after_a_restart() {
    let mut bed = Bed::start(&["--deny-network", "192.0.2.1"]);
    let _listener = bed.host.outside.listen(80);
    bed.engine.create(&["--handle", "one"]);
    assert!(!bed.reaches("one", "192.0.2.1", 80));
    bed.options.truncate(4);
    bed.restart();
    assert!(bed.reaches("one", "192.0.2.1", 80));
    bed.finish();
}

/// Q308 to Q316: what belongs to nobody is found and removed.
///
/// Conformance: Q308-309, Q311, Q314-316
#[test]
fn a_start_removes_what_belongs_to_nobody() {
    let mut bed = Bed::start(&[]);
    bed.engine.create(&["--handle", "one", "--publish", "8080:80"]);
    bed.engine.create(&["--handle", "two"]);
    bed.engine.kill_server();
    bed.options.push("--destroy-containers-on-startup".to_owned());
    bed.serve();
    until("the links to be gone", || bed.links().is_empty());
    assert!(bed.engine.handles().is_empty());
    bed.engine.create(&["--handle", "one", "--publish", "8080:80"]);
    assert_eq!(bed.addresses("one").0, "10.254.0.2");
    bed.finish();
}

/// A foreigner's `nft flush ruleset` takes nothing of ours away while a server runs, the first or one that took over.
#[test]
fn a_foreign_flush_opens_nothing() {
    let mut bed = Bed::start(&["--deny-network", "192.0.2.1"]);
    let _listener = bed.host.outside.listen(80);
    bed.engine.create(&["--handle", "one"]);
    for _ in 0..5 {
        bed.host.inside.must("nft flush ruleset");
        assert!(!bed.reaches("one", "192.0.2.1", 80));
    }
    bed.engine.kill_server();
    // The table is an orphan now; the next server takes it over.
    bed.serve();
    bed.host.inside.must("nft flush ruleset");
    assert!(!bed.reaches("one", "192.0.2.1", 80) && bed.pings("one", "10.254.0.1"));
    bed.finish();
}

/// What a foreigner takes away while no server runs is there again after the next start.
#[test]
fn a_table_that_was_taken_away_is_made_anew_by_the_next_start() {
    let mut bed = Bed::start(&["--deny-network", "192.0.2.1"]);
    let _listener = bed.host.outside.listen(80);
    bed.engine.create(&["--handle", "one"]);
    bed.engine.kill_server();
    bed.host.inside.must("nft flush ruleset");
    assert_eq!(bed.host.inside.must("nft list tables"), "");
    bed.serve();
    assert!(!bed.reaches("one", "192.0.2.1", 80) && bed.pings("one", "10.254.0.1"));
    bed.finish();
}

/// An engine that knows no network any more does not leave those of its containers to themselves.
#[test]
fn an_engine_without_a_pool_does_not_take_over_containers_that_have_networks() {
    let mut bed = Bed::start(&[]);
    bed.engine.create(&["--handle", "one"]);
    bed.engine.stop_server();
    let mut server = bed.host.inside.command(&engine_tests::binary().to_string_lossy());
    let refused = server.args(bed.engine.server_arguments(&[])).output().unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("--network-pool"), "{said}");
    bed.serve();
    assert!(bed.pings("one", "10.254.0.1"));
    bed.finish();
}

/// A range that is the host's own is no pool, and no network that a client may name; neither is another engine's.
#[test]
fn addresses_that_the_host_has_are_not_taken_from_it() {
    let bed = Bed::start(&[]);
    bed.engine.create(&["--handle", "one"]);
    for (network, said) in [
        ("192.0.2.77/24", "192.0.2."),
        ("192.0.2.80/30", "192.0.2.0/24"),
        ("127.0.0.0/30", "127.0.0.0"),
        ("169.254.169.254", "169.254"),
        ("224.0.0.0/24", "224.0.0.0"),
    ] {
        bed.engine.gdn(["create", "--image", bed.engine.image(), "--network", network]).expect_error(said);
    }
    let other = Engine::new();
    let mut server = bed.host.inside.command(&engine_tests::binary().to_string_lossy());
    let refused = server.args(other.server_arguments(&["--network-pool", POOL])).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("10.254.0."), "{said}");
    assert!(bed.pings("one", "10.254.0.1"), "the first engine's container is untouched");
    bed.finish();
}

/// What the operator tightens ends what runs; what it widens breaks nothing.
#[test]
fn pools_and_denied_networks_may_change_from_start_to_start() {
    let mut bed = Bed::start(&[]);
    bed.engine.create(&["--handle", "one"]);
    let talk = bed.engine.begin(["exec", "one", "sh", "-c", "ping -c 8 192.0.2.1 > /tmp/talk"]);
    let talked = |bed: &Bed| bed.engine.shell("one", "cat /tmp/talk").text();
    until("the talk to begin", || talked(&bed).contains("seq=0"));
    drop(talk);
    bed.engine.kill_server();
    bed.options = [
        "--network-pool",
        "10.254.0.0/16",
        "--network-pool6",
        "fd00:77::/32,80",
        "--deny-network",
        "192.0.2.1",
    ]
    .map(str::to_owned)
    .to_vec();
    bed.serve();
    bed.engine.create(&["--handle", "two"]);
    assert!(bed.pings("two", "10.254.0.2") && bed.pings("two", "10.254.0.5"));
    assert_ne!(bed.addresses("one").1, bed.addresses("two").1);
    until("the talk to end", || !bed.engine.shell("one", "ps").text().contains("ping -c 8"));
    assert!(!talked(&bed).contains("seq=7"), "{}", talked(&bed));
    bed.finish();
}
