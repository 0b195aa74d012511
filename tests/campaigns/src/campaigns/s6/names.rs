//! Lists of name servers.

use std::fs;
use std::path::PathBuf;

use engine_tests::host::Host;
use engine_tests::{Engine, binary, until};

use crate::{Bed, Stage, Target, Verdict};

/// More of the host's list is not read.
const MOST_BYTES: usize = 64 << 10;

/// An engine whose host has a list of name servers of the row's choice.
struct Lists {
    // Dropped first: what is left is swept in the host's namespace.
    engine: Engine,
    host: Host,
    list: PathBuf,
}

impl Lists {
    fn start() -> Self {
        let (mut engine, host) = (Engine::new(), Host::new());
        let list = engine.scratch().join("resolv.conf");
        fs::write(&list, "").unwrap();
        let mut command = host.inside.command("unshare");
        let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script]).arg(&list).arg(binary());
        let options = ["--network-pool", "10.254.0.0/22", "--network-pool6", "fd00:77::/48"];
        command.args(engine.server_arguments(&options));
        engine.start_server_by(command);
        Lists { engine, host, list }
    }

    fn say(&self, text: &[u8]) {
        fs::write(&self.list, text).unwrap();
    }

    fn seen(&self, handle: &str) -> String {
        self.engine.gdn(["exec", handle, "cat", "/etc/resolv.conf"]).expect_status(0).text()
    }

    /// What a container sees of a list. `GATEWAY` stands for its gateway in what is expected.
    fn shows(&self, text: &[u8], expected: &str) -> Verdict {
        self.say(text);
        let handle = self.engine.create(&[]);
        let gateway = self.engine.inspect(&handle)["host_ip"].as_str().unwrap().to_owned();
        let seen = self.seen(&handle);
        self.engine.gdn(["destroy", &handle]).expect_status(0);
        Verdict::equal(seen, expected.replace("GATEWAY", &gateway))
    }

    fn finish(self) {
        let Lists { engine, host, .. } = self;
        engine.finish();
        drop(host);
    }
}

/// What the host has, and what a container is to see of it.
fn table() -> Vec<(&'static str, Vec<u8>, String)> {
    let text = |name, host: &str, inside: &str| (name, host.as_bytes().to_vec(), inside.to_owned());
    let many: String = (1..=100).map(|number| format!("nameserver 192.0.2.{number}\n")).collect();
    // The end of what is read falls into an address: what is before it would be another.
    let filler = "# 345678901234\n".repeat(MOST_BYTES / 15 + 1);
    let last = "\nnameserver 192.0.2.77\n";
    let begin = &filler[..MOST_BYTES - last.len() + 2];
    let long = format!("{begin}{last}");
    vec![
        text("one of the host's own", "nameserver 127.0.0.53\n", "nameserver GATEWAY\n"),
        text("one of the host's own, IPv6", "nameserver ::1\n", "nameserver GATEWAY\n"),
        text(
            "one of the host's own before another",
            "nameserver 127.0.0.1\nnameserver 192.0.2.7\n",
            "nameserver 192.0.2.7\n",
        ),
        text(
            "one that is known by a link of the host's",
            "nameserver fe80::1%up0\nnameserver 192.0.2.7\n",
            "nameserver 192.0.2.7\n",
        ),
        text(
            "other names of the host itself",
            "nameserver 0.0.0.0\nnameserver ::\nnameserver ::ffff:127.0.0.1\nnameserver 192.0.2.7\n",
            "nameserver 192.0.2.7\n",
        ),
        text(
            "a line within a line",
            "search a.example\rnameserver 127.0.0.1\nnameserver 192.0.2.7\n",
            "search a.example\rnameserver 127.0.0.1\nnameserver 192.0.2.7\n",
        ),
        text("a hundred", &many, &many),
        text("a list without an end", &long, &format!("{begin}\n")),
        (
            "bytes that are no text",
            b"\xff\xfe\0nameserver 192.0.2.6\nnameserver 192.0.2.7\n".to_vec(),
            "\u{fffd}\u{fffd}\0nameserver 192.0.2.6\nnameserver 192.0.2.7\n".to_owned(),
        ),
        text("nothing", "", ""),
    ]
}

/// Lists follow the host's, but for the one that its container has changed.
fn follows(lists: &Lists) -> Verdict {
    lists.say(b"nameserver 192.0.2.7\n");
    let (plain, changed) = (lists.engine.create(&[]), lists.engine.create(&[]));
    lists.engine.shell(&changed, "echo nameserver 192.0.2.66 > /etc/resolv.conf").expect_status(0);
    lists.say(b"nameserver 127.0.0.1\nnameserver 192.0.2.8\n");
    until("the list to follow the host's", || lists.seen(&plain) == "nameserver 192.0.2.8\n");
    let verdict = Verdict::equal(lists.seen(&changed), "nameserver 192.0.2.66\n");
    lists.engine.gdn(["destroy", &plain, &changed]).expect_status(0);
    verdict
}

/// Nothing of the engine answers questions for names, so nobody can hold it up with one.
fn nobody_listens(lists: &Lists) -> Verdict {
    let sockets = lists.host.inside.must("cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6");
    // proc_net_tcp(5): the second field is the socket's own address and port.
    let local = sockets.lines().filter_map(|line| line.split_whitespace().nth(1));
    let of_names: Vec<&str> = local.filter(|address| address.ends_with(":0035")).collect();
    Verdict::equal(of_names, Vec::<&str>::new())
}

pub(super) fn lists(stage: &mut Stage<'_>) {
    let lists = Lists::start();
    for (name, host, inside) in table() {
        stage.case(name, |_| lists.shows(&host, &inside));
    }
    stage.case("a list that changes", |_| follows(&lists));
    stage.case("nobody listens for questions", |_| nobody_listens(&lists));
    lists.finish();
    stage.control("a runtime that copies the host's list", |bed| copied(bed));
}

fn copied(bed: &Bed) -> Verdict {
    let shown = bed.rootfs().join("etc/resolv.conf");
    let verdicts = table()
        .into_iter()
        .filter(|(_, host, inside)| String::from_utf8_lossy(host) != *inside)
        .map(|(name, host, inside)| {
            fs::write(&shown, &host).unwrap();
            let seen = bed.bare().run("", &["cat", "/etc/resolv.conf"]);
            (name, Verdict::equal(seen.stdout.as_str(), inside.as_str()))
        });
    let verdict = super::ground::all_escape(verdicts);
    fs::remove_file(&shown).unwrap();
    verdict
}
