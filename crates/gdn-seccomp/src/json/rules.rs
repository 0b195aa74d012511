//! From the JSON's rules to a profile's.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::document::{ArchitectureEntry, Document, Entry, Filter};
use super::values::{self, Named};
use super::{Loaded, Target};
use crate::architecture::Architecture;
use crate::error::Error;
use crate::profile::{Action, Case, Condition, Profile, Rule};

/// Most rules, names of one rule, and conditions of one rule: far above profiles in use, and little work even at once.
const MAX_RULES: usize = 4096;
const MAX_NAMES: usize = 4096;
const MAX_CONDITIONS: usize = 64;
/// Most cases of all calls together; each becomes an instruction or more, of which there may be 4096.
const MAX_CASES: usize = 16_384;

pub(super) fn profile(document: Document, target: Target) -> Result<Loaded, Error> {
    at_most("rules", document.syscalls.len(), MAX_RULES)?;
    for (key, value) in
        [("listenerPath", &document.listener_path), ("listenerMetadata", &document.listener_metadata)]
    {
        if !value.is_empty() {
            return Err(Error::Notification { wish: key });
        }
    }
    let default = values::action(
        &document.default_action,
        document.default_errno_ret,
        document.default_errno.as_deref(),
    )?;
    let mut profile = Profile::empty();
    profile.unlisted = default;
    profile.unknown = match default {
        Action::Allow | Action::Log | Action::Trace(_) => default,
        _ => Action::ABSENT,
    };
    profile.foreign = Action::KillThread;
    let listed = architectures(&document.architectures, &document.arch_map, target.architecture)?;
    profile.x32 = listed.contains(&Named::X32);
    profile.i386 =
        target.architecture == Architecture::I386 || listed.contains(&Named::Table(Architecture::I386));

    let mut gathered = Gathered { known: Architecture::all_names(), ..Gathered::default() };
    for entry in &document.syscalls {
        gathered.add(entry, target, default)?;
    }
    for (name, rule) in gathered.rules {
        profile.set(name, Rule { otherwise: rule.always.unwrap_or(default), cases: rule.cases });
    }
    let skipped = gathered.skipped.into_iter().collect();
    Ok(Loaded { profile, skipped, flags: values::flags(&document.flags)? })
}

fn at_most(what: &'static str, count: usize, most: usize) -> Result<(), Error> {
    if count > most { Err(Error::TooMany { what, count, most }) } else { Ok(()) }
}

/// What is listed besides the kernel's own architecture. The names of all entries are looked at, also for other machines.
fn architectures(
    plain: &[String],
    map: &[ArchitectureEntry],
    own: Architecture,
) -> Result<Vec<Named>, Error> {
    let mut listed = plain.iter().map(|name| values::architecture(name)).collect::<Result<Vec<_>, _>>()?;
    for entry in map {
        let subordinate = entry.sub_architectures.iter().map(|name| values::architecture(name));
        let subordinate = subordinate.collect::<Result<Vec<_>, _>>()?;
        if values::architecture(&entry.architecture)? == Named::Table(own) {
            listed.extend(subordinate);
        }
    }
    Ok(listed)
}

/// Rules by call.
#[derive(Default)]
struct Gathered {
    known: HashSet<&'static str>,
    rules: BTreeMap<&'static str, Gathering>,
    skipped: BTreeSet<String>,
    cases: usize,
}

/// The rules for one call so far.
#[derive(Default)]
struct Gathering {
    cases: Vec<Case>,
    always: Option<Action>,
}

impl Gathered {
    /// Adds a rule to its calls, when it is for this target.
    fn add(&mut self, entry: &Entry, target: Target, default: Action) -> Result<(), Error> {
        at_most("names of one rule", entry.names.len(), MAX_NAMES)?;
        at_most("conditions of one rule", entry.args.len(), MAX_CONDITIONS)?;
        // All values are looked at, also of rules for others: a profile is right or wrong, not right somewhere.
        let action = values::action(&entry.action, entry.errno_ret, entry.errno.as_deref())?;
        let names = entry.names.iter().chain(Some(&entry.name).filter(|name| !name.is_empty()));
        let first = names.clone().next().map_or("", String::as_str);
        let conditions = entry.args.iter().map(|argument| values::condition(argument, first));
        let cases = cases(conditions.collect::<Result<_, _>>()?, action);
        let included = applies(&entry.includes, target, Every::All)?;
        let excluded = applies(&entry.excludes, target, Every::Any)?;
        if !included || excluded || action == default {
            return Ok(());
        }
        for name in names {
            let Some(name) = self.known.get(name.as_str()) else {
                self.skipped.insert(name.clone());
                continue;
            };
            let rule = self.rules.entry(name).or_default();
            if cases.is_empty() {
                rule.always.get_or_insert(action);
                rule.cases.clear();
            } else if rule.always.is_none() {
                self.cases += cases.len();
                at_most("conditional rules", self.cases, MAX_CASES)?;
                rule.cases.extend(cases.iter().cloned());
            }
        }
        Ok(())
    }
}

/// The cases of a rule: one with all its conditions, or, when two are about one argument, one for each.
fn cases(conditions: Vec<Condition>, action: Action) -> Vec<Case> {
    let arguments: HashSet<u8> = conditions.iter().map(|condition| condition.argument).collect();
    if conditions.is_empty() {
        return Vec::new();
    }
    if arguments.len() == conditions.len() {
        return vec![Case { when: conditions, action }];
    }
    conditions.into_iter().map(|condition| Case { when: vec![condition], action }).collect()
}

/// How the parts of a filter are put together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Every {
    /// A rule is included where each part, and each capability, holds.
    All,
    /// It is excluded where any does.
    Any,
}

fn applies(filter: &Filter, target: Target, every: Every) -> Result<bool, Error> {
    let mut parts = Vec::new();
    if !filter.caps.is_empty() {
        let capabilities = values::capabilities(&filter.caps)?;
        parts.push(match every {
            Every::All => target.capabilities.contains(capabilities),
            Every::Any => target.capabilities.meets(capabilities),
        });
    }
    if !filter.arches.is_empty() {
        // As Go calls them, and moby after it: rules for x86 and x32 programs come with amd64.
        let own = match target.architecture {
            Architecture::X86_64 => "amd64",
            Architecture::I386 => "x86",
            Architecture::Aarch64 => "arm64",
        };
        parts.push(filter.arches.iter().any(|name| name == own));
    }
    if !filter.min_kernel.is_empty() {
        parts.push(target.kernel >= values::kernel("minKernel", &filter.min_kernel)?);
    }
    Ok(match every {
        Every::All => parts.into_iter().all(|holds| holds),
        Every::Any => parts.into_iter().any(|holds| holds),
    })
}
