//! Tests that cannot run in the guest, each with what the guest lacks. An entry that names no test is an error.

/// A test program, a test of it (or with `*` at the end, all that begin so), and why it is left out.
pub(super) struct Skip {
    pub(super) suite: &'static str,
    pub(super) test: &'static str,
    pub(super) reason: &'static str,
}

pub(super) const SKIPS: &[Skip] = &[
    Skip {
        suite: "gdn-keeper::gdn_keeper",
        test: "program::transfer::tests::a_file_with_more_attributes_than_are_copied_is_an_error_that_says_so",
        reason: "a file system in memory has no attributes of users before Linux 6.6, and those of the disk have no room for \
                 so many",
    },
    Skip {
        suite: "gdn-seccomp::kernel",
        test: "calls_of_32_bit_programs_follow_the_same_profile",
        reason: "a 64-bit User-Mode Linux has no 32-bit calls",
    },
    Skip {
        suite: "gdn-seccomp::kernel",
        test: "newer_calls_reach_the_kernel",
        reason: "this kernel is built without landlock, one of the calls",
    },
    Skip {
        suite: "gdn-launcher::keeper",
        test: "keepers_are_born_in_the_cgroup_that_their_launcher_is_given_before_the_first_call",
        reason: "User-Mode Linux has no /proc/PID/syscall, by which the test sees that the launcher waits",
    },
    Skip {
        suite: "engine-tests::conformance",
        test: "devices::a_privileged_container_may_open_its_device_group_to_everything",
        reason: "the group is one of the v1 devices hierarchy, and the guest has none",
    },
    Skip {
        suite: "engine-tests::conformance",
        test: "security::the_flags_of_a_profile_are_loaded_with_it",
        reason: "this kernel is built without CHECKPOINT_RESTORE, and so does not tell the flags of a filter",
    },
    Skip {
        suite: "engine-tests::conformance",
        test: "security::keyrings::there_can_be_more_containers_than_a_user_may_have_keys",
        reason: "three hundred containers take the guest minutes, and keys are counted as on the host",
    },
    Skip {
        suite: "engine-tests::conformance",
        test: "maskedpaths::directories_of_the_hosts_hardware_are_empty",
        reason: "User-Mode Linux has neither firmware nor SCSI, so there is nothing to mask",
    },
];
