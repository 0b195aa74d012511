//! Names: what clients choose, and what the engine mints.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::{Error, Result};

/// The longest handle or process id, in bytes.
///
/// 255 is the longest file name of every Linux file system; no path is made of a handle, but clients' own tools do.
const MAX_NAME: usize = 255;

/// Characters of a container id: digits and lower-case letters without the easily confused `0 1 l o`.
const ALPHABET: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";

/// Length of a container id and of an engine id, in characters of five bits each.
const CONTAINER_ID_LEN: usize = 11;
const ENGINE_ID_LEN: usize = 6;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Parses a name of the form `[A-Za-z0-9][A-Za-z0-9_.:@-]{0,254}`.
            ///
            /// # Errors
            /// `InvalidArgument` naming the value and the first thing wrong with it.
            pub fn parse(text: &str) -> Result<Self> {
                check_name($what, text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// The name by which clients know a container. Chosen by the client, or generated.
    ///
    /// Unique within an engine. No kernel object and no path is named by it: those carry the [`ContainerId`].
    Handle, "handle"
}

name! {
    /// The name of a process, unique within its container. Chosen by the client, or generated.
    ProcessId, "process id"
}

impl Handle {
    /// The host name the container gets: the last 49 characters of the handle.
    ///
    /// The reference engine cuts there, and clients derive names from it (conformance G37, G38).
    pub fn hostname(&self) -> &str {
        // A handle is ASCII, so every byte offset is a character boundary.
        &self.0[self.0.len().saturating_sub(49)..]
    }
}

fn check_name(what: &str, text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::invalid(format!("{what} is empty")));
    }
    if text.len() > MAX_NAME {
        let start: String = text.chars().take(32).collect();
        return Err(Error::invalid(format!(
            "{what} {start:?}... is {} bytes long, at most {MAX_NAME} are allowed",
            text.len()
        )));
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(Error::invalid(format!("{what} {text:?} must begin with a letter or a digit")));
    }
    if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "_.:@-".contains(*c))) {
        return Err(Error::invalid(format!(
            "{what} {text:?} contains {bad:?}: only letters, digits and _ . : @ - are allowed"
        )));
    }
    Ok(())
}

macro_rules! minted {
    ($(#[$doc:meta])* $type:ident, $len:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type([u8; $len]);

        impl $type {
            /// Makes an id out of random bits (five bits a character; further bits are not used).
            pub fn from_bits(bits: u64) -> Self {
                let mut text = [0; $len];
                for (position, character) in text.iter_mut().enumerate() {
                    *character = ALPHABET[((bits >> (5 * position)) & 31) as usize];
                }
                $type(text)
            }

            /// Reads back an id that was printed.
            ///
            /// # Errors
            /// `InvalidArgument` when the text has another length or a character that no id has.
            pub fn parse(text: &str) -> Result<Self> {
                let bytes: [u8; $len] = text
                    .as_bytes()
                    .try_into()
                    .map_err(|_| Error::invalid(format!(concat!($what, " {:?} is not {} characters long"), text, $len)))?;
                if !bytes.iter().all(|byte| ALPHABET.contains(byte)) {
                    return Err(Error::invalid(format!(concat!($what, " {:?} has a character that no id has"), text)));
                }
                Ok($type(bytes))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).expect("every character comes from an ASCII alphabet")
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

minted! {
    /// The engine's own short name of a container: 11 characters, 55 random bits, never used twice.
    ///
    /// Kernel objects, directories and sockets carry it, so that a handle's length and characters never matter there.
    ContainerId, CONTAINER_ID_LEN, "container id"
}

minted! {
    /// The name of one engine's state store: 6 characters, minted at the store's first start.
    ///
    /// Every kernel object carries it, and the sweep for orphans touches only objects that do.
    EngineId, ENGINE_ID_LEN, "engine id"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use proptest::prelude::*;

    #[test]
    fn handles_of_real_clients_are_accepted() {
        for handle in [
            "a",
            "9",
            "executor-healthcheck-6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            "check-1",
            "a.b:c@d_e-f",
            "A..b",
        ] {
            assert_eq!(Handle::parse(handle).unwrap().as_str(), handle);
        }
        assert!(Handle::parse(&"x".repeat(255)).is_ok());
    }

    #[test]
    fn hostile_handles_are_refused_and_named() {
        for handle in
            ["", ".", "..", "/", "a/b", "a\\b", "a\0", "a\n", "a b", "-rf", "é", "a%2e", "$(x)", ":", "@a"]
        {
            let error = Handle::parse(handle).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(
                handle.is_empty() || error.message().contains(&format!("{handle:?}")),
                "{}",
                error.message()
            );
        }
        let long = Handle::parse(&"x".repeat(256)).unwrap_err();
        assert!(long.message().contains("256 bytes"), "{}", long.message());
    }

    #[test]
    fn the_host_name_is_the_last_49_characters() {
        let handle = Handle::parse(&format!("{}{}", "a".repeat(20), "b".repeat(49))).unwrap();
        assert_eq!(handle.hostname(), "b".repeat(49));
    }

    proptest! {
        #[test]
        fn an_id_reads_back_as_it_was_printed(bits: u64) {
            let id = ContainerId::from_bits(bits);
            prop_assert_eq!(ContainerId::parse(id.as_str()).unwrap(), id);
            let engine = EngineId::from_bits(bits);
            prop_assert_eq!(EngineId::parse(engine.as_str()).unwrap(), engine);
        }

        #[test]
        fn no_text_makes_parsing_panic(text: String) {
            let _ = Handle::parse(&text);
            let _ = ContainerId::parse(&text);
        }
    }
}
