//! S5: what of the kernel a container reaches.

mod abuse;
mod calls;
mod dangerous;
mod devices;
mod filter;
mod filters;
mod reach;

use crate::{Bed, Campaign, Row};

/// The campaign.
pub(super) const CAMPAIGN: Campaign = Campaign {
    id: "S5",
    title: "the kernel's surface",
    bed: Bed::start,
    rows: &[
        Row {
            id: "S5.01",
            title: "every system call number of x86_64, x32 and i386 is allowed, refused or unknown as declared",
            reference: "",
            cases: calls::CASES,
            attempts: 1,
            play: calls::every_number,
        },
        Row {
            id: "S5.02",
            title: "namespaces, key rings, the crypto API, terminal input and mounts are refused by the arguments of calls",
            reference: "CVE-2026-31431 (AF_ALG)",
            cases: 48,
            attempts: 1,
            play: filters::arguments,
        },
        Row {
            id: "S5.03",
            title: "every process of a container is filtered, through every door and after a restart",
            reference: "",
            cases: 10,
            attempts: 1,
            play: filters::everywhere,
        },
        Row {
            id: "S5.04",
            title: "seven namespaces differ from the host's and from another container's",
            reference: "",
            cases: 16,
            attempts: 1,
            play: reach::namespaces,
        },
        Row {
            id: "S5.05",
            title: "no device of the host can be made and opened",
            reference: "",
            cases: 20,
            attempts: 1,
            play: devices::not_lent,
        },
        Row {
            id: "S5.06",
            title: "nothing outside is reached by its number or name",
            reference: "shocker, CVE-2024-21626",
            cases: 14,
            attempts: 1,
            play: reach::outwards,
        },
        Row {
            id: "S5.07",
            title: "the engine has no abstract socket, which a container on the host's network could reach",
            reference: "CVE-2020-15257",
            cases: 4,
            attempts: 50,
            play: reach::abstract_sockets,
        },
        Row {
            id: "S5.08",
            title: "a user namespace within gives nothing",
            reference: "CVE-2022-0492",
            cases: 10,
            attempts: 1,
            play: reach::nested,
        },
        Row {
            id: "S5.09",
            title: "whoever takes all of something leaves its neighbours theirs",
            reference: "",
            cases: 22,
            attempts: 20,
            play: abuse::bounded,
        },
    ],
};
