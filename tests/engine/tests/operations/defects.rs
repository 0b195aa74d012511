//! Known defects of the reference engine that no other test looks for: what happens here instead.

use std::fs;

use engine_tests::garden::{Conversation, Garden};
use engine_tests::host::Host;
use engine_tests::{Engine, until};
use serde_json::{Value, json};

/// Runs a program in a container and tells what it printed.
#[track_caller]
fn output(garden: &Garden, handle: &str, spec: &Value) -> String {
    garden.run(handle, spec).map(Conversation::finish).unwrap().expect(0).text()
}

/// Defect 13: who is root is decided by the user, not by the group.
#[test]
fn the_user_decides_who_is_root_and_not_the_group() {
    let engine = Engine::start();
    let garden = engine.garden();
    let handle = garden.create(&engine.busybox(json!({})));
    let masks = |user: &str| {
        let spec = json!({ "path": "grep", "args": ["^CapEff", "/proc/self/status"], "user": user });
        output(&garden, &handle, &spec)
    };
    assert_eq!(masks("0:1000"), "CapEff:\t00000000a80425fb\n");
    assert_eq!(masks("1000:0"), "CapEff:\t0000000000000000\n");
    engine.finish();
}

/// Defect 12: a file of users that is an absolute link is looked for inside, whatever the host has there.
///
/// Conformance: A9
#[test]
fn a_file_of_users_behind_an_absolute_link_is_the_containers() {
    let engine = Engine::start();
    let garden = engine.garden();
    let handle = garden.create(&engine.busybox(json!({})));
    // The host has users there, too, and another one.
    let outside = engine.scratch().join("passwd");
    fs::write(&outside, "mallory:x:7:7::/:/bin/sh\n").unwrap();
    let inside = outside.display();
    let script = format!(
        "mkdir -p {0} && mv /etc/passwd {inside} && ln -s {inside} /etc/passwd",
        engine.scratch().display()
    );
    garden.shell(&handle, &script).expect(0);
    assert!(
        output(&garden, &handle, &json!({ "path": "id", "user": "alice" })).starts_with("uid=1000(alice)")
    );
    let refused = garden.run(&handle, &json!({ "path": "id", "user": "mallory" })).map(drop).unwrap_err();
    assert!(refused.expect_error(500, "").contains("unable to find user mallory"), "{refused:?}");
    garden.shell(&handle, &format!("rm {inside}")).expect(0);
    let refused = garden.run(&handle, &json!({ "path": "id", "user": "mallory" })).map(drop).unwrap_err();
    assert!(refused.expect_error(500, "").contains("mallory"), "{refused:?}");
    engine.finish();
}

/// Defect 27: a directory below a bind mount, or behind a link, is entered where the container has it.
#[test]
fn a_working_directory_below_a_bind_mount_or_behind_a_link_is_entered() {
    let engine = Engine::start();
    let garden = engine.garden();
    let shared = engine.scratch().join("shared");
    fs::create_dir_all(shared.join("deep/er")).unwrap();
    let mount = json!({ "src_path": shared, "dst_path": "/mnt/shared", "mode": 1 });
    let handle = garden.create(&engine.busybox(json!({ "bind_mounts": [mount] })));
    garden.shell(&handle, "ln -s /mnt/shared/deep /link").expect(0);
    for (dir, expected) in
        [("/mnt/shared/deep/er", "/mnt/shared/deep/er\n"), ("/link/er", "/mnt/shared/deep/er\n")]
    {
        let spec = json!({ "path": "sh", "args": ["-c", "pwd -P"], "dir": dir });
        assert_eq!(output(&garden, &handle, &spec), expected, "{dir}");
    }
    engine.finish();
}

/// Defect 9: with a container goes every rule that was made for it, those for masquerading and name servers included.
#[test]
fn no_rule_of_a_container_stays_behind_it() {
    let (host, mut engine) = (Host::new(), Engine::new());
    let options = ["--network-pool", "10.9.0.0/24", "--dns-server", "192.0.2.53", "--tag", "t1"];
    engine.start_server_in(&host.inside, &options);
    let rules = || host.inside.must("nft list ruleset");
    engine.create(&["--handle", "first", "--publish", "8080:80", "--allow", "tcp,to=10.99.0.0/16,ports=443"]);
    engine.create(&["--handle", "second"]);
    let both = rules();
    assert!(both.contains("10.9.0.2") && both.contains("10.9.0.6") && both.contains("10.99.0.0"), "{both}");
    engine.gdn(["destroy", "first"]).expect_status(0);
    until("the rules of the first to go", || {
        let left = rules();
        !left.contains("10.9.0.2") && !left.contains("10.99.0.0") && !left.contains("8080")
    });
    assert!(rules().contains("10.9.0.6"), "{}", rules());
    engine.gdn(["destroy", "second"]).expect_status(0);
    // What is left names the pool, and no address of it.
    until("the rules of the second to go", || !rules().contains("10.9.0.6"));
    engine.finish();
    assert_eq!(rules(), "");
}
