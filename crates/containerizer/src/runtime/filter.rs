//! The filter of system calls in the runtime's words.

use gdn_namespaces::CapabilitySet;
use gdn_seccomp::{Capabilities, Profile, Target};
use gdn_types::{Error, ErrorKind, Result, SeccompProfile};
use serde_json::Value;

/// `linux.seccomp` for a container, if it has a filter: its own choice, else the operator's, else the engine's.
pub(super) fn of(
    profile: &SeccompProfile,
    operators: &SeccompProfile,
    privileged: bool,
) -> Result<Option<Value>> {
    let text = match (profile, operators) {
        (SeccompProfile::Engine, _) if privileged => return Ok(None),
        (SeccompProfile::Unconfined, _) | (SeccompProfile::Engine, SeccompProfile::Unconfined) => {
            return Ok(None);
        }
        (SeccompProfile::Engine, SeccompProfile::Engine) => {
            return Profile::default_profile().to_json().map(Some).map_err(unusable(ErrorKind::Internal));
        }
        (SeccompProfile::Custom(text), _) | (SeccompProfile::Engine, SeccompProfile::Custom(text)) => text,
    };
    let bounding = if privileged { CapabilitySet::PRIVILEGED } else { CapabilitySet::UNPRIVILEGED };
    let target = Target::here(Capabilities::from_bits(bounding.0)).map_err(unusable(ErrorKind::Internal))?;
    let invalid = unusable(ErrorKind::InvalidArgument);
    let loaded = Profile::from_json(text.as_bytes(), target).map_err(&invalid)?;
    loaded.profile.to_json().map(Some).map_err(&invalid)
}

fn unusable(kind: ErrorKind) -> impl Fn(gdn_seccomp::Error) -> Error {
    move |error| Error::new(kind, format!("seccomp profile: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_particular_choice_counts() {
        let custom = SeccompProfile::Custom(
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}]}"#
                .into(),
        );
        let (engine, unconfined) = (SeccompProfile::Engine, SeccompProfile::Unconfined);
        let default = |profile: &SeccompProfile, operators: &SeccompProfile, privileged| {
            let filter = of(profile, operators, privileged).unwrap();
            filter.map(|filter| filter["defaultAction"].as_str().unwrap().to_owned())
        };
        assert_eq!(default(&engine, &engine, false).as_deref(), Some("SCMP_ACT_ERRNO"));
        assert_eq!(default(&engine, &engine, true), None);
        assert_eq!(default(&engine, &custom, false).as_deref(), Some("SCMP_ACT_ALLOW"));
        assert_eq!(default(&engine, &unconfined, false), None);
        assert_eq!(default(&custom, &unconfined, true).as_deref(), Some("SCMP_ACT_ALLOW"));
        assert_eq!(default(&unconfined, &engine, false), None);
        let wrong = SeccompProfile::Custom("{}".into());
        assert_eq!(of(&wrong, &engine, false).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}
