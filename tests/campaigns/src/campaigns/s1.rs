//! S1: what a root file system, its mounts and procfs can do to the one who sets them up.

mod binds;
mod groups;
mod joining;
mod kernel;
mod network_files;
mod places;
mod races;
mod settings;
mod sight;
mod words;

use crate::{Bed, Campaign, Row, Stage};

pub(super) use races::{hit_after, until_hit};

/// The campaign.
pub(super) const CAMPAIGN: Campaign = Campaign {
    id: "S1",
    title: "set-up of root file systems, mounts and procfs",
    bed: Bed::start,
    rows: &[
        row(
            "S1.01",
            "CVE-2019-5736",
            8,
            200,
            joining::own_program,
            "the program of the engine cannot be written from inside",
        ),
        row(
            "S1.02",
            "CVE-2016-9962",
            4,
            500,
            joining::before_exec,
            "what joins a container shows no descriptors and cannot be traced before it is a program of the image",
        ),
        row(
            "S1.03",
            "CVE-2024-21626",
            192,
            1,
            joining::left_descriptors,
            "no descriptor of the host is left for a working directory or a program to be",
        ),
        row(
            "S1.04",
            "CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867",
            12,
            1,
            places::kernel_directories,
            "procfs and sysfs are never mounted outside of the root, and nothing else in their place",
        ),
        row(
            "S1.05",
            "CVE-2026-41579, CVE-2026-47766",
            12,
            1,
            places::devices,
            "no device is made where /dev leads to",
        ),
        row(
            "S1.06",
            "CVE-2025-31133, CVE-2025-62161",
            9,
            500,
            places::null_device,
            "masked paths are masked by the kernel's null device and by no other",
        ),
        row(
            "S1.07",
            "CVE-2025-52565",
            3,
            500,
            places::consoles,
            "a terminal is one of the container's own, whatever /dev/pts shows",
        ),
        row(
            "S1.08",
            "CVE-2025-52881, CVE-2019-16884",
            6,
            500,
            settings::redirected,
            "kernel settings are written to procfs and to nothing else",
        ),
        row(
            "S1.09",
            "CVE-2021-30465",
            8,
            2000,
            races::mounts,
            "a mount lands in the container or nowhere while its target is exchanged",
        ),
        row(
            "S1.10",
            "CVE-2024-45310",
            4,
            2000,
            races::directories,
            "directories for mounts are made in the container or nowhere",
        ),
        row(
            "S1.11",
            "CVE-2019-18837, CVE-2024-1753, CVE-2024-9407, CVE-2024-11218, CVE-2025-9566",
            24,
            1,
            binds::targets,
            "a bind mount lands in the container or nowhere, whatever its target is",
        ),
        row(
            "S1.12",
            "CVE-2022-23648",
            6,
            1,
            words::volumes,
            "volumes that an image asks for bring no file of the host",
        ),
        row(
            "S1.13",
            "CVE-2024-5154",
            18,
            1,
            network_files::shown,
            "files shown at /etc/hosts and the like are not written where a link of the image leads",
        ),
        row(
            "S1.14",
            "CVE-2023-33199",
            34,
            1,
            kernel::masks,
            "what of procfs and sysfs concerns the host cannot be read, written or uncovered",
        ),
        row("S1.15", "CVE-2022-0492", 16, 1, kernel::helpers, "the kernel cannot be told to run a program"),
        row(
            "S1.16",
            "CVE-2022-0811, CVE-2022-0532",
            10,
            1,
            settings::injected,
            "only kernel settings of the container's own namespaces are taken",
        ),
        row("S1.17", "CVE-2025-47291", 8, 1, groups::names, "control groups are made below the engine's"),
        row(
            "S1.18",
            "",
            4,
            1,
            sight::mounts,
            "the mount table of a container does not tell of the host's directories or of other containers",
        ),
        row(
            "S1.19",
            "",
            8,
            1,
            sight::overlay_options,
            "names of images, handles and layers are never read as options of an overlay",
        ),
        row(
            "S1.20",
            "CVE-2026-53488, CVE-2026-53492, CVE-2024-3154",
            40,
            1,
            words::magic,
            "labels and annotations of an image change nothing and run nothing",
        ),
    ],
};

const fn row(
    id: &'static str,
    reference: &'static str,
    cases: usize,
    attempts: u32,
    play: fn(&mut Stage<'_>),
    title: &'static str,
) -> Row {
    Row { id, title, reference, cases, attempts, play }
}
