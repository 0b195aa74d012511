//! Users that differ from root.

use std::fs;

use engine_tests::Engine;
use engine_tests::session::{as_user, program, script};
use gdn_types::{ContainerSpec, ErrorKind, ImageRef};

/// Conformance: G225
#[test]
fn any_number_can_be_a_user() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let said = engine.run(&handle, as_user("1000000000", script("id -u; touch /tmp/x; stat -c %u /tmp/x")));
    assert_eq!(said.expect(0).text(), "1000000000\n1000000000\n");
    engine.finish();
}

/// Conformance: G226
#[test]
fn a_user_made_inside_can_be_used() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let make = "echo bob:x:50000:50000:bob:/home/bob:/bin/sh >> /etc/passwd; echo bob:x:50000: >> /etc/group; \
                mkdir /home/bob && chown 50000:50000 /home/bob";
    engine.run(&handle, script(make)).expect(0);
    let said = engine.run(&handle, as_user("bob", script("id -u; id -un; pwd; touch mine")));
    assert_eq!(said.expect(0).text(), "50000\nbob\n/home/bob\n");
    engine.finish();
}

/// Conformance: G227
#[test]
fn groups_come_from_the_image_and_not_from_the_server() {
    let engine = Engine::start();
    let image = engine.image_with("groups", |rootfs| {
        let groups =
            "root:x:0:\nalice:x:1000:\nwheel:x:10:bob,alice\nothers:x:11:bob\nvideo:x:44:alice,root\n";
        fs::write(rootfs.join("etc/group"), groups).unwrap();
    });
    let handle =
        engine.create_from(ContainerSpec { image: ImageRef::uri(image), ..ContainerSpec::default() });
    let groups = |user: &str| {
        let said = engine
            .run(&handle, as_user(user, script("sed -n 's/^Groups:[[:space:]]*//p' /proc/self/status")));
        let said = said.expect(0).text();
        let mut groups: Vec<u32> = said.split_whitespace().map(|group| group.parse().unwrap()).collect();
        groups.retain(|group| *group != 0);
        groups.sort_unstable();
        groups
    };
    let without_own = |mut groups: Vec<u32>| {
        groups.retain(|group| *group != 1000);
        groups
    };
    assert_eq!(without_own(groups("alice")), [10, 44]);
    assert_eq!(groups("root"), [44]);
    assert_eq!(groups("4321"), Vec::<u32>::new());
    engine.finish();
}

/// Conformance: G228-229
#[test]
fn without_a_file_of_users_only_root_is_known() {
    let engine = Engine::start();
    let image = engine.image_with("userless", |rootfs| {
        fs::remove_file(rootfs.join("etc/passwd")).unwrap();
        fs::remove_file(rootfs.join("etc/group")).unwrap();
    });
    let handle =
        engine.create_from(ContainerSpec { image: ImageRef::uri(image), ..ContainerSpec::default() });
    for user in ["", "root"] {
        assert_eq!(engine.run(&handle, as_user(user, script("id -u; pwd"))).expect(0).text(), "0\n/\n");
    }
    let error = engine.try_run(&handle, as_user("alice", program(&["true"]))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UserNotFound);
    assert!(
        error.report().contains("unable to find user alice: no matching entries in passwd file"),
        "{}",
        error.report()
    );
    engine.finish();
}
