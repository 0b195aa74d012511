//! What a process finds: environment, user, groups, working directory.

use engine_tests::Engine;
use engine_tests::garden::{Conversation, Garden};
use serde_json::{Value, json};

const ROOT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const USER_PATH: &str = "PATH=/usr/local/bin:/usr/bin:/bin";

/// The environment of a process of this user, who asks for these variables.
fn environment(garden: &Garden, handle: &str, user: &str, env: &[&str]) -> Vec<String> {
    let spec = json!({ "path": "/bin/env", "user": user, "env": env });
    let told = garden.run(handle, &spec).unwrap().finish().expect(0);
    told.text().lines().map(str::to_owned).collect()
}

/// Conformance: Q370-381
#[test]
fn environments_are_merged_and_completed() {
    let engine = Engine::start();
    let garden = engine.garden();
    let spec = engine.busybox(json!({ "env": ["CONTAINER_ENV=1", "TEST=container"] }));
    let handle = garden.create(&spec);
    let has = |env: &[String], entry: &str| env.iter().any(|known| known == entry);

    let root = environment(&garden, &handle, "", &["TEST=hello", "FRUIT=banana"]);
    for entry in [
        ROOT_PATH,
        "USER=root",
        "HOME=/root",
        "FROM_IMAGE=yes",
        "CONTAINER_ENV=1",
        "TEST=hello",
        "FRUIT=banana",
    ] {
        assert!(has(&root, entry), "{entry} in {root:?}");
    }
    assert!(root.join("\n").contains("CONTAINER_ENV=1\nTEST=hello\nFRUIT=banana"), "{root:?}");
    assert!(!has(&root, "TEST=container"), "{root:?}");

    let alice = environment(&garden, &handle, "alice", &["MYPATH=x", "MYUSER=y"]);
    for entry in [USER_PATH, "USER=alice", "HOME=/home/alice", "MYPATH=x", "MYUSER=y"] {
        assert!(has(&alice, entry), "{entry} in {alice:?}");
    }
    let given = environment(&garden, &handle, "alice", &["PATH=/bin", "USER=bob", "HOME=/h"]);
    for entry in ["PATH=/bin", "USER=bob", "HOME=/h"] {
        assert!(has(&given, entry), "{entry} in {given:?}");
    }
    let number = environment(&garden, &handle, "1000000000", &[]);
    assert!(has(&number, "USER=1000000000") && has(&number, USER_PATH), "{number:?}");
    engine.finish();
}

/// Conformance: Q367-369
#[test]
fn users_and_groups_are_those_of_the_container() {
    let engine = Engine::start();
    let garden = engine.garden();
    for privileged in [false, true] {
        let handle = garden.create(&engine.busybox(json!({ "privileged": privileged })));
        garden.shell(&handle, "echo 'audio:x:29:alice' >> /etc/group").expect(0);
        let ids = |user: &str| {
            let spec = json!({ "path": "id", "user": user });
            garden.run(&handle, &spec).unwrap().finish().expect(0).text()
        };
        assert_eq!(ids("alice"), "uid=1000(alice) gid=1000(alice) groups=29(audio)\n");
        assert!(ids("1000:29").starts_with("uid=1000(alice) gid=29(audio)"), "{}", ids("1000:29"));
        assert!(ids("").starts_with("uid=0(root) gid=0(root)"), "{}", ids(""));
        assert!(!ids("root").contains("1000"), "{}", ids("root"));
        garden.destroy(&handle);
    }
    engine.finish();
}

/// Conformance: Q366
#[test]
fn a_working_directory_is_made_inside_whatever_links_say() {
    let engine = Engine::start();
    let garden = engine.garden();
    let handle = garden.create(&engine.busybox(json!({})));
    let outside = engine.scratch().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let link = format!("ln -s {} /tmp/link; ln -s /etc /tmp/inside", outside.display());
    garden.shell(&handle, &link).expect(0);
    let at = |dir: &str, user: &str| {
        let spec = json!({ "path": "sh", "args": ["-c", "pwd -P; ls -ld ."], "dir": dir, "user": user });
        garden.run(&handle, &spec).map(Conversation::finish)
    };
    // Inside, the link leads nowhere.
    let made = at("/tmp/link/deep", "alice");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "{made:?}");
    let at = |dir: &str, user: &str| at(dir, user).unwrap();
    let made = at("/new/dir", "alice").expect(0).text();
    assert!(
        made.starts_with("/new/dir\n") && made.contains("drwxr-xr-x") && made.contains("alice"),
        "{made}"
    );
    assert!(at("", "alice").expect(0).text().starts_with("/home/alice\n"));
    assert!(at("/tmp/inside", "").expect(0).text().starts_with("/etc\n"));
    engine.finish();
}

/// What Garden's own suite compares to the digit.
#[test]
fn capabilities_are_those_that_gardens_clients_assert() {
    let engine = Engine::start();
    let garden = engine.garden();
    let masks = |handle: &str, user: &str| {
        let spec = json!({ "path": "grep", "args": ["^Cap", "/proc/self/status"], "user": user });
        garden.run(handle, &spec).unwrap().finish().expect(0).text()
    };
    let handle = garden.create(&engine.busybox(json!({ "privileged": Value::Null })));
    let root = masks(&handle, "");
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd"] {
        assert!(root.contains(&format!("{name}:\t00000000a80425fb")), "{root}");
    }
    let alice = masks(&handle, "alice");
    assert!(
        alice.contains("CapInh:\t00000000a80425fb") && alice.contains("CapEff:\t0000000000000000"),
        "{alice}"
    );
    engine.finish();
}
