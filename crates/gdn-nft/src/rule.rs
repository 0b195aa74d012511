//! Rules.

use std::net::IpAddr;

use crate::attribute::Writer;
use crate::expression::{Expression, Into, Load, Match, Per, Protocol, Reject, Requirements, TCP, l4proto};
use crate::name::{check_name, check_text};
use crate::set::MAX_WORDS;
use crate::{Error, Result, Verdict, userdata};

/// The most expressions of a rule (`NFT_RULE_MAXEXPRS`).
const MAX_EXPRESSIONS: usize = 128;

/// A rule: conditions, then what is done with packets that meet all of them.
///
/// The order of calls is the order in which the kernel goes. Conditions that others need (an address needs its network
/// protocol) are added once, before the first that needs them. A name that cannot be is kept as a fault, and is the
/// error of the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub(crate) chain: String,
    expressions: Vec<Expression>,
    comment: Option<String>,
    known: Requirements,
    fault: Option<Error>,
}

impl Rule {
    /// An empty rule of this chain: it matches all packets and does nothing.
    pub fn new(chain: &str) -> Rule {
        Rule {
            chain: chain.to_owned(),
            expressions: Vec::new(),
            comment: None,
            known: Requirements::NONE,
            fault: check_name("chain", chain).err(),
        }
    }

    /// Goes on only if this condition is met.
    pub fn matches(mut self, condition: Match) -> Rule {
        self.require(condition.requires);
        if let Some(fault) = condition.fault {
            self.fail(fault);
        }
        if let Some(test) = condition.test {
            self.expressions.extend(test.expressions());
        }
        self
    }

    /// Goes on only if these properties, one after the other, are in a set.
    pub fn in_set(self, set: &str, key: impl IntoIterator<Item = Load>) -> Rule {
        self.lookup(set, key, Into::Nothing, false)
    }

    /// Goes on only if these properties, one after the other, are not in a set.
    pub fn not_in_set(self, set: &str, key: impl IntoIterator<Item = Load>) -> Rule {
        self.lookup(set, key, Into::Nothing, true)
    }

    /// Does what a map of verdicts has for these properties; goes on if it has nothing for them.
    pub fn verdict_from(self, map: &str, key: impl IntoIterator<Item = Load>) -> Rule {
        self.lookup(map, key, Into::Verdict, false)
    }

    /// Translates the destination to what a map with data of address and port has for these properties.
    pub fn dnat_from(self, map: &str, protocol: Protocol, key: impl IntoIterator<Item = Load>) -> Rule {
        let mut rule = self.lookup(map, key, Into::Word(0), false);
        rule.nat(true, protocol, Some(()));
        rule
    }

    /// Translates the destination address, and the port if one is given (the rule has to see to the protocol then).
    pub fn dnat_to(mut self, address: IpAddr, port: Option<u16>) -> Rule {
        self.nat_to(true, address, port);
        self
    }

    /// Translates the source address, and the port if one is given (the rule has to see to the protocol then).
    pub fn snat_to(mut self, address: IpAddr, port: Option<u16>) -> Rule {
        self.nat_to(false, address, port);
        self
    }

    /// Translates the source address to the one of the interface it goes out by.
    pub fn masquerade(self) -> Rule {
        self.then(Expression::Masquerade)
    }

    /// Counts packets and bytes.
    pub fn counter(self) -> Rule {
        self.then(Expression::Counter)
    }

    /// Writes a line to the kernel's log that begins with a prefix (at most 127 bytes).
    pub fn log(mut self, prefix: &str) -> Rule {
        self.check_prefix(prefix);
        self.then(Expression::Log { prefix: Some(prefix.to_owned()), group: None })
    }

    /// Sends the packet with a prefix (at most 127 bytes) to listeners of this group of `nfnetlink_log`.
    pub fn log_to_group(mut self, prefix: &str, group: u16) -> Rule {
        self.check_prefix(prefix);
        self.then(Expression::Log { prefix: Some(prefix.to_owned()), group: Some(group) })
    }

    /// Goes on only for so many packets in a time, and for `burst` packets more at once.
    pub fn limit(self, packets: u64, per: Per, burst: u32) -> Rule {
        self.then(Expression::Limit { rate: packets, per, burst })
    }

    /// Refuses the packet and tells its sender. Only in filter chains of input, forward and output.
    pub fn reject(self, reject: Reject) -> Rule {
        let rule = if reject == Reject::TcpReset { self.matches(l4proto(TCP)) } else { self };
        rule.then(Expression::Reject(reject))
    }

    /// Ends with this verdict.
    pub fn verdict(mut self, verdict: Verdict) -> Rule {
        if let Err(fault) = verdict.check() {
            self.fail(fault);
        }
        self.then(Expression::Verdict(verdict))
    }

    /// Ends with accepting the packet.
    pub fn accept(self) -> Rule {
        self.verdict(Verdict::Accept)
    }

    /// Ends with dropping the packet.
    #[allow(clippy::should_implement_trait, reason = "it is what the verdict is called")]
    pub fn drop(self) -> Rule {
        self.verdict(Verdict::Drop)
    }

    /// Goes to a chain, and comes back.
    pub fn jump(self, chain: &str) -> Rule {
        self.verdict(Verdict::Jump(chain.to_owned()))
    }

    /// Goes to a chain for good.
    pub fn goto(self, chain: &str) -> Rule {
        self.verdict(Verdict::Goto(chain.to_owned()))
    }

    /// Goes back to the rule after the jump.
    pub fn return_(self) -> Rule {
        self.verdict(Verdict::Return)
    }

    /// A comment of at most 127 bytes, shown by `nft list` and by [`rules`](crate::Socket::rules).
    pub fn comment(mut self, comment: &str) -> Rule {
        if let Err(fault) = check_text("comment", comment) {
            self.fail(fault);
        }
        self.comment = Some(comment.to_owned());
        self
    }

    /// The first thing about it that the kernel could not take.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        if self.expressions.len() > MAX_EXPRESSIONS {
            return Err(Error::TooLong { what: "rule in expressions", limit: MAX_EXPRESSIONS });
        }
        Ok(())
    }

    /// Writes `NFTA_RULE_EXPRESSIONS` and `NFTA_RULE_USERDATA`.
    pub(crate) fn write(&self, to: &mut Writer<'_>) {
        const EXPRESSIONS: u16 = 4;
        const USERDATA: u16 = 7;
        to.nest(EXPRESSIONS, |list| self.expressions.iter().for_each(|one| one.write(list)));
        if let Some(comment) = &self.comment {
            let mut bytes = Vec::new();
            userdata::put_text(&mut bytes, userdata::COMMENT, comment);
            to.bytes(USERDATA, &bytes);
        }
    }

    fn then(mut self, expression: Expression) -> Rule {
        self.expressions.push(expression);
        self
    }

    fn fail(&mut self, fault: Error) {
        self.fault.get_or_insert(fault);
    }

    fn check_prefix(&mut self, prefix: &str) {
        if let Err(fault) = check_text("log prefix", prefix) {
            self.fail(fault);
        }
    }

    fn lookup(mut self, set: &str, key: impl IntoIterator<Item = Load>, into: Into, inverted: bool) -> Rule {
        if let Err(fault) = check_name("set", set) {
            self.fail(fault);
        }
        let key: Vec<Load> = key.into_iter().collect();
        if key.iter().map(|load| load.words()).sum::<usize>() > MAX_WORDS {
            self.fail(Error::TooLong { what: "set key or data in words of 4 bytes", limit: MAX_WORDS });
        }
        for load in &key {
            self.require(load.requirements());
        }
        let mut word = 0;
        for what in key {
            self.expressions.push(Expression::Load { what, word });
            if let Some(mask) = what.mask() {
                self.expressions.push(Expression::And { word, mask });
            }
            word += what.words();
        }
        self.then(Expression::Lookup { set: set.to_owned(), word: 0, into, inverted })
    }

    fn nat_to(&mut self, destination: bool, address: IpAddr, port: Option<u16>) {
        let protocol = Protocol::of(address);
        let value = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        self.expressions.push(Expression::Value { word: 0, value });
        if let Some(port) = port {
            let word = address_words(protocol);
            self.expressions.push(Expression::Value { word, value: port.to_be_bytes().to_vec() });
        }
        self.nat(destination, protocol, port.map(|_| ()));
    }

    /// From an address in the first register and perhaps a port in the one after it. The kernel leaves packets of the
    /// other network protocol alone.
    fn nat(&mut self, destination: bool, protocol: Protocol, port: Option<()>) {
        let port = port.map(|()| address_words(protocol));
        let v6 = protocol == Protocol::Ipv6;
        self.expressions.push(Expression::Nat { destination, v6, address: 0, port });
    }

    fn require(&mut self, new: Requirements) {
        let mut compare = |what, value: Vec<u8>| {
            self.expressions.push(Expression::Load { what, word: 0 });
            self.expressions.push(Expression::Compare { word: 0, equal: true, value });
        };
        if let Some(protocol) = new.network
            && self.known.network != Some(protocol)
        {
            compare(Load::NfProto, vec![protocol.number()]);
            self.known.network = Some(protocol);
        }
        if let Some(protocol) = new.transport
            && self.known.transport != Some(protocol)
        {
            compare(Load::L4Proto, vec![protocol]);
            self.known.transport = Some(protocol);
        }
        if new.ethernet && !self.known.ethernet {
            const ARPHRD_ETHER: u16 = 1;
            compare(Load::IifType, ARPHRD_ETHER.to_ne_bytes().to_vec());
            self.known.ethernet = true;
        }
    }
}

fn address_words(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Ipv4 => 1,
        Protocol::Ipv6 => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::Rule;
    use crate::expression::{Expression, Into, Load, iifname, nfproto, source};
    use crate::{Error, Protocol};

    fn loads(rule: &Rule) -> Vec<(Load, usize)> {
        let of = |one: &Expression| match one {
            Expression::Load { what, word } => Some((*what, *word)),
            _ => None,
        };
        rule.expressions.iter().filter_map(of).collect()
    }

    #[test]
    fn fields_are_loaded_one_after_the_other_behind_what_they_need() {
        let rule =
            Rule::new("c").in_set("s", [Load::IifName, Load::IpSource, Load::L4Proto, Load::DestinationPort]);
        let expected = [
            (Load::NfProto, 0),
            (Load::IifName, 0),
            (Load::IpSource, 4),
            (Load::L4Proto, 5),
            (Load::DestinationPort, 6),
        ];
        assert_eq!(loads(&rule), expected);
        let lookup =
            Expression::Lookup { set: "s".to_owned(), word: 0, into: Into::Nothing, inverted: false };
        assert_eq!(rule.expressions.last(), Some(&lookup));
    }

    #[test]
    fn what_conditions_need_is_asked_once() {
        let address = "10.0.0.1".parse().unwrap();
        let once = Rule::new("c").matches(source(address)).in_set("s", [Load::IpDestination]);
        assert_eq!(loads(&once).iter().filter(|(load, _)| *load == Load::NfProto).count(), 1);
        let said = Rule::new("c").matches(nfproto(Protocol::Ipv4)).matches(source(address));
        assert_eq!(loads(&said), [(Load::NfProto, 0), (Load::IpSource, 0)]);
        // That it is not IPv6 does not say that it is IPv4: there are bridges.
        let other = Rule::new("c").matches(nfproto(Protocol::Ipv6).negated()).matches(source(address));
        assert_eq!(loads(&other), [(Load::NfProto, 0), (Load::NfProto, 0), (Load::IpSource, 0)]);
    }

    #[test]
    fn the_first_fault_of_a_rule_is_kept() {
        let rule = Rule::new("c").matches(iifname("a/b")).jump("").comment("two\nlines");
        assert!(matches!(rule.check(), Err(Error::Name { what: "interface name", .. })));
        assert!(matches!(
            Rule::new("c").in_set("s", [Load::Ip6Source; 5]).check(),
            Err(Error::TooLong { .. })
        ));
        let long = (0..129).fold(Rule::new("c"), |rule, _| rule.counter());
        assert!(matches!(long.check(), Err(Error::TooLong { .. })));
    }
}
