//! S4: users, groups, capabilities, keyrings, terminals and what makes a process.

mod capabilities;
mod environment;
mod groups;
mod identity;
mod keyrings;
mod terminals;
mod users;

use crate::{Bed, Campaign, Row};

/// The campaign.
pub(super) const CAMPAIGN: Campaign = Campaign {
    id: "S4",
    title: "users, groups, capabilities, keyrings, terminals, identity of processes",
    bed: Bed::start,
    rows: &[
        Row {
            id: "S4.01",
            title: "a user that is no number of 32 bits and no name is refused, and never becomes user 0",
            reference: "CVE-2024-40635, CVE-2026-46680",
            cases: 26,
            attempts: 1,
            play: users::numbers_out_of_range,
        },
        Row {
            id: "S4.02",
            title: "every form of a user gives exactly its ids",
            reference: "CVE-2026-30892",
            cases: 16,
            attempts: 1,
            play: users::exact_ids,
        },
        Row {
            id: "S4.03",
            title: "a huge file of users or groups is refused, with little memory",
            reference: "CVE-2026-47262",
            cases: 8,
            attempts: 1,
            play: users::huge_files,
        },
        Row {
            id: "S4.04",
            title: "a file of users that is a link, a fifo, a device or a directory gives no user of the host, and nobody waits for it",
            reference: "CVE-2024-9676",
            cases: 12,
            attempts: 1,
            play: users::traps,
        },
        Row {
            id: "S4.05",
            title: "supplementary groups are exactly those of the image",
            reference: "CVE-2022-2989, CVE-2022-36109, CVE-2023-25173",
            cases: 10,
            attempts: 1,
            play: groups::supplementary,
        },
        Row {
            id: "S4.06",
            title: "no process hands capabilities on: the inheritable and ambient sets are empty",
            reference: "CVE-2022-24769, CVE-2022-27650, CVE-2022-29162",
            cases: 14,
            attempts: 1,
            play: capabilities::inherited,
        },
        Row {
            id: "S4.07",
            title: "capability sets are exactly Garden's",
            reference: "",
            cases: 12,
            attempts: 1,
            play: capabilities::exact_sets,
        },
        Row {
            id: "S4.08",
            title: "no value of an environment and no handle becomes a line of a file",
            reference: "CVE-2022-4318",
            cases: 10,
            attempts: 1,
            play: environment::injected_lines,
        },
        Row {
            id: "S4.09",
            title: "programs that become root do so unless the operator forbids it",
            reference: "",
            cases: 8,
            attempts: 1,
            play: capabilities::no_new_privileges,
        },
        Row {
            id: "S4.10",
            title: "no input is pushed into a terminal",
            reference: "TIOCSTI, TIOCLINUX",
            cases: 6,
            attempts: 1,
            play: terminals::pushed_input,
        },
        Row {
            id: "S4.11",
            title: "each container has a keyring of its own, and no user of the host runs out of keys",
            reference: "",
            cases: 5,
            attempts: 300,
            play: keyrings::sessions,
        },
        Row {
            id: "S4.12",
            title: "no secret is seen in logs, other containers, command lines and files",
            reference: "CVE-2021-21334, CVE-2018-1191",
            cases: 20,
            attempts: 1,
            play: environment::secrets,
        },
        Row {
            id: "S4.13",
            title: "a fresh process has nothing of whoever started the server",
            reference: "",
            cases: 12,
            attempts: 1,
            play: identity::inherited,
        },
        Row {
            id: "S4.14",
            title: "the first process shows nothing of the host",
            reference: "CVE-2019-5736",
            cases: 8,
            attempts: 1,
            play: identity::first_process,
        },
    ],
};
