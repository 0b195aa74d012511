//! What happens at each system call, as data.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::Architecture;
use crate::architecture::{FIRST_OF_X32, X32_BIT};

/// What happens at a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// It is carried out.
    Allow,
    /// It is carried out, and logged.
    Log,
    /// It fails with this error number.
    Errno(u16),
    /// The thread gets SIGSYS.
    Trap,
    /// The thread is killed.
    KillThread,
    /// The process is killed.
    KillProcess,
    /// A tracer decides, and is given this number; without one the call fails with ENOSYS.
    Trace(u16),
}

impl Action {
    /// `EPERM`: the call exists, and this process may not.
    pub const REFUSE: Action = Action::Errno(1);
    /// `ENOSYS`: the call does not exist, so that libraries fall back to an older one.
    pub const ABSENT: Action = Action::Errno(38);

    /// The value a filter returns for it (`SECCOMP_RET_*` of `linux/seccomp.h`).
    pub const fn value(self) -> u32 {
        match self {
            Action::Allow => 0x7fff_0000,
            Action::Log => 0x7ffc_0000,
            Action::Errno(number) => 0x0005_0000 | number as u32,
            Action::Trap => 0x0003_0000,
            Action::KillThread => 0,
            Action::KillProcess => 0x8000_0000,
            Action::Trace(number) => 0x7ff0_0000 | number as u32,
        }
    }
}

/// A comparison of one argument, unsigned and in all 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Position of the argument, 0 to 5.
    pub argument: u8,
    /// What must hold.
    pub test: Test,
}

/// What must hold of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Test {
    /// `argument == value`
    Equal(u64),
    /// `argument != value`
    NotEqual(u64),
    /// `argument < value`
    Less(u64),
    /// `argument <= value`
    LessOrEqual(u64),
    /// `argument > value`
    Greater(u64),
    /// `argument >= value`
    GreaterOrEqual(u64),
    /// `argument & mask == value`
    Masked {
        /// Which bits count.
        mask: u64,
        /// What they must be.
        value: u64,
    },
}

impl Condition {
    /// A condition on the argument at a position, 0 to 5.
    pub const fn new(argument: u8, test: Test) -> Self {
        Condition { argument, test }
    }

    /// The argument's lower 32 bits are exactly this: what the kernel looks at where it takes an `int`.
    pub const fn int(argument: u8, value: u32) -> Self {
        Condition { argument, test: Test::Masked { mask: 0xffff_ffff, value: value as u64 } }
    }

    /// Whether it holds.
    pub fn holds(&self, arguments: &[u64; 6]) -> bool {
        let Some(argument) = arguments.get(usize::from(self.argument)) else { return false };
        match self.test {
            Test::Equal(value) => *argument == value,
            Test::NotEqual(value) => *argument != value,
            Test::Less(value) => *argument < value,
            Test::LessOrEqual(value) => *argument <= value,
            Test::Greater(value) => *argument > value,
            Test::GreaterOrEqual(value) => *argument >= value,
            Test::Masked { mask, value } => argument & mask == value,
        }
    }
}

/// An action for calls whose arguments meet all conditions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Case {
    /// When; always, if there is none.
    pub when: Vec<Condition>,
    /// What happens then.
    pub action: Action,
}

/// What happens at one system call: the first case that holds decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Cases in order.
    pub cases: Vec<Case>,
    /// What happens when none holds.
    pub otherwise: Action,
}

impl Rule {
    /// One action whenever one of the conditions holds, another otherwise.
    pub fn any(conditions: impl IntoIterator<Item = Condition>, action: Action, otherwise: Action) -> Self {
        let case = |condition| Case { when: vec![condition], action };
        Rule { cases: conditions.into_iter().map(case).collect(), otherwise }
    }

    /// What happens with these arguments.
    pub fn action(&self, arguments: &[u64; 6]) -> Action {
        let decides = |case: &&Case| case.when.iter().all(|condition| condition.holds(arguments));
        self.cases.iter().find(decides).map_or(self.otherwise, |case| case.action)
    }
}

impl From<Action> for Rule {
    fn from(action: Action) -> Self {
        Rule { cases: Vec::new(), otherwise: action }
    }
}

/// What happens at every system call. Calls are named, so that one profile serves all architectures; a call that an
/// architecture does not have is passed over there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What happens at calls that exist and have no rule.
    pub unlisted: Action,
    /// What happens at numbers that no table has, among them those of kernels newer than this crate.
    pub unknown: Action,
    /// What happens at calls of architectures that have no table, or that this profile is not for.
    pub foreign: Action,
    /// Whether it is for i386 programs too, or their calls are foreign.
    pub i386: bool,
    /// Whether it is for x32 programs too, or their calls are foreign.
    pub x32: bool,
    rules: BTreeMap<Cow<'static, str>, Rule>,
}

impl Profile {
    /// A profile without rules: calls that exist are refused, others do not exist.
    pub const fn empty() -> Self {
        let (unlisted, unknown) = (Action::REFUSE, Action::ABSENT);
        Profile { unlisted, unknown, foreign: unknown, i386: true, x32: true, rules: BTreeMap::new() }
    }

    /// Sets what happens at a call: an [`Action`] whatever its arguments, or a [`Rule`]. An earlier rule is replaced.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, rule: impl Into<Rule>) {
        self.rules.insert(name.into(), rule.into());
    }

    /// The rule of a call.
    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.get(name)
    }

    /// All rules by name.
    pub fn rules(&self) -> impl Iterator<Item = (&str, &Rule)> {
        self.rules.iter().map(|(name, rule)| (name.as_ref(), rule))
    }

    /// What happens at a call that a program of the architecture makes: the meaning of the profile, which the program for a
    /// kernel of that architecture has to have too.
    pub fn action(&self, architecture: Architecture, number: u32, arguments: &[u64; 6]) -> Action {
        let marked = architecture == Architecture::X86_64 && number & X32_BIT != 0;
        if !self.covers(architecture) || (marked && !self.x32) {
            return self.foreign;
        }
        let number = architecture.base(number);
        let found = self.calls(architecture).find(|(_, known)| *known == number);
        let Some((name, _)) = found else { return self.unknown };
        self.rule(name).map_or(self.unlisted, |rule| rule.action(arguments))
    }

    /// Calls of an architecture that the profile is for. What only x32 has is left out with it.
    pub(crate) fn calls(&self, architecture: Architecture) -> impl Iterator<Item = (&'static str, u32)> {
        let end = if self.x32 { u32::MAX } else { FIRST_OF_X32 };
        let own = architecture != Architecture::X86_64;
        architecture.calls().filter(move |(_, number)| own || *number < end)
    }

    /// Whether programs of this architecture are decided about by name.
    pub(crate) fn covers(&self, architecture: Architecture) -> bool {
        self.i386 || architecture != Architecture::I386
    }
}
