//! Chains.

/// What the rules of a base chain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainType {
    /// Let packets pass or not.
    Filter,
    /// Translate addresses: sees the first packet of each connection.
    Nat,
}

impl ChainType {
    pub(crate) fn name(self) -> &'static str {
        match self {
            ChainType::Filter => "filter",
            ChainType::Nat => "nat",
        }
    }
}

/// Where packets meet a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// All that come in, before they are routed.
    Prerouting,
    /// Those for this host.
    Input,
    /// Those for others.
    Forward,
    /// Those of this host.
    Output,
    /// All that go out.
    Postrouting,
}

impl Hook {
    const ALL: [Hook; 5] = [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting];

    /// The kernel's number (`NF_INET_*`).
    pub(crate) fn number(self) -> u32 {
        self as u32
    }

    pub(crate) fn of_number(number: u32) -> Option<Hook> {
        Hook::ALL.into_iter().find(|hook| hook.number() == number)
    }
}

/// What happens to a packet at the end of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It goes on.
    Accept,
    /// It is dropped.
    Drop,
}

impl Policy {
    /// The kernel's number (`NF_DROP`, `NF_ACCEPT`).
    pub(crate) fn number(self) -> u32 {
        match self {
            Policy::Drop => 0,
            Policy::Accept => 1,
        }
    }

    pub(crate) fn of_number(number: u32) -> Option<Policy> {
        [Policy::Drop, Policy::Accept].into_iter().find(|policy| policy.number() == number)
    }
}

/// A chain: rules that are tried one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub(crate) name: String,
    pub(crate) base: Option<Base>,
}

/// What makes a chain a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) kind: ChainType,
    pub(crate) hook: Hook,
    pub(crate) priority: i32,
    pub(crate) policy: Policy,
}

impl Chain {
    /// A chain that rules jump to.
    pub fn new(name: &str) -> Chain {
        Chain { name: name.to_owned(), base: None }
    }

    /// A chain that packets meet at a hook; lower priorities come first (0 is `filter`, -100 `dstnat`, 100 `srcnat`).
    /// Its policy is to accept.
    pub fn base(name: &str, kind: ChainType, hook: Hook, priority: i32) -> Chain {
        Chain { name: name.to_owned(), base: Some(Base { kind, hook, priority, policy: Policy::Accept }) }
    }

    /// Sets the policy of a base chain; other chains have none.
    pub fn policy(mut self, policy: Policy) -> Chain {
        if let Some(base) = &mut self.base {
            base.policy = policy;
        }
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}
