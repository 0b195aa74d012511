//! Keyrings of containers.

use engine_tests::images::path_text;
use gdn_types::{ContainerSpec, SeccompProfile};

use crate::{Bare, Bed, Stage, Target, Verdict, probe};

/// A key that only the host's session has.
const KEY: &str = "gdn-campaign-key";

/// Keyrings can only be asked for without the filter; what they are does not depend on it.
fn unfiltered() -> ContainerSpec {
    ContainerSpec { seccomp: SeccompProfile::Unconfined, ..ContainerSpec::default() }
}

fn session(target: &dyn Target) -> String {
    target.run("", &["probe", "keys", "session"]).said().to_owned()
}

/// The session keyring of this program and of the servers it starts.
fn of_the_host() -> String {
    Bare::new("/".as_ref()).run("", &[&path_text(&probe()), "keys", "session"]).said().to_owned()
}

fn differs(one: &str, other: &str) -> Verdict {
    Verdict::held_unless(one == other, || format!("both have keyring {one}"))
}

/// Whether a key of whoever starts the target is found from inside.
fn finds_the_key(target: &dyn Target) -> Verdict {
    let seen = target.run("", &["probe", "keys", "search", KEY]);
    Verdict::held_unless(seen.status == Some(0), || format!("found key {seen}"))
}

/// Starts the server anew from a session that has the key.
fn server_with_a_key(bed: &mut Bed) {
    bed.engine_mut().stop_server();
    let mut command = std::process::Command::new(probe());
    command.args(["keys", "with", KEY]).arg(engine_tests::binary()).args(bed.engine().server_arguments(&[]));
    bed.engine_mut().start_server_by(command);
}

pub(super) fn sessions(stage: &mut Stage<'_>) {
    stage.case("the host's is not the container's", |bed| {
        bed.in_container(unfiltered(), |inside| differs(&session(inside), &of_the_host()))
    });
    stage.case("two containers have two", |bed| {
        let (one, other) = (bed.create(unfiltered()), bed.create(unfiltered()));
        differs(&session(&bed.inside(&one)), &session(&bed.inside(&other)))
    });
    stage.case("a key of the server is not found", |bed| {
        server_with_a_key(bed);
        bed.in_container(unfiltered(), |inside| finds_the_key(inside))
    });
    stage.case("no call of keyrings is allowed", |bed| {
        bed.in_container(ContainerSpec::default(), |inside| {
            let refused = |call: &str| {
                let seen = inside.run("", &["probe", "call", "x86_64", call, "0", "0", "0"]);
                Verdict::equal(seen.said(), "errno 1").at(call)
            };
            Verdict::all(["248", "249", "250"].map(refused))
        })
    });
    // A user may have 200 keys (keys(7), maxkeys); all containers are the same user of the host.
    let containers = stage.attempts();
    stage.case("as many containers as a user has keys, and more", |bed| {
        for number in 0..containers {
            if let Err(error) = bed.engine().try_create(ContainerSpec::default()) {
                return Verdict::Escaped(format!("container {number}: {}", error.report()));
            }
        }
        Verdict::Held
    });
    stage.control("a runtime that leaves the session as it is", |bed| {
        finds_the_key(&bed.bare().with(&["mount"]).started_by(&["keys", "with", KEY]))
    });
}
