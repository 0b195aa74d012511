//! A process as the keeper is told of it.

use gdn_launcher::protocol::{Run, Window};
use gdn_namespaces::CapabilitySet;
use gdn_traits::RunContext;
use gdn_types::{CapabilityProfile, Error, OutputPolicy, ProcessId, ProcessSpec, Result, WindowSize};

use crate::environment;
use crate::policy::Policy;
use crate::users::User;

/// The kernel's bound on one argument (MAX_ARG_STRLEN), final NUL included.
const MAX_ARGUMENT: usize = 128 * 1024;
/// Bound on all arguments together: below the kernel's 6 MiB, and below the keeper's message bound with the environment.
const MAX_ARGUMENTS: usize = 2 * 1024 * 1024;

/// Checks a request and puts it into the keeper's form.
pub(crate) fn run(
    id: &ProcessId,
    spec: &ProcessSpec,
    context: &RunContext,
    policy: &Policy,
    user: &User,
) -> Result<Run> {
    if spec.keep_output > ProcessSpec::MAX_KEPT_OUTPUT {
        return Err(Error::invalid(format!(
            "{} bytes of output to keep are more than {}",
            spec.keep_output,
            ProcessSpec::MAX_KEPT_OUTPUT
        )));
    }
    let bounding = bounding_set(context.privileged, user);
    Ok(Run {
        process: id.as_str().to_owned(),
        args: arguments(spec)?,
        env: environment::of_process(&context.env, &spec.env, user_name(spec), user),
        dir: working_directory(spec, user)?,
        uid: user.uid,
        gid: user.gid,
        groups: user.groups.clone(),
        rlimits: spec.rlimits.set().flat_map(|(resource, value)| [u64::from(resource), value]).collect(),
        tty: spec.tty.map(window),
        bounding: bounding.0,
        inheritable: inheritable_set(context.capabilities, bounding).0,
        block_output: spec.output == OutputPolicy::Block,
        hold_output: spec.output == OutputPolicy::Hold,
        keep_output: kept_output(spec),
        no_new_privileges: policy.no_new_privileges && !context.privileged,
        ..Run::default()
    })
}

/// How many bytes of each output are kept. A process that waits rather than losing any is to lose none on the way to a reader
/// that goes away either: more than the engine's client takes ahead of who reads from it.
fn kept_output(spec: &ProcessSpec) -> u64 {
    match (spec.output, spec.keep_output) {
        (OutputPolicy::Block, 0) => ProcessSpec::MAX_KEPT_OUTPUT,
        (_, keep) => keep,
    }
}

/// The name for the variable USER: what was asked for, without a group.
fn user_name(spec: &ProcessSpec) -> &str {
    spec.user.split(':').next().unwrap_or_default()
}

pub(crate) fn window(size: WindowSize) -> Window {
    let size = size.or_default();
    Window { columns: size.columns.into(), rows: size.rows.into() }
}

/// The capabilities that processes of this kind can ever have (conformance G207 to G219).
fn bounding_set(privileged: bool, user: &User) -> CapabilitySet {
    match (privileged, user.uid) {
        (false, _) => CapabilitySet::UNPRIVILEGED,
        (true, 0) => CapabilitySet::PRIVILEGED,
        (true, _) => CapabilitySet::PRIVILEGED_USER,
    }
}

/// The capabilities that programs of whoever has this bounding set inherit.
pub(crate) fn inheritable_set(profile: CapabilityProfile, bounding: CapabilitySet) -> CapabilitySet {
    match profile {
        CapabilityProfile::Strict => CapabilitySet::EMPTY,
        CapabilityProfile::Garden => bounding,
    }
}

fn arguments(spec: &ProcessSpec) -> Result<Vec<Vec<u8>>> {
    if spec.path.is_empty() {
        return Err(Error::invalid("no program to run: the request names none and neither does the image"));
    }
    let arguments: Vec<Vec<u8>> =
        std::iter::once(&spec.path).chain(&spec.args).map(|argument| argument.clone().into_bytes()).collect();
    for (position, argument) in arguments.iter().enumerate() {
        if argument.contains(&0) {
            return Err(Error::invalid(format!(
                "argument {position} of {:?} contains a NUL byte",
                spec.path
            )));
        }
        if argument.len() >= MAX_ARGUMENT {
            return Err(Error::invalid(format!(
                "argument {position} is {} bytes long, at most {} are allowed",
                argument.len(),
                MAX_ARGUMENT - 1
            )));
        }
    }
    let total: usize = arguments.iter().map(Vec::len).sum();
    if total > MAX_ARGUMENTS {
        return Err(Error::invalid(format!(
            "the arguments are {total} bytes long, at most {MAX_ARGUMENTS} are allowed"
        )));
    }
    Ok(arguments)
}

fn working_directory(spec: &ProcessSpec, user: &User) -> Result<Vec<u8>> {
    let dir = if spec.dir.is_empty() { &user.home } else { &spec.dir };
    if dir.contains('\0') || dir.len() >= 4096 {
        return Err(Error::invalid("the working directory contains a NUL byte or is longer than 4095 bytes"));
    }
    // Relative directories start at the root, as the reference engine has it.
    Ok(if dir.starts_with('/') { dir.clone().into_bytes() } else { format!("/{dir}").into_bytes() })
}
