//! Key-value pairs on a container, and filters over them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::{Error, Result};

/// Keys the engine itself sets, all visible to clients. Garden's reference engine uses the same names.
pub mod keys {
    /// `created` once the create was acknowledged; in a filter, `all` asks for every state.
    pub const STATE: &str = "garden.state";
    /// The grace time in decimal nanoseconds.
    pub const GRACE_TIME: &str = "garden.grace-time";
    /// The container's IPv4 address.
    pub const CONTAINER_IP: &str = "garden.network.container-ip";
    /// The container's IPv6 address.
    pub const CONTAINER_IPV6: &str = "garden.network.container-ipv6";
    /// The gateway's address.
    pub const HOST_IP: &str = "garden.network.host-ip";
    /// The address by which others reach the mapped ports.
    pub const EXTERNAL_IP: &str = "garden.network.external-ip";
    /// The mapped ports, as a JSON list.
    pub const MAPPED_PORTS: &str = "garden.network.mapped-ports";
    /// The host's network interface of the container.
    pub const INTERFACE: &str = "garden.network.interface";
    /// `allow` or `deny`: what may leave when no rule matches.
    pub const EGRESS: &str = "garden.network.egress";
    /// A client's: `true` for a container that only looks after the network, whose bytes are told to nobody.
    pub const NETWORK_HEALTHCHECK: &str = "network.healthcheck";
    /// Everything the engine sets begins with this.
    pub const RESERVED_PREFIX: &str = "garden.";
}

/// The most of a key that a message shows, in characters: enough to recognise it.
const SHOWN_KEY: usize = 64;

/// The properties of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// The most properties one container may have.
    pub const MAX_COUNT: usize = 1000;
    /// The longest key, in bytes.
    pub const MAX_KEY: usize = 1024;
    /// The longest value, in bytes.
    pub const MAX_VALUE: usize = 64 * 1024;

    /// Checks and collects pairs.
    ///
    /// # Errors
    /// As [`Properties::set`].
    pub fn from_pairs<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self> {
        let mut properties = Properties::default();
        for (key, value) in pairs {
            properties.set(key, value)?;
        }
        Ok(properties)
    }

    /// Sets one property.
    ///
    /// # Errors
    /// `InvalidArgument` for an empty or too long key, a too long value, or a NUL byte; `ResourceExhausted` above
    /// [`Properties::MAX_COUNT`].
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) -> Result<()> {
        let (key, value) = (key.into(), value.into());
        if key.is_empty() || key.len() > Self::MAX_KEY || key.contains('\0') {
            return Err(Error::invalid(format!(
                "property key {:?} is empty, contains a NUL byte or is longer than {} bytes",
                Self::shown(&key),
                Self::MAX_KEY
            )));
        }
        if value.len() > Self::MAX_VALUE {
            return Err(Error::invalid(format!(
                "value of property {:?} is {} bytes long, at most {} are allowed",
                Self::shown(&key),
                value.len(),
                Self::MAX_VALUE
            )));
        }
        if self.0.len() >= Self::MAX_COUNT && !self.0.contains_key(&key) {
            return Err(Error::new(
                crate::ErrorKind::ResourceExhausted,
                format!(
                    "property {:?} would be number {}, a container has at most {}",
                    Self::shown(&key),
                    self.0.len() + 1,
                    Self::MAX_COUNT
                ),
            ));
        }
        self.0.insert(key, value);
        Ok(())
    }

    /// A key as a message shows it: a client may send anything, and a message is not the place for all of it.
    pub fn shown(key: &str) -> Cow<'_, str> {
        match key.char_indices().nth(SHOWN_KEY) {
            Some((end, _)) => format!("{}...", &key[..end]).into(),
            None => key.into(),
        }
    }

    /// The value of a property.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Removes a property and tells its last value.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    /// The properties in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Which containers a list shows: all those that have every pair, and are in the right state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PropertyFilter {
    pairs: Vec<(String, String)>,
    all_states: bool,
}

impl PropertyFilter {
    /// Builds a filter; the key `garden.state` with the value `all` lifts the implicit "only created ones", and of a
    /// repeated key only the first value counts.
    pub fn new<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut filter = PropertyFilter::default();
        for (key, value) in pairs {
            let (key, value) = (key.into(), value.into());
            if key == keys::STATE && value == "all" {
                filter.all_states = true;
            } else if !filter.pairs.iter().any(|(known, _)| *known == key) {
                filter.pairs.push((key, value));
            }
        }
        filter
    }

    /// Whether containers that are not (or no longer) acknowledged are asked for too.
    pub fn all_states(&self) -> bool {
        self.all_states
    }

    /// Whether a container with these properties has every pair.
    pub fn matches(&self, properties: &Properties) -> bool {
        self.pairs.iter().all(|(key, value)| properties.get(key) == Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_asks_for_every_pair_and_the_first_value_of_a_key_counts() {
        let properties = Properties::from_pairs([("a", "1"), ("b", "2")]).unwrap();
        assert!(PropertyFilter::new([("a", "1")]).matches(&properties));
        assert!(PropertyFilter::new([("a", "1"), ("a", "9")]).matches(&properties));
        assert!(!PropertyFilter::new([("a", "1"), ("b", "3")]).matches(&properties));
        assert!(PropertyFilter::new([(keys::STATE, "all")]).all_states());
    }

    #[test]
    fn bounds_of_properties_are_typed_errors() {
        assert!(Properties::from_pairs([("", "x")]).is_err());
        assert!(Properties::from_pairs([("k".repeat(1025), "x")]).is_err());
        assert!(Properties::from_pairs([("k", "v".repeat(65_537))]).is_err());
        let mut full = Properties::from_pairs((0..1000).map(|n| (n.to_string(), ""))).unwrap();
        assert_eq!(full.set("one more", "").unwrap_err().kind(), crate::ErrorKind::ResourceExhausted);
        full.set("0", "changed").unwrap();
    }

    #[test]
    fn a_long_key_is_cut_in_messages_between_characters() {
        assert_eq!(Properties::shown("color"), "color");
        assert_eq!(Properties::shown(&"\u{e4}".repeat(64)), "\u{e4}".repeat(64));
        assert_eq!(Properties::shown(&"\u{e4}".repeat(65)), "\u{e4}".repeat(64) + "...");
        let too_long = Properties::from_pairs([("k".repeat(1025), "x")]).unwrap_err();
        assert!(too_long.message().len() < 200, "{}", too_long.message());
    }
}
