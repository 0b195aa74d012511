//! The black-box tests with an external OCI runtime behind every engine.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::shell::{self, cargo};
use crate::{packages, test};

/// A test that does not hold with a runtime, and why.
struct Exception {
    /// The test's name, or with `::` at the end those of a module.
    test: &'static str,
    /// The runtimes it is left out with.
    with: &'static [&'static str],
    reason: &'static str,
}

const ALL: &[&str] = &["runc", "crun"];
const CRUN: &[&str] = &["crun"];

const EXCEPTIONS: &[Exception] = &[
    Exception {
        test: "runtime_plugin::an_engine_without_the_plugin_removes_what_one_with_it_made",
        with: ALL,
        reason: "it starts an engine without a runtime",
    },
    Exception {
        test: "security::keyrings::",
        with: ALL,
        reason: "a runtime makes a session keyring for each process that it starts, of the user that runs it",
    },
    Exception {
        test: "security::starvation::",
        with: ALL,
        reason: "the caps of user namespaces are not set for containers of a runtime",
    },
    Exception {
        test: "host_ids::what_one_container_uses_up_of_its_user_namespaces_others_still_have",
        with: ALL,
        reason: "the caps of user namespaces are not set for containers of a runtime",
    },
    Exception {
        test: "security::the_flags_of_a_profile_are_loaded_with_it",
        with: ALL,
        reason: "flags of seccomp profiles are not passed on",
    },
    Exception {
        test: "network::plugin::a_plug_in_is_told_what_a_client_wants_and_its_answer_is_the_containers",
        with: ALL,
        reason: "a plug-in is told of the process that has the namespaces before the runtime makes the container",
    },
    Exception {
        test: "hostile::creates_take_what_they_can_do_and_refuse_the_rest",
        with: ALL,
        reason: "a runtime follows links of mount targets inside the root, and has bounds of its own for tasks and shares",
    },
    Exception {
        test: "hostile::runs_take_what_they_can_do_and_refuse_the_rest",
        with: ALL,
        reason: "a runtime has bounds of its own for users and limits of processes",
    },
    Exception {
        test: "processes::processes_get_the_limits_they_ask_for",
        with: ALL,
        reason: "a runtime sets limits as the container's root, who cannot raise those of the host",
    },
    Exception {
        test: "rlimits::a_limit_above_the_servers_is_set_where_the_host_can_and_else_cut_off_there",
        with: ALL,
        reason: "a runtime sets limits as the container's root, and refuses what is not its to raise",
    },
    Exception {
        test: "host_ids::each_container_owns_its_files_and_processes_by_ids_of_its_own",
        with: ALL,
        reason: "runtimes bind the host's device nodes, which belong to nobody inside",
    },
    Exception {
        test: "block_io::the_operators_weight_is_everybodys_and_zero_is_the_kernels",
        with: ALL,
        reason: "containers of a runtime have a group in every hierarchy, so the kernel's own weight is told",
    },
    Exception {
        test: "devices::a_rule_of_the_operator_takes_the_place_of_the_usual_one",
        with: ALL,
        reason: "a runtime allows the usual devices itself, whatever it is told",
    },
    Exception {
        test: "limits::only_the_devices_of_the_list_are_allowed",
        with: CRUN,
        reason: "crun 1.8.1 allows the console (5:1) to every container",
    },
    Exception {
        test: "security::probes::the_engines_own_profile_refuses_what_has_led_out_of_containers",
        with: CRUN,
        reason: "crun 1.8.1 has one answer for all calls that its library does not know: not permitted",
    },
    Exception {
        test: "security::the_doctor_says_when_containers_get_no_procfs",
        with: CRUN,
        reason: "crun tells in other words that procfs cannot be mounted",
    },
    Exception {
        test: "bad_input::users_and_programs_that_do_not_exist_are_named",
        with: CRUN,
        reason: "crun does not name a program that may not be executed",
    },
    Exception {
        test: "host_ids::copies_terminals_sidecars_and_mounts_follow_the_ids",
        with: CRUN,
        reason: "with crun a terminal belongs to the container's root, whoever the process's user is",
    },
];

/// Runs the black-box tests with this runtime behind every engine.
///
/// # Errors
/// A test that failed; an exception that names no test.
pub(crate) fn run(root: &Path, runtime: &str) -> Result<()> {
    packages::install_for_tests()?;
    shell::run(&mut cargo(root, &["build", "--locked", "--package", "gdn"]))?;
    let package = ["--package", "engine-tests", "--locked"];
    let mut listing = cargo(root, &["nextest", "list", "--message-format", "oneline"]);
    let listed = shell::output(listing.args(package)).context("list the black-box tests")?;
    let mut filter = "all()".to_owned();
    for Exception { test, with, reason } in EXCEPTIONS {
        let names = |line: &str| {
            let name = line.rsplit(' ').next().unwrap_or(line);
            name == *test || (test.ends_with("::") && name.starts_with(test))
        };
        if !listed.lines().any(names) {
            bail!("the exception {test:?} is no black-box test");
        }
        if !with.iter().any(|known| Path::new(runtime).ends_with(known)) {
            continue;
        }
        println!("runtime {runtime}: left out: {test}: {reason}");
        let operator = if test.ends_with("::") { "~" } else { "=" };
        filter.push_str(&format!(" - test({operator}{test})"));
    }
    let mut tests = cargo(root, &["nextest", "run", "--no-fail-fast", "-E", &filter]);
    tests.args(package).env("GDN_TEST_RUNTIME", runtime);
    shell::run(tests.env("GDN_BIN", test::target_directory(root).join("debug/gdn")))
}
