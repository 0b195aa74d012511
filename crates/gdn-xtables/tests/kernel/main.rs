//! On the real kernel, as root: each test has a network namespace of its own. `iptables-legacy` makes and shows what others
//! do. A kernel without the older tables (`CONFIG_IP_NF_IPTABLES_LEGACY`) fails these tests.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
#![allow(unsafe_code, reason = "unshare(2) is safe only when it leaves the table of descriptors alone")]

use std::process::Command;
use std::time::Duration;

use gdn_xtables::{Error, Family, Filter, Rule};
use rustix::thread::{UnshareFlags, unshare_unsafe};

const PATIENCE: Duration = Duration::from_secs(10);
const MARK: &str = "gdn-a mark";
const FAMILIES: [(Family, &str); 2] = [(Family::Ip, "iptables-legacy"), (Family::Ip6, "ip6tables-legacy")];

/// Runs a test in a network namespace that goes with it, for both families.
fn for_both(test: impl Fn(Family, &str) + Send + Sync + Copy + 'static) {
    for (family, program) in FAMILIES {
        let thread = std::thread::spawn(move || {
            // SAFETY: a network namespace is the thread's; the table of descriptors is not unshared.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("tests of the kernel are run as root");
            test(family, program);
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Runs a line of a shell and gives what it wrote; it must succeed.
fn run(line: &str) -> String {
    let out = Command::new("sh").args(["-c", line]).output().unwrap();
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(out.status.success(), "{line}: {text}");
    text
}

fn rules() -> [Rule; 2] {
    [Rule::accept_from("gab", MARK), Rule::accept_to("gab", MARK)]
}

fn open(family: Family) -> Filter {
    Filter::open(family).unwrap().expect("a table that a program has just used")
}

#[test]
fn a_table_that_is_not_there_is_not_made_by_looking_for_it() {
    for_both(|family, _| {
        assert!(Filter::open(family).unwrap().is_none());
        assert!(Filter::open(family).unwrap().is_none());
    });
}

#[test]
fn rules_are_put_at_the_head_of_a_chain_and_taken_out_and_all_else_stays_as_it_was() {
    for_both(|family, program| {
        let host = if family == Family::Ip { "10.0.0.1" } else { "fd00::1" };
        // Chains before and behind FORWARD, jumps to chains, rules that only count, matches and targets with data.
        run(&format!(
            "{program} -N first; {program} -N second; {program} -P FORWARD DROP; {program} -P INPUT DROP
             {program} -A INPUT -i lo -j ACCEPT; {program} -A INPUT -s {host} -j first
             {program} -A INPUT -m comment --comment 'counts only'
             {program} -A FORWARD -p tcp --dport 80 -m state --state NEW -j second
             {program} -A FORWARD -m comment --comment 'counts only'; {program} -A FORWARD -g first
             {program} -A FORWARD -p udp -j REJECT
             {program} -A first -m limit --limit 5/minute -j LOG --log-prefix 'first '; {program} -A first -j second
             {program} -A second -j RETURN; {program} -A OUTPUT -p udp -j second; {program} -Z"
        ));
        run(&format!(
            "{program} -c 7 700 -A OUTPUT -j ACCEPT; ip link set lo up; busybox ping -c 2 {}",
            if family == Family::Ip { "127.0.0.1" } else { "::1" }
        ));
        let saved = || run(&format!("{program}-save -c -t filter | grep -v '^#'"));
        let before = saved();
        assert!(before.contains("[11:"), "what was counted: {before}");
        let filter = open(family);
        let snapshot = filter.read().unwrap();
        assert!(snapshot.forward_drops());
        assert_eq!(snapshot.forward_marked(MARK), (0, 0));

        assert!(filter.put_at_head(&rules(), PATIENCE).unwrap());
        assert_eq!(filter.read().unwrap().forward_marked(MARK), (2, 2));
        assert!(!filter.put_at_head(&rules(), PATIENCE).unwrap());
        let with = saved();
        let ours = |line: &&str| line.contains(MARK);
        let shown: Vec<&str> = with.lines().filter(ours).collect();
        let expected = ["-i", "-o"]
            .map(|side| format!("[0:0] -A FORWARD {side} gab+ -m comment --comment \"{MARK}\" -j ACCEPT"));
        assert_eq!(shown, expected);
        let theirs: Vec<&str> = with.lines().filter(|line| !ours(line)).collect();
        assert_eq!(theirs, before.lines().collect::<Vec<_>>());
        let forward = run(&format!("{program} -S FORWARD"));
        assert!(forward.lines().skip(1).take(2).all(|line| line.contains(MARK)), "{forward}");

        // Others may change the table as ever, and what was moved from the head goes back there.
        run(&format!("{program} -I FORWARD -i lo -j ACCEPT; {program} -A second -i lo -j ACCEPT"));
        assert_eq!(filter.read().unwrap().forward_marked(MARK), (0, 2));
        assert!(filter.put_at_head(&rules(), PATIENCE).unwrap());
        assert_eq!(filter.read().unwrap().forward_marked(MARK), (2, 2));
        run(&format!("{program} -D FORWARD -i lo -j ACCEPT; {program} -D second -i lo -j ACCEPT"));

        assert!(filter.remove(MARK, PATIENCE).unwrap());
        assert!(!filter.remove(MARK, PATIENCE).unwrap());
        assert_eq!(saved(), before);
    });
}

#[test]
fn an_empty_table_takes_rules_and_is_empty_again() {
    for_both(|family, program| {
        run(&format!("{program} -P FORWARD ACCEPT"));
        let filter = open(family);
        let before = filter.read().unwrap();
        assert!(!before.forward_drops());
        assert!(filter.put_at_head(&rules(), PATIENCE).unwrap());
        assert!(filter.size().unwrap() > 800);
        assert!(filter.remove(MARK, PATIENCE).unwrap());
        assert_eq!(filter.read().unwrap(), before);
    });
}

/// Two that change a table at the same time under the lock lose nothing.
#[test]
fn changes_at_the_same_time_are_all_done() {
    for_both(|family, program| {
        run(&format!("{program} -P FORWARD DROP"));
        let filter = open(family);
        let mut other = Command::new("sh")
            .args(["-c", &format!("for n in 1 2 3 4 5 6 7 8 9 10; do {program} -w -A FORWARD -s 10.0.0.$n -j ACCEPT || exit; done").replace("10.0.0.", if family == Family::Ip { "10.0.0." } else { "fd00::" })])
            .spawn()
            .unwrap();
        for _ in 0..20 {
            filter.put_at_head(&rules(), PATIENCE).unwrap();
            filter.remove(MARK, PATIENCE).unwrap();
        }
        assert!(other.wait().unwrap().success());
        let shown = run(&format!("{program} -S FORWARD"));
        assert_eq!(shown.lines().filter(|line| line.contains("-A FORWARD -s")).count(), 10, "{shown}");
    });
}

#[test]
fn rules_with_two_comments_are_refused() {
    for_both(|family, program| {
        run(&format!("{program} -P FORWARD DROP"));
        let rules = [Rule::accept_from("gab", "one"), Rule::accept_to("gab", "two")];
        assert!(matches!(open(family).put_at_head(&rules, PATIENCE), Err(Error::Text { .. })));
    });
}
