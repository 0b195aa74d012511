//! Whether containers can have a network here, and who stands in its way.

use std::fs;

use gdn_nft::{ChainType, Features, Hook, Policy, Socket};

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
            "another program's `nft flush ruleset` opens all networks of containers until the server starts again",
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

/// The older tables, which the engine does not change. Reading their names makes none.
fn legacy() -> Finding {
    let names = fs::read_to_string("/proc/net/ip_tables_names").unwrap_or_default();
    match names.lines().any(|name| name == "filter") {
        false => Finding::ok("iptables-legacy", "no table"),
        true => Finding::limited(
            "iptables-legacy",
            "the table filter is in use",
            "where its FORWARD chain drops by policy, containers with a network reach nobody",
            "iptables-legacy -S FORWARD shows the policy; use iptables-nft, or accept the engine's links there",
        ),
    }
}
