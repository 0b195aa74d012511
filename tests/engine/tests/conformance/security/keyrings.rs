//! Keyrings: what a container keeps in its session's is its own, and costs no user's share of keys.

use std::fs;

use engine_tests::Engine;
use engine_tests::session::program;
use gdn_types::{ContainerSpec, Handle, ProcessSpec, SeccompProfile};

use super::probes::{self, image};

/// Numbers of add_key(2) and keyctl(2).
const CALLS: [u32; 2] = if cfg!(target_arch = "aarch64") { [217, 219] } else { [248, 250] };

/// Containers at once, more than a user may have keys.
const MANY: usize = 300;

fn perl(text: &str) -> ProcessSpec {
    program(&["/usr/bin/perl", "-e", text])
}

/// Prints the number of the session's keyring.
fn session() -> String {
    format!("print syscall({}, 0, -3, 0)", CALLS[1])
}

#[test]
fn every_container_has_a_session_keyring_of_its_own_and_sees_no_other() {
    let engine = Engine::start();
    let image = image(&engine);
    let unconfined = ContainerSpec { seccomp: SeccompProfile::Unconfined, ..ContainerSpec::default() };
    let privileged = ContainerSpec { privileged: true, ..ContainerSpec::default() };
    let specs = [unconfined.clone(), unconfined, privileged.clone(), privileged];
    let made: Vec<Handle> =
        specs.into_iter().map(|spec| probes::create_from(&engine, &image, spec)).collect();
    let host = std::process::Command::new("perl").args(["-e", &session()]).output().unwrap().stdout;
    let mut rings = vec![String::from_utf8(host).unwrap()];
    for handle in &made {
        let of = || engine.run(handle, perl(&session())).expect(0).text();
        let ring = of();
        assert!(ring.parse::<i64>().unwrap() > 0, "{ring}");
        assert_eq!(of(), ring, "processes of one container share it");
        rings.push(ring);
    }
    let count = rings.len();
    rings.sort_unstable();
    rings.dedup();
    assert_eq!(rings.len(), count, "{rings:?}");

    // What one keeps, it can read (command 11), and its neighbours of the same user cannot, though they know the number.
    let [add_key, keyctl] = CALLS;
    let read = |key: &str| {
        format!("my $is = ' ' x 9; syscall({keyctl}, 11, {key}, $is, 9) == 6 or die $!; print $is")
    };
    for pair in made.chunks(2) {
        let keep = format!(
            "print syscall({add_key}, my $kind = 'user', my $name = 'mine', my $is = 'secret', 6, -3)"
        );
        let key = engine.run(&pair[0], perl(&keep)).expect(0).text();
        assert!(key.parse::<i64>().unwrap() > 0, "{key}");
        assert_eq!(engine.run(&pair[0], perl(&read(&key))).expect(0).text(), "secret   ");
        let refused = engine.run(&pair[1], perl(&read(&key)));
        assert_ne!(refused.status.code(), 0, "{}", refused.text());
        assert!(!refused.text().contains("secret"));
        assert!(refused.errors().contains("denied"), "{}", refused.errors());
    }
    engine.finish();
}

/// Conformance: Q88
#[test]
fn there_can_be_more_containers_than_a_user_may_have_keys() {
    let most: usize = fs::read_to_string("/proc/sys/kernel/keys/maxkeys").unwrap().trim().parse().unwrap();
    assert!(most < MANY, "users of this host may have {most} keys: {MANY} containers prove nothing");
    let engine = Engine::start();
    engine.with_client(async |client| {
        let create = |_| {
            let mut spec = ContainerSpec::default();
            spec.image.uri = engine.image().to_owned();
            client.create(spec)
        };
        for some in (0..MANY).collect::<Vec<_>>().chunks(10) {
            for created in futures::future::join_all(some.iter().map(create)).await {
                created.unwrap_or_else(|error| panic!("{}", error.report()));
            }
        }
    });
    assert_eq!(engine.handles().len(), MANY);
    engine.finish();
}
