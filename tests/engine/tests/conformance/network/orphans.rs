//! What a start finds that belongs to nobody, although nobody destroyed it.

use std::fs;

use gdn_types::ContainerId;

use super::*;

impl Bed {
    /// With what the names of this engine's links begin, behind their first letter.
    fn link_names(&self) -> String {
        self.engine.mark()["gdn-".len()..][..3].to_owned()
    }

    /// The names of all links of containers and of their limits, as they are in the host's namespace.
    fn named_links(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.links().iter().map(|link| link.split('@').next().unwrap().to_owned()).collect();
        names.sort_unstable();
        names
    }

    /// What a start says that is refused.
    fn refused_start(&self) -> String {
        let mut server = self.host.inside.command(&engine_tests::binary().to_string_lossy());
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        let refused = server.args(self.engine.server_arguments(&options)).output().unwrap();
        assert!(!refused.status.success());
        String::from_utf8_lossy(&refused.stderr).into_owned()
    }
}

/// Ids of containers that no engine has made.
fn strangers<const COUNT: usize>() -> [ContainerId; COUNT] {
    std::array::from_fn(|number| ContainerId::from_bits(7_000 + number as u64))
}

/// Links, limits and files of containers that no record knows go, whether or not a life came to marking them; the container
/// that is known keeps everything, another's link stays, and what the orphans had is handed out.
#[test]
fn a_start_removes_the_links_and_files_of_containers_that_no_record_knows() {
    let mut bed = Bed::start(&["--default-egress", "deny"]);
    let _listeners = [bed.host.outside.listen(80), bed.host.outside.listen(81)];
    let options = ["--publish", "8080:80", "--publish", "81", "--network-rate", "10M"];
    let allowed = ["--allow", "tcp,to=192.0.2.1,ports=80"];
    bed.engine.create(&[&["--handle", "one"][..], &options, &allowed].concat());
    let _greeter = bed.greeter("one", 80);
    let (known, files) = (bed.named_links(), bed.engine.root().join("network"));
    let known_files =
        || fs::read_dir(&files).unwrap().flatten().filter(|entry| entry.path().is_dir()).count();
    assert_eq!((known.len(), known_files(), bed.engine.in_use()), (2, 1, [1, 1, 1, 0]));
    bed.engine.kill_server();

    let (names, mark) = (bed.link_names(), bed.engine.mark());
    let [whole, begun, alone, alone_begun, anothers, file] = strangers::<6>();
    bed.host.inside.must(&format!(
        "set -e; ip link add g{names}{whole} type veth peer name left0; ip link add i{names}{whole} type ifb
         ip link set g{names}{whole} alias {mark} up; ip link set i{names}{whole} alias {mark} up
         ip link set left0 up; ip addr add 10.254.0.5/32 dev g{names}{whole}
         ip route add 10.254.0.6/32 dev g{names}{whole}
         ip link add g{names}{begun} type veth peer name left1; ip link add i{names}{begun} type ifb
         ip link add i{names}{alone} type ifb; ip link set i{names}{alone} alias {mark}
         ip link add i{names}{alone_begun} type ifb
         ip link add i{names}{anothers} type ifb; ip link set i{names}{anothers} alias gdn-anothers",
    ));
    for id in [whole, file] {
        fs::create_dir(files.join(id.as_str())).unwrap();
        for name in ["hosts", "resolv.conf"] {
            fs::write(files.join(id.as_str()).join(name), "").unwrap();
        }
    }
    fs::create_dir(files.join("nobodys")).unwrap();

    bed.serve();
    // While the orphans are still on their way out.
    bed.engine.create(&["--handle", "two"]);
    assert_eq!(bed.addresses("two").0, "10.254.0.6");
    let left = format!("i{names}{anothers}");
    until("the links of nobody to be gone", || {
        let names = bed.named_links();
        names.len() == known.len() + 2 && names.contains(&left) && known.iter().all(|one| names.contains(one))
    });
    until("the files of nobody to be gone", || known_files() == 3);
    assert!(files.join("nobodys").exists(), "what is no container's is let alone");

    assert_eq!(bed.engine.in_use(), [2, 2, 1, 0]);
    assert!(bed.host.outside.reaches("192.0.2.2", 8080));
    assert!(bed.reaches("one", "192.0.2.1", 80) && !bed.reaches("one", "192.0.2.1", 81));
    let hosts = bed.engine.shell("one", "cat /etc/hosts").text();
    assert!(hosts.contains("10.254.0.2 one"), "{hosts}");
    bed.host.inside.must("busybox ping -c 1 -W 2 10.254.0.6");
    bed.engine.gdn(["destroy", "two"]).expect_status(0);
    until("the address to be free", || bed.engine.in_use() == [1, 1, 1, 0]);
    bed.host.inside.must(&format!("ip link del {left}"));
    bed.finish();
}

/// An engine does not take another's link for one of its own, nor does it go on without knowing whose it is.
#[test]
fn a_start_is_refused_where_the_name_of_anothers_link_is_like_those_of_containers() {
    let mut bed = Bed::start(&["--deny-network", "192.0.2.7"]);
    let _listener = bed.host.outside.listen(80);
    bed.engine.create(&["--handle", "one"]);
    let (names, mark) = (bed.link_names(), bed.engine.mark());
    let [id] = strangers::<1>();
    bed.engine.kill_server();
    for (link, alias) in [
        (format!("g{names}{id}"), "gdn-anothers"),
        (format!("g{names}up0"), ""),
        (format!("g{names}up1"), &mark),
    ] {
        bed.host.inside.must(&format!("ip link add {link} type ifb && ip link set {link} alias '{alias}'"));
        let said = bed.refused_start();
        assert!(said.contains(&link), "{link}: {said}");
        bed.host.inside.must(&format!("ip link del {link}"));
    }
    bed.serve();
    assert!(bed.reaches("one", "192.0.2.1", 80) && !bed.reaches("one", "192.0.2.7", 80));
    assert_eq!(bed.engine.in_use(), [1, 1, 0, 0]);
    bed.finish();
}
