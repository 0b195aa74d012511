//! The words of a profile's JSON, one by one.

use super::document::Argument;
use crate::architecture::Architecture;
use crate::capabilities::Capabilities;
use crate::error::Error;
use crate::profile::{Action, Condition, Test};

/// What the kernel hands to programs as an error (`MAX_ERRNO`); it cuts off what is more.
const MAX_ERRNO: u32 = 4095;
/// `EPERM`, when a profile does not say which error.
const DEFAULT_ERRNO: u32 = 1;
/// `SECCOMP_FILTER_FLAG_LOG` and `SECCOMP_FILTER_FLAG_SPEC_ALLOW` of `linux/seccomp.h`.
const FLAG_LOG: u32 = 1 << 1;
const FLAG_SPEC_ALLOW: u32 = 1 << 2;

/// Architectures of libseccomp that have no table here. Profiles list them for other machines.
#[rustfmt::skip]
const OTHER_ARCHITECTURES: [&str; 18] = [
    "SCMP_ARCH_ARM", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC", "SCMP_ARCH_PPC64", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_S390", "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64", "SCMP_ARCH_RISCV64", "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K", "SCMP_ARCH_SHEB",
];

/// An architecture by the name libseccomp has for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Table(Architecture),
    X32,
    Other,
}

pub(super) fn unknown(key: &'static str, value: &str) -> Error {
    // A value that is reported is not longer than a line.
    Error::UnknownValue { key, value: value.chars().take(64).collect() }
}

/// An action with its number.
pub(super) fn action(name: &str, errno: Option<u32>, errno_name: Option<&str>) -> Result<Action, Error> {
    let with_number = matches!(name, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE");
    if let (false, Some(errno)) = (with_number, errno) {
        return Err(Error::ErrorNumber { action: name.chars().take(64).collect(), errno });
    }
    let errno = match (errno, errno_name) {
        (Some(errno), _) => errno,
        (None, Some(name)) if with_number && !name.is_empty() => return Err(unknown("errno", name)),
        _ => DEFAULT_ERRNO,
    };
    let most = if name == "SCMP_ACT_TRACE" { u32::from(u16::MAX) } else { MAX_ERRNO };
    let number = u16::try_from(errno).ok().filter(|_| errno <= most);
    let number = number.ok_or_else(|| Error::ErrorNumber { action: name.chars().take(64).collect(), errno });
    Ok(match name {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_ERRNO" => Action::Errno(number?),
        "SCMP_ACT_TRACE" => Action::Trace(number?),
        "SCMP_ACT_NOTIFY" => return Err(Error::Notification { wish: "SCMP_ACT_NOTIFY" }),
        other => return Err(unknown("action", other)),
    })
}

/// A condition on an argument.
pub(super) fn condition(argument: &Argument, call: &str) -> Result<Condition, Error> {
    let value = argument.value;
    let test = match argument.op.as_str() {
        "SCMP_CMP_NE" => Test::NotEqual(value),
        "SCMP_CMP_LT" => Test::Less(value),
        "SCMP_CMP_LE" => Test::LessOrEqual(value),
        "SCMP_CMP_EQ" => Test::Equal(value),
        "SCMP_CMP_GE" => Test::GreaterOrEqual(value),
        "SCMP_CMP_GT" => Test::Greater(value),
        "SCMP_CMP_MASKED_EQ" => Test::Masked { mask: value, value: argument.value_two },
        other => return Err(unknown("op", other)),
    };
    match u8::try_from(argument.index) {
        Ok(index @ 0..=5) => Ok(Condition::new(index, test)),
        Ok(index) => Err(Error::NoSuchArgument { name: call.to_owned(), argument: index }),
        Err(_) => Err(unknown("index", &argument.index.to_string())),
    }
}

pub(super) fn architecture(name: &str) -> Result<Named, Error> {
    match name {
        "SCMP_ARCH_X86_64" => Ok(Named::Table(Architecture::X86_64)),
        "SCMP_ARCH_X86" => Ok(Named::Table(Architecture::I386)),
        "SCMP_ARCH_X32" => Ok(Named::X32),
        "SCMP_ARCH_AARCH64" => Ok(Named::Table(Architecture::Aarch64)),
        other if OTHER_ARCHITECTURES.contains(&other) => Ok(Named::Other),
        other => Err(unknown("architectures", other)),
    }
}

pub(super) fn capabilities(names: &[String]) -> Result<Capabilities, Error> {
    names.iter().try_fold(Capabilities::NONE, |all, name| {
        let one = Capabilities::named([name.as_str()]).ok_or_else(|| unknown("caps", name))?;
        Ok(all.and(one))
    })
}

/// A kernel's version: the first two numbers of two or more.
pub(super) fn kernel(key: &'static str, version: &str) -> Result<(u32, u32), Error> {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => Err(unknown(key, version)),
    }
}

/// Flags for loading the filter.
pub(super) fn flags(names: &[String]) -> Result<u32, Error> {
    names.iter().try_fold(0, |all, name| match name.as_str() {
        "SECCOMP_FILTER_FLAG_TSYNC" => Ok(all),
        "SECCOMP_FILTER_FLAG_LOG" => Ok(all | FLAG_LOG),
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(all | FLAG_SPEC_ALLOW),
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => {
            Err(Error::Notification { wish: "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" })
        }
        other => Err(unknown("flags", other)),
    })
}
