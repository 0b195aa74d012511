//! What one container uses up, its neighbours still have.

use std::fs;
use std::process::Command;

use engine_tests::session::{as_user, program, read_until, script};
use engine_tests::{Engine, inside};
use gdn_types::{ContainerSpec, ProcessSpec, SeccompProfile};

use super::create;
use super::probes::{self, image};

/// Numbers of inotify_init1(2), timer_create(2), setresuid(2) and unshare(2).
const CALLS: [u32; 4] = if cfg!(target_arch = "aarch64") { [26, 107, 147, 97] } else { [294, 222, 117, 272] };

fn perl(text: &str) -> ProcessSpec {
    program(&["/usr/bin/perl", "-e", text])
}

/// Takes what there is of something, as several users, and keeps it; each says how much it was.
fn takes_all(call: &str) -> String {
    format!(
        "$| = 1; for my $user (0, 1000, 1234) {{ next if fork; $> = $user; my ($n, $id) = (0, 'xxxx'); \
         $n++ while $n < 10000000 && {call} >= 0; print \"had $n.\\n\"; sleep 1000 }} \
         1 while wait >= 0"
    )
}

/// Takes ten.
fn takes_ten(call: &str) -> String {
    format!("my $id = 'xxxx'; for (1..10) {{ {call} >= 0 or die \"only $_: $!\" }}")
}

/// A user who takes all that he may of what the kernel counts by user leaves other containers theirs, though the users of both
/// have the same numbers: instances of inotify, and queued signals, of which each timer takes one.
#[test]
fn what_users_of_one_container_take_is_there_for_another() {
    let engine = Engine::start();
    let image = image(&engine);
    let [inotify, timer, ..] = CALLS;
    for call in [format!("syscall({inotify}, 0)"), format!("syscall({timer}, 0, 0, $id)")] {
        let (greedy, neighbour) =
            (probes::create(&engine, &image, false), probes::create(&engine, &image, false));
        engine.with_client(async |client| {
            let mut all = client.run(&greedy, perl(&takes_all(&call))).await.unwrap();
            let mut told = String::new();
            while told.matches("had").count() < 3 || !told.ends_with('\n') {
                told.push_str(&read_until(&mut all, ".").await);
            }
        });
        // Really all: there is nothing left where they are.
        for user in ["", "alice"] {
            let more = engine.run(&greedy, as_user(user, perl(&takes_ten(&call))));
            assert_ne!(more.status.code(), 0, "{call} of {user:?}: something is left");
            assert!(more.errors().contains("only "), "{}", more.errors());
            engine.run(&neighbour, as_user(user, perl(&takes_ten(&call)))).expect(0);
        }
        engine.gdn(["stop", "--kill", greedy.as_str()]).expect_status(0);
    }
    engine.finish();
}

/// What the test above is about: without an owner of its own, a user namespace takes from its neighbour.
#[test]
fn user_namespaces_of_one_owner_take_from_each_other() {
    let [inotify, _, setresuid, unshare] = CALLS;
    let counted = |owners: [u32; 2]| {
        let text = format!(
            "$| = 1; my @children; for my $owner ({}, {}) {{ pipe(my $in, my $out); my $child = fork; \
             if (!$child) {{ close $in; syscall({setresuid}, -1, $owner, -1) == 0 or die $!; \
             syscall({unshare}, 0x10000000) == 0 or die $!; \
             my $n = 0; $n++ while $n < 10000000 && syscall({inotify}, 0) >= 0; print \"$n\\n\"; \
             close $out; sleep 1000 }} close $out; push @children, $child; <$in>; }} kill 9, @children",
            owners[0], owners[1]
        );
        let output = Command::new("perl").args(["-e", &text]).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let counts: Vec<u32> = told.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(counts.len(), 2, "{told} {errors}");
        counts
    };
    let same = counted([3_000_000_001, 3_000_000_001]);
    assert!(same[0] > 0 && same[1] == 0, "{same:?}");
    let different = counted([3_000_000_002, 3_000_000_003]);
    assert!(different[0] > 0 && different[1] == different[0], "{different:?}");
}

#[test]
fn an_operator_bounds_what_each_user_of_a_container_may_have() {
    let mut engine = Engine::new();
    engine.start_server(&[
        "--max-inotify-instances",
        "3",
        "--max-inotify-watches",
        "5",
        "--max-namespaces",
        "2",
    ]);
    let image = image(&engine);
    let unconfined = ContainerSpec { seccomp: SeccompProfile::Unconfined, ..ContainerSpec::default() };
    let handle = probes::create_from(&engine, &image, unconfined);
    let read = "cd /proc/sys/user && cat max_inotify_instances max_inotify_watches max_user_namespaces max_net_namespaces";
    assert_eq!(engine.run(&handle, script(read)).expect(0).text(), "3\n5\n2\n2\n");
    let count = format!("my $n = 0; $n++ while syscall({}, 0) >= 0; print $n", CALLS[0]);
    for user in ["", "alice"] {
        assert_eq!(engine.run(&handle, as_user(user, perl(&count))).expect(0).text(), "3", "{user:?}");
    }
    let raised = engine.run(&handle, script("echo 9 > /proc/sys/user/max_inotify_instances"));
    assert_ne!(raised.status.code(), 0, "root of a container raised its own limit");
    // They last as long as their processes.
    let namespaces = format!(
        "$| = 1; my @children; for (1..3) {{ pipe(my $in, my $out); my $child = fork; if (!$child) {{ \
         print syscall({}, 0x10000000) == 0 ? \"made\\n\" : \"$!\\n\"; close $in; close $out; sleep 1000 }} \
         close $out; push @children, $child; <$in>; }} kill 9, @children",
        CALLS[3]
    );
    let ran = engine.run(&handle, perl(&namespaces)).expect(0);
    assert_eq!(ran.text(), "made\nmade\nNo space left on device\n", "{}", ran.errors());

    let privileged = create(&engine, true);
    let read = "cat /proc/sys/user/max_inotify_instances";
    let of_the_host = fs::read_to_string("/proc/sys/user/max_inotify_instances").unwrap();
    assert_eq!(engine.run(&privileged, script(read)).expect(0).text(), of_the_host);
    engine.stop_server();

    engine.start_server(&["--max-inotify-instances", "0"]);
    let unlimited = create(&engine, false);
    assert_eq!(engine.run(&unlimited, script(read)).expect(0).text(), "2147483647\n");
    let init = engine.init_pid(unlimited.as_str());
    assert!(inside::lives(init));
    engine.finish();
}
