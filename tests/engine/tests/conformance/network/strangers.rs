//! Other people's firewalls beside ours.

use super::*;

/// A forward chain that drops by policy lets containers' packets pass, whoever made it, before or after the engine started;
/// what our own chain refuses stays refused; with the last container nothing of ours is left there.
#[test]
fn a_firewall_that_drops_what_is_forwarded_lets_containers_pass() {
    for (make, list) in [
        (
            "nft add table inet theirs; \
             nft 'add chain inet theirs passing { type filter hook forward priority 0; policy drop; }'",
            "nft list chain inet theirs passing",
        ),
        (
            "iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -i lo -j DROP; ip6tables-nft -P FORWARD DROP",
            "iptables-nft -S FORWARD",
        ),
    ] {
        for first in [true, false] {
            let mut bed = Bed::start(&["--deny-network", "192.0.2.7"]);
            let _listener = bed.host.outside.listen(80);
            if first {
                bed.host.inside.must(make);
            }
            bed.engine.create(&["--handle", "web", "--publish", "8080:80"]);
            let _greeter = bed.greeter("web", 80);
            if !first {
                bed.host.inside.must(make);
            }
            until("what is outside to be reached", || bed.reaches("web", "192.0.2.1", 80));
            until("the mapped port to be reached", || bed.host.outside.reaches("192.0.2.2", 8080));
            // Each family's chain is noticed for itself, the second one a moment later.
            until("the mapped port to be reached over IPv6", || {
                bed.host.outside.reaches("2001:db8::2", 8080)
            });
            assert!(!bed.reaches("web", "192.0.2.7", 80));
            let rules = bed.host.inside.must(list);
            assert!(rules.contains(&bed.engine.mark()), "{rules}");
            // Taken away, they come back.
            bed.host.inside.must(if make.starts_with("nft") {
                "nft flush chain inet theirs passing"
            } else {
                "iptables-nft -F FORWARD"
            });
            until("what is outside to be reached again", || bed.reaches("web", "192.0.2.1", 80));
            bed.engine.gdn(["destroy", "web"]).expect_status(0);
            let mark = bed.engine.mark();
            bed.engine.stop_server();
            let rules = bed.host.inside.must("nft list ruleset");
            assert!(!rules.contains(&mark), "{rules}");
        }
    }
}
