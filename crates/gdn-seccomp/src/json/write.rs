//! A profile in the form of `linux.seccomp` of the OCI runtime specification, for runtimes that make their own programs of it.

use serde_json::{Value, json};

use crate::architecture::Architecture;
use crate::error::Error;
use crate::profile::{Action, Case, Condition, Profile, Rule, Test};

/// The lower half of an argument, all bits of it.
const INT: u64 = 0xffff_ffff;

pub(super) fn document(profile: &Profile) -> Result<Value, Error> {
    let default = profile.unlisted;
    let mut rules = Vec::new();
    for (name, rule) in profile.rules() {
        add(&mut rules, name, rule, default)?;
    }
    let (default_action, default_errno) = words(default);
    let mut document = json!({
        "defaultAction": default_action,
        "architectures": architectures(profile),
        "syscalls": rules,
    });
    set_errno(&mut document, "defaultErrnoRet", default_errno);
    Ok(document)
}

fn architectures(profile: &Profile) -> Vec<&'static str> {
    match Architecture::native() {
        Some(Architecture::X86_64) => {
            [(true, "SCMP_ARCH_X86_64"), (profile.i386, "SCMP_ARCH_X86"), (profile.x32, "SCMP_ARCH_X32")]
                .into_iter()
                .filter_map(|(listed, name)| listed.then_some(name))
                .collect()
        }
        Some(Architecture::Aarch64) => vec!["SCMP_ARCH_AARCH64"],
        Some(Architecture::I386) => vec!["SCMP_ARCH_X86"],
        None => Vec::new(),
    }
}

/// The rules of one call. Those of the default action must not be written: libseccomp refuses them.
fn add(rules: &mut Vec<Value>, name: &str, rule: &Rule, default: Action) -> Result<(), Error> {
    for case in rule.cases.iter().filter(|case| case.action != default) {
        rules.push(entry(name, case.action, &case.when));
    }
    if rule.otherwise == default {
        return Ok(());
    }
    if rule.cases.is_empty() {
        rules.push(entry(name, rule.otherwise, &[]));
        return Ok(());
    }
    // "Otherwise" has to be said as conditions: everything that is none of the values.
    let (argument, values) =
        compared(&rule.cases).ok_or_else(|| Error::NotExpressible { name: name.to_owned() })?;
    for (mask, value) in others(&values) {
        rules.push(entry(name, rule.otherwise, &[Condition::new(argument, Test::Masked { mask, value })]));
    }
    Ok(())
}

/// The one argument and the values of it that the cases are about, if that is all they are about.
fn compared(cases: &[Case]) -> Option<(u8, Vec<u64>)> {
    let mut argument = None;
    let mut values = Vec::new();
    for case in cases {
        let [Condition { argument: of, test: Test::Masked { mask: INT, value } }] = case.when[..] else {
            return None;
        };
        if *argument.get_or_insert(of) != of {
            return None;
        }
        values.push(value);
    }
    Some((argument?, values))
}

/// Masks and values that together fit every `int` but these: for each, the blocks beside the way to it in a binary tree.
fn others(values: &[u64]) -> Vec<(u64, u64)> {
    let mut blocks = Vec::new();
    let mut pending = vec![(0_u64, 0_u64)];
    while let Some((mask, value)) = pending.pop() {
        if !values.iter().any(|excluded| excluded & mask == value) {
            blocks.push((mask, value));
        } else if mask != INT {
            let bit = 1 << (31 - mask.count_ones());
            pending.extend([(mask | bit, value), (mask | bit, value | bit)]);
        }
    }
    blocks
}

fn entry(name: &str, action: Action, when: &[Condition]) -> Value {
    let (words, errno) = words(action);
    let mut entry = json!({ "names": [name], "action": words });
    if !when.is_empty() {
        entry["args"] = when.iter().map(argument).collect();
    }
    set_errno(&mut entry, "errnoRet", errno);
    entry
}

fn argument(condition: &Condition) -> Value {
    let (op, value, second) = match condition.test {
        Test::Equal(value) => ("SCMP_CMP_EQ", value, 0),
        Test::NotEqual(value) => ("SCMP_CMP_NE", value, 0),
        Test::Less(value) => ("SCMP_CMP_LT", value, 0),
        Test::LessOrEqual(value) => ("SCMP_CMP_LE", value, 0),
        Test::Greater(value) => ("SCMP_CMP_GT", value, 0),
        Test::GreaterOrEqual(value) => ("SCMP_CMP_GE", value, 0),
        Test::Masked { mask, value } => ("SCMP_CMP_MASKED_EQ", mask, value),
    };
    json!({ "index": condition.argument, "op": op, "value": value, "valueTwo": second })
}

fn words(action: Action) -> (&'static str, Option<u16>) {
    match action {
        Action::Allow => ("SCMP_ACT_ALLOW", None),
        Action::Log => ("SCMP_ACT_LOG", None),
        Action::Errno(number) => ("SCMP_ACT_ERRNO", Some(number)),
        Action::Trap => ("SCMP_ACT_TRAP", None),
        Action::KillThread => ("SCMP_ACT_KILL_THREAD", None),
        Action::KillProcess => ("SCMP_ACT_KILL_PROCESS", None),
        Action::Trace(number) => ("SCMP_ACT_TRACE", Some(number)),
    }
}

fn set_errno(object: &mut Value, key: &str, errno: Option<u16>) {
    if let Some(errno) = errno {
        object[key] = errno.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Capabilities;
    use crate::json::Target;

    /// What is read back decides as the profile does, also about arguments with something in their upper half.
    #[test]
    fn the_default_profile_is_the_same_when_it_is_read_back() {
        let profile = Profile::default_profile();
        let text = profile.to_json().unwrap().to_string();
        let target = Target::here(Capabilities::NONE).unwrap();
        let read = Profile::from_json(text.as_bytes(), target).unwrap().profile;
        let native = Architecture::native().unwrap();
        let interesting = [0, 1, 2, 8, 37, 38, 39, 40, 41, 0x5412, 0x5413, 0x541c, 0x7e02_0000, INT];
        for (name, _) in profile.rules() {
            let Some(number) = native.number(name) else { continue };
            for value in interesting.into_iter().flat_map(|value| [value, value | 1 << 32]) {
                for arguments in [[value, 0, 0, 0, 0, 0], [0, value, 0, 0, 0, 0]] {
                    let expected = profile.action(native, number, &arguments);
                    assert_eq!(read.action(native, number, &arguments), expected, "{name} {arguments:?}");
                }
            }
        }
        assert!(!text.contains(r#""names":["mount"]"#));
    }

    #[test]
    fn blocks_fit_everything_else_exactly() {
        let blocks = others(&[38, 40]);
        let fits = |value: u64| blocks.iter().filter(|(mask, wanted)| value & mask == *wanted).count();
        for value in (0..100).chain([INT, INT - 1, 1 << 31]) {
            assert_eq!(fits(value), usize::from(value != 38 && value != 40), "{value}");
        }
    }

    #[test]
    fn what_the_form_has_no_words_for_is_refused() {
        let mut profile = Profile::empty();
        profile.set("ioctl", Rule::any([Condition::new(1, Test::Less(7))], Action::REFUSE, Action::Allow));
        assert_eq!(profile.to_json(), Err(Error::NotExpressible { name: "ioctl".into() }));
    }
}
