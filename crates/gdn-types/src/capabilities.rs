//! Which capabilities a container's processes hold.

use crate::{Error, Result};

/// How much of its bounding set a container's processes pass on to programs that they execute.
///
/// Bounding, permitted and effective sets are the same either way; only the inheritable set differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CapabilityProfile {
    /// Nothing is inheritable (CVE-2022-24769).
    #[default]
    Strict,
    /// What is in the bounding set is inheritable, as Garden's clients assert.
    Garden,
}

impl CapabilityProfile {
    /// Parses `strict` or `garden`.
    ///
    /// # Errors
    /// `InvalidArgument` for another word.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "strict" => Ok(CapabilityProfile::Strict),
            "garden" => Ok(CapabilityProfile::Garden),
            _ => Err(Error::invalid(format!("capabilities {text:?} are neither strict nor garden"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_one_of_two_words() {
        assert_eq!(CapabilityProfile::parse("strict").unwrap(), CapabilityProfile::default());
        assert_eq!(CapabilityProfile::parse("garden").unwrap(), CapabilityProfile::Garden);
        assert!(CapabilityProfile::parse("Garden").unwrap_err().message().contains("\"Garden\""));
    }
}
