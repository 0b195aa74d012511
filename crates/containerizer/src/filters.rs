//! Filters of system calls: compiled once for each profile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use gdn_namespaces::CapabilitySet;
use gdn_seccomp::{Capabilities, Profile, Target};
use gdn_types::{Error, ErrorKind, Result, SeccompProfile};

use crate::failures;

/// Most profiles of clients that are kept; a client that sends more different ones has each compiled again.
const MAX_KEPT: usize = 32;

/// What is loaded into a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Empty = all calls are allowed.
    pub(crate) program: Vec<u8>,
    /// What else the profile wants of the kernel (`SECCOMP_FILTER_FLAG_*`): LOG and SPEC_ALLOW.
    pub(crate) flags: u32,
}

/// The engine's filter, and those of clients' profiles.
pub(crate) struct Filters {
    engine: Filter,
    compiled: Arc<Mutex<Compiled>>,
}

/// Programs by profile and whether it is for a privileged container.
type Compiled = HashMap<(String, bool), Filter>;

impl Filters {
    /// With the operator's choice for whoever chooses nothing.
    ///
    /// # Errors
    /// `InvalidArgument` for a profile that cannot be used, saying why.
    pub(crate) fn new(operators: &SeccompProfile) -> Result<Self> {
        let engine = match operators {
            SeccompProfile::Engine => {
                let program = Profile::default_profile().compile().map_err(unusable(ErrorKind::Internal))?;
                Filter { program: program.as_bytes(), flags: 0 }
            }
            SeccompProfile::Unconfined => Filter::default(),
            SeccompProfile::Custom(text) => compile(text, false)?,
        };
        Ok(Filters { engine, compiled: Arc::default() })
    }

    /// The filter of a container.
    ///
    /// # Errors
    /// As [`Filters::new`].
    pub(crate) async fn of(&self, profile: &SeccompProfile, privileged: bool) -> Result<Filter> {
        match profile {
            SeccompProfile::Engine if privileged => Ok(Filter::default()),
            SeccompProfile::Engine => Ok(self.engine.clone()),
            SeccompProfile::Unconfined => Ok(Filter::default()),
            SeccompProfile::Custom(text) => {
                let (text, compiled) = (text.clone(), Arc::clone(&self.compiled));
                // Up to a quarter of a megabyte of JSON takes its time.
                tokio::task::spawn_blocking(move || kept(&compiled, text, privileged))
                    .await
                    .map_err(|error| failures::joined(&error))?
            }
        }
    }
}

fn kept(compiled: &Mutex<Compiled>, text: String, privileged: bool) -> Result<Filter> {
    let key = (text, privileged);
    let lock = || compiled.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(program) = lock().get(&key) {
        return Ok(program.clone());
    }
    let program = compile(&key.0, privileged)?;
    let mut compiled = lock();
    if compiled.len() >= MAX_KEPT {
        compiled.clear();
    }
    compiled.insert(key, program.clone());
    Ok(program)
}

fn compile(text: &str, privileged: bool) -> Result<Filter> {
    let bounding = if privileged { CapabilitySet::PRIVILEGED } else { CapabilitySet::UNPRIVILEGED };
    let target = Target::here(Capabilities::from_bits(bounding.0)).map_err(unusable(ErrorKind::Internal))?;
    let loaded = Profile::from_json(text.as_bytes(), target).map_err(unusable(ErrorKind::InvalidArgument))?;
    let program = loaded.profile.compile().map_err(unusable(ErrorKind::InvalidArgument))?;
    Ok(Filter { program: program.as_bytes(), flags: loaded.flags })
}

fn unusable(kind: ErrorKind) -> impl Fn(gdn_seccomp::Error) -> Error {
    move |error| Error::new(kind, format!("seccomp profile: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}]}"#;

    #[tokio::test]
    async fn the_most_particular_choice_counts() {
        let filters = Filters::new(&SeccompProfile::Engine).unwrap();
        let of = async |profile: &SeccompProfile, privileged| filters.of(profile, privileged).await;
        assert!(!of(&SeccompProfile::Engine, false).await.unwrap().program.is_empty());
        assert_eq!(of(&SeccompProfile::Engine, true).await.unwrap(), Filter::default());
        assert_eq!(of(&SeccompProfile::Unconfined, false).await.unwrap(), Filter::default());
        let custom = SeccompProfile::Custom(ALLOW.to_owned());
        let program = of(&custom, true).await.unwrap();
        assert!(!program.program.is_empty());
        assert_eq!(of(&custom, true).await.unwrap(), program);
        let broken = of(&SeccompProfile::Custom("{".to_owned()), false).await.unwrap_err();
        assert_eq!(broken.kind(), ErrorKind::InvalidArgument);
        assert_eq!(Filters::new(&SeccompProfile::Unconfined).unwrap().engine, Filter::default());
        assert_eq!(Filters::new(&custom).unwrap().engine, of(&custom, false).await.unwrap());
    }

    #[test]
    fn flags_of_a_profile_go_with_its_program() {
        let flagged = ALLOW.replace("{\"defaultAction\"", "{\"flags\": [\"SECCOMP_FILTER_FLAG_LOG\", \"SECCOMP_FILTER_FLAG_SPEC_ALLOW\"], \"defaultAction\"");
        let (plain, flagged) = (compile(ALLOW, false).unwrap(), compile(&flagged, false).unwrap());
        // Numbers of linux/seccomp.h.
        assert_eq!((plain.flags, flagged.flags), (0, 1 << 1 | 1 << 2));
        assert_eq!(plain.program, flagged.program);
    }

    #[tokio::test]
    async fn so_many_profiles_are_kept_and_no_more() {
        let filters = Filters::new(&SeccompProfile::Engine).unwrap();
        for number in 0..2 * MAX_KEPT {
            let text = format!("{ALLOW}{}", " ".repeat(number));
            filters.of(&SeccompProfile::Custom(text), false).await.unwrap();
        }
        assert!(filters.compiled.lock().unwrap().len() <= MAX_KEPT);
    }
}
