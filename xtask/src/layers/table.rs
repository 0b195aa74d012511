//! The rings as data. A crate that is not in [`MEMBERS`] fails the check, so that a new one is placed on purpose.

/// How far outside a crate lies. A crate depends only on rings further inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ring {
    /// Words and contracts: no input or output, no runtime.
    Words,
    /// Kernel words only, no garden: reusable by strangers.
    Tools,
    /// One trait each, over the tools.
    Components,
    /// The orchestrator.
    Core,
    /// One wire format each.
    Gates,
    /// Wiring.
    Doors,
    /// The testkit: a dependency of tests only.
    Testkit,
    /// Test suites and automation: no part of the product.
    Outside,
}

/// One workspace crate: its ring, and the crates of the same ring that it may use.
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) ring: Ring,
    pub(super) beside: &'static [&'static str],
}

const fn member(name: &'static str, ring: Ring, beside: &'static [&'static str]) -> Member {
    Member { name, ring, beside }
}

pub(super) const MEMBERS: &[Member] = &[
    member("gdn-types", Ring::Words, &[]),
    member("gdn-traits", Ring::Words, &["gdn-types"]),
    member("gdn-mounts", Ring::Tools, &[]),
    member("gdn-cgroups", Ring::Tools, &[]),
    member("gdn-namespaces", Ring::Tools, &[]),
    member("gdn-seccomp", Ring::Tools, &[]),
    member("gdn-ipam", Ring::Tools, &[]),
    member("gdn-links", Ring::Tools, &[]),
    member("gdn-nft", Ring::Tools, &[]),
    member("gdn-readers", Ring::Tools, &[]),
    member("gdn-xtables", Ring::Tools, &[]),
    member("gdn-sockets", Ring::Tools, &[]),
    member("gdn-state", Ring::Tools, &[]),
    member("gdn-layers", Ring::Tools, &["gdn-mounts"]),
    member("gdn-image-store", Ring::Tools, &["gdn-layers", "gdn-mounts"]),
    member("gdn-keeper", Ring::Tools, &["gdn-mounts", "gdn-namespaces"]),
    member("gdn-launcher", Ring::Tools, &["gdn-keeper", "gdn-namespaces"]),
    member("containerizer", Ring::Components, &[]),
    member("networker", Ring::Components, &[]),
    member("volumizer", Ring::Components, &[]),
    member("properties", Ring::Components, &[]),
    member("gardener-core", Ring::Core, &[]),
    member("gdn-proto", Ring::Gates, &[]),
    member("gdn-grpc", Ring::Gates, &["gdn-proto"]),
    member("gdn-http", Ring::Gates, &[]),
    member("gdn-client", Ring::Gates, &["gdn-proto"]),
    member("gdn-debug", Ring::Gates, &[]),
    member("gdn", Ring::Doors, &[]),
    member("gdn-testkit", Ring::Testkit, &[]),
    member("crash-tests", Ring::Outside, &[]),
    member("engine-tests", Ring::Outside, &[]),
    member("gdn-bench", Ring::Outside, &[]),
    member("gdn-campaigns", Ring::Outside, &["engine-tests"]),
    member("gdn-probe", Ring::Outside, &[]),
    member("xtask", Ring::Outside, &[]),
];

/// Tools know kernel words only, so they stay free of garden's; the exceptions.
pub(super) const TOOLS_WITH_WORDS: &[&str] = &[];

/// Crates from the registry that only these members may use directly, and why.
pub(super) const RESTRICTED: &[(&str, &[&str], &str)] = &[
    (
        "anyhow",
        &["gdn", "xtask", "crash-tests", "engine-tests", "gdn-bench", "gdn-campaigns", "gdn-testkit"],
        "libraries have typed errors; anyhow is for doors, automation and tests",
    ),
    ("sled", &["gdn-state"], "one crate knows how it fails"),
    (
        "tonic",
        &["gdn-proto", "gdn-grpc", "gdn-client", "gdn-campaigns"],
        "one wire format per gate; an attacker is a client that checks nothing",
    ),
    ("tonic-prost", &["gdn-proto"], "only generated code names it"),
    ("httparse", &["gdn-http"], "one wire format per gate"),
    ("hyper", &["gdn-debug"], "one wire format per gate"),
    (
        "prost",
        &[
            "gdn-proto",
            "gdn-grpc",
            "gdn-client",
            "gdn-keeper",
            "gdn-launcher",
            "networker",
            "properties",
            "xtask",
        ],
        "only what speaks or stores protocol buffers",
    ),
    ("nix", &[], "rustix and libc cover what is needed; a second wrapper of the same calls is not"),
    (
        "tokio",
        &[
            "gdn-launcher",
            "gdn-readers",
            "containerizer",
            "networker",
            "volumizer",
            "properties",
            "gardener-core",
            "gdn-grpc",
            "gdn-http",
            "gdn-client",
            "gdn-debug",
            "gdn",
            "gdn-testkit",
            "crash-tests",
            "engine-tests",
            "gdn-bench",
            "gdn-campaigns",
        ],
        "words and kernel tools are free of any runtime",
    ),
];

/// Members whose registry dependencies are a closed list.
pub(super) const CLOSED: &[(&str, &[&str])] = &[
    ("gdn-types", &["thiserror"]),
    ("gdn-traits", &["async-trait"]),
    ("gardener-core", &["async-trait", "futures", "tokio", "tokio-util", "tracing", "uuid"]),
];
