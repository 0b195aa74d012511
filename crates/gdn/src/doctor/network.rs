//! Whether containers can have a network here, and who stands in its way.

use gdn_nft::{ChainType, Features, Hook, Policy, Socket};
use gdn_types::PoolUsage;
use gdn_xtables::{Family, Filter};

use super::Finding;

/// Looks at the kernel's firewall and at those of others.
pub(super) fn check() -> Vec<Finding> {
    let mut socket = match Socket::open() {
        Ok(socket) => socket,
        Err(error) => return vec![without_firewall(&error.to_string())],
    };
    let features = match socket.features() {
        Ok(features) => features,
        Err(error) => return vec![without_firewall(&error.to_string())],
    };
    if !features.inet {
        return vec![without_firewall("no tables of the family inet")];
    }
    vec![firewall(features), strangers(&mut socket), legacy()]
}

/// Whether the server that runs had too little to hand out; nothing without one, or without a network.
pub(super) fn pools(pools: &[PoolUsage]) -> Option<Finding> {
    let empty: Vec<String> = pools
        .iter()
        .filter(|pool| pool.exhausted > 0)
        .map(|pool| {
            format!(
                "{} ({} of {} in use, refused calls: {})",
                pool.name, pool.in_use, pool.size, pool.exhausted
            )
        })
        .collect();
    match (pools.is_empty(), empty.is_empty()) {
        (true, _) => None,
        (false, true) => Some(Finding::ok("pools", "none was empty since the server started")),
        (false, false) => Some(Finding::limited(
            "pools",
            empty.join(", "),
            "containers or mapped ports were refused since the server started",
            "a larger --network-pool, --network-pool6 or --port-pool-size, or fewer containers",
        )),
    }
}

fn without_firewall(found: &str) -> Finding {
    Finding::limited(
        "firewall",
        found,
        "only containers without a network can be made (--network none)",
        "a kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET, or run as root",
    )
}

fn firewall(features: Features) -> Finding {
    match features {
        Features { owner: true, persist: true, .. } => {
            Finding::ok("firewall", "nftables, tables that only their owner changes")
        }
        _ => Finding::limited(
            "firewall",
            "nftables, without tables that outlive their owner",
            "another program's `nft flush ruleset` opens all networks of containers for up to a second",
            "Linux 6.9 or newer, or see to it that nobody flushes all rules",
        ),
    }
}

/// Chains of others that drop what is forwarded: the engine puts its rules at their head.
fn strangers(socket: &mut Socket) -> Finding {
    let chains = match socket.chains(None) {
        Ok(chains) => chains,
        Err(error) => {
            return Finding::limited(
                "other firewalls",
                error.to_string(),
                "whether another firewall keeps containers from others is not known",
                "run as root, and again",
            );
        }
    };
    let drops = chains.into_iter().filter(|chain| {
        chain.base.as_ref().is_some_and(|base| {
            base.hook == Some(Hook::Forward)
                && base.kind == Some(ChainType::Filter)
                && base.policy == Policy::Drop
        })
    });
    let names: Vec<String> = drops.map(|chain| format!("{} {}", chain.table, chain.name)).collect();
    match names.is_empty() {
        true => Finding::ok("other firewalls", "none that drops what is forwarded"),
        false => Finding::ok(
            "other firewalls",
            format!("{} dropping by policy; rules of the engine go to their head", names.join(", ")),
        ),
    }
}

/// The older tables. Looking makes none.
fn legacy() -> Finding {
    const NAME: &str = "iptables-legacy";
    let drops = [Family::Ip, Family::Ip6].into_iter().map(|family| {
        let filter = Filter::open(family)?;
        let drops =
            filter.map(|filter| filter.read()).transpose()?.is_some_and(|table| table.forward_drops());
        Ok(drops.then(|| format!("{family} filter FORWARD")))
    });
    let names: Vec<String> = match drops.collect::<gdn_xtables::Result<Vec<_>>>() {
        Ok(names) => names.into_iter().flatten().collect(),
        Err(error) => {
            return Finding::limited(
                NAME,
                error.to_string(),
                "where its FORWARD chain drops by policy, containers with a network may reach nobody",
                "run as root, and again; iptables-legacy -S FORWARD shows the policy",
            );
        }
    };
    match names.is_empty() {
        true => Finding::ok(NAME, "no chain that drops what is forwarded"),
        false => Finding::ok(
            NAME,
            format!("{} dropping by policy; rules of the engine go to their head", names.join(", ")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_pool_that_was_empty_is_told_with_its_figures() {
        let pool = |name: &str, exhausted| PoolUsage { name: name.into(), size: 4, in_use: 3, exhausted };
        assert!(pools(&[]).is_none());
        assert_eq!(pools(&[pool("subnets", 0)]).unwrap().status, Status::Ok);
        let finding = pools(&[pool("subnets", 0), pool("tcp-ports", 2)]).unwrap();
        assert_eq!((finding.status, finding.found.contains("subnets")), (Status::Limited, false));
        assert!(finding.found.contains("tcp-ports (3 of 4 in use, refused calls: 2)"), "{}", finding.found);
    }
}
