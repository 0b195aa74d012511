//! Which AppArmor profile confines a container's processes.

use crate::{Error, Result};

/// Which AppArmor profile confines the processes of an unprivileged container. A privileged one has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ApparmorProfile {
    /// The one that the engine's operator chose, if any.
    #[default]
    Engine,
    /// None, whatever the operator chose.
    Unconfined,
    /// The one that the kernel knows by this name.
    Named(String),
}

impl ApparmorProfile {
    /// The longest name, in bytes: far longer than any in use, and its request fits a page, as the kernel asks.
    pub const MAX_BYTES: usize = 255;
    /// The word for [`ApparmorProfile::Unconfined`].
    const UNCONFINED: &str = "unconfined";

    /// Parses `""`, `"unconfined"` or a name.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is too long, or has control characters or blanks at its ends.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "" => Ok(ApparmorProfile::Engine),
            Self::UNCONFINED => Ok(ApparmorProfile::Unconfined),
            text if text.len() > Self::MAX_BYTES => Err(Error::invalid(format!(
                "the name of the AppArmor profile has {} bytes, at most {} are allowed",
                text.len(),
                Self::MAX_BYTES
            ))),
            text if text.chars().any(char::is_control) || text.trim() != text => {
                Err(Error::invalid(format!(
                    "the name of the AppArmor profile {text:?} has control characters or blanks at its ends"
                )))
            }
            text => Ok(ApparmorProfile::Named(text.to_owned())),
        }
    }

    /// What [`parse`](Self::parse) reads.
    pub fn text(&self) -> &str {
        match self {
            ApparmorProfile::Engine => "",
            ApparmorProfile::Unconfined => Self::UNCONFINED,
            ApparmorProfile::Named(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_reads_back_as_it_was_written() {
        for text in ["", "unconfined", "garden-default", "/usr/bin/with blank", "a//b"] {
            assert_eq!(ApparmorProfile::parse(text).unwrap().text(), text);
        }
        for text in ["a\nchangeprofile b", "a\0", " a", "a ", "\n", &"x".repeat(256)] {
            assert!(ApparmorProfile::parse(text).is_err(), "{text:?}");
        }
    }
}
