//! What happens at each system call.

use std::collections::BTreeMap;

use crate::calls;

/// What happens at a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is carried out.
    Allow,
    /// It fails with this error number.
    Errno(u16),
}

/// `EPERM`: the call exists, and this process may not.
pub(crate) const DENY: Action = Action::Errno(1);
/// `ENOSYS`: the call does not exist, so that libraries fall back to an older one.
pub(crate) const ABSENT: Action = Action::Errno(38);

/// Holds when `argument & mask == value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Position of the argument, 0 to 5.
    pub argument: u8,
    /// Which bits count.
    pub mask: u64,
    /// What they must be.
    pub value: u64,
}

impl Condition {
    /// The argument's lower 32 bits are exactly this: what the kernel looks at where it takes an `int`.
    pub const fn int(argument: u8, value: u32) -> Self {
        Condition { argument, mask: 0xffff_ffff, value: value as u64 }
    }
}

/// An action for calls whose arguments meet a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// When.
    pub when: Condition,
    /// What happens then.
    pub action: Action,
}

/// What happens at one system call: the first case that holds decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Cases in order.
    pub cases: Vec<Case>,
    /// What happens when none holds.
    pub otherwise: Action,
}

impl From<Action> for Rule {
    fn from(action: Action) -> Self {
        Rule { cases: Vec::new(), otherwise: action }
    }
}

/// What happens at every system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub(crate) rules: BTreeMap<u32, Rule>,
    /// For numbers without a rule, up to `highest`.
    pub(crate) unlisted: Action,
    /// The highest number that was known when the profile was written.
    pub(crate) highest: u32,
    /// For numbers above.
    pub(crate) unknown: Action,
}

/// `clone` flags that make namespaces: NEWTIME shares its bit with the exit signal's mask and is only for clone3.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;

impl Profile {
    /// A profile that allows nothing.
    pub fn empty() -> Self {
        Profile { rules: BTreeMap::new(), unlisted: DENY, highest: calls::HIGHEST, unknown: ABSENT }
    }

    /// The profile of unprivileged containers.
    pub fn default_profile() -> Self {
        let mut profile = Profile::empty();
        for number in calls::allowed() {
            profile.set(number, Action::Allow);
        }
        for number in calls::ABSENT {
            profile.set(number, ABSENT);
        }
        let number =
            |number: libc::c_long| u32::try_from(number).expect("call numbers are small and positive");
        let makes_no_namespace = Condition { argument: 0, mask: NAMESPACE_FLAGS, value: 0 };
        profile.set_rule(
            number(libc::SYS_clone),
            Rule { cases: vec![Case { when: makes_no_namespace, action: Action::Allow }], otherwise: DENY },
        );
        // Per linux/personality.h: PER_LINUX, PER_LINUX32, and the question for the present one.
        profile.set_rule(number(libc::SYS_personality), only(0, &[0, 8, 0xffff_ffff]));
        profile.set_rule(
            number(libc::SYS_socket),
            except(0, &[libc::AF_ALG, libc::AF_VSOCK].map(i32::cast_unsigned)),
        );
        profile.set_rule(number(libc::SYS_ioctl), except(1, &[TIOCSTI, TIOCLINUX]));
        profile
    }

    /// Sets what happens at a call, whatever its arguments.
    pub fn set(&mut self, number: u32, action: Action) {
        self.set_rule(number, action.into());
    }

    /// Sets what happens at a call.
    pub fn set_rule(&mut self, number: u32, rule: Rule) {
        self.rules.insert(number, rule);
    }

    /// What happens at a call with these arguments: the meaning of the profile, against which programs are tested.
    pub fn action(&self, number: u32, arguments: [u64; 6]) -> Action {
        match self.rules.get(&number) {
            Some(rule) => rule
                .cases
                .iter()
                .find(|case| arguments[usize::from(case.when.argument)] & case.when.mask == case.when.value)
                .map_or(rule.otherwise, |case| case.action),
            None if number > self.highest => self.unknown,
            None => self.unlisted,
        }
    }
}

/// Allowed only with one of these values.
fn only(argument: u8, values: &[u32]) -> Rule {
    let case = |value: &u32| Case { when: Condition::int(argument, *value), action: Action::Allow };
    Rule { cases: values.iter().map(case).collect(), otherwise: DENY }
}

/// Allowed with any but these values.
fn except(argument: u8, values: &[u32]) -> Rule {
    let case = |value: &u32| Case { when: Condition::int(argument, *value), action: DENY };
    Rule { cases: values.iter().map(case).collect(), otherwise: Action::Allow }
}
