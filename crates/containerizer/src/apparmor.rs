//! AppArmor profiles: which one a container gets, and whether the kernel has it.

use std::path::PathBuf;

use gdn_types::{ApparmorProfile, Error, ErrorKind, Result};

use crate::failures;

/// The operator's choice, and where the kernel says what it has.
pub(crate) struct Apparmor {
    operators: ApparmorProfile,
    kernel: Kernel,
}

/// Files of the kernel about AppArmor.
#[derive(Clone)]
struct Kernel {
    /// Says `Y`.
    enabled: PathBuf,
    /// Lines of a profile's name and its mode in brackets.
    profiles: PathBuf,
}

impl Default for Kernel {
    fn default() -> Self {
        Kernel {
            enabled: "/sys/module/apparmor/parameters/enabled".into(),
            profiles: "/sys/kernel/security/apparmor/profiles".into(),
        }
    }
}

impl Apparmor {
    /// With the operator's choice for whoever chooses nothing. One that the kernel does not have is told in the log, and each
    /// create will fail for it.
    pub(crate) async fn new(operators: ApparmorProfile) -> Self {
        let apparmor = Apparmor { operators, kernel: Kernel::default() };
        if let Err(error) = apparmor.of(&ApparmorProfile::Engine, false).await {
            tracing::warn!(error = error.report(), "unprivileged containers cannot be created");
        }
        apparmor
    }

    /// The name of a container's profile; empty for none.
    ///
    /// # Errors
    /// `FailedPrecondition` for one that the kernel does not have; `InvalidArgument` for a privileged container's.
    pub(crate) async fn of(&self, asked: &ApparmorProfile, privileged: bool) -> Result<String> {
        let chosen = match asked {
            ApparmorProfile::Engine if privileged => return Ok(String::new()),
            ApparmorProfile::Engine => &self.operators,
            asked => asked,
        };
        match chosen {
            ApparmorProfile::Engine | ApparmorProfile::Unconfined => Ok(String::new()),
            ApparmorProfile::Named(name) if privileged => {
                Err(Error::invalid(format!("AppArmor profile {name:?}: privileged containers have none")))
            }
            ApparmorProfile::Named(name) => {
                let (kernel, asked) = (self.kernel.clone(), name.clone());
                tokio::task::spawn_blocking(move || kernel.must_have(&asked))
                    .await
                    .map_err(|error| failures::joined(&error))??;
                Ok(name.clone())
            }
        }
    }
}

impl Kernel {
    fn must_have(&self, name: &str) -> Result<()> {
        let refuse = |why: String| {
            Err(Error::new(ErrorKind::FailedPrecondition, format!("AppArmor profile {name:?}: {why}")))
        };
        // Where it is not built in, there is no such file.
        if !std::fs::read_to_string(&self.enabled).is_ok_and(|said| said.trim() == "Y") {
            return refuse("this kernel has no AppArmor, or it is off".to_owned());
        }
        let profiles = match std::fs::read_to_string(&self.profiles) {
            Ok(profiles) => profiles,
            Err(error) => return refuse(format!("read {}: {error}", self.profiles.display())),
        };
        let loaded = |line: &str| line.rsplit_once(" (").is_some_and(|(loaded, _mode)| loaded == name);
        if profiles.lines().any(loaded) { Ok(()) } else { refuse("it is not loaded".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> ApparmorProfile {
        ApparmorProfile::Named(name.to_owned())
    }

    /// As a kernel that has these profiles would have it.
    fn on(place: &std::path::Path, operators: ApparmorProfile, profiles: &str) -> Apparmor {
        let kernel = Kernel { enabled: place.join("enabled"), profiles: place.join("profiles") };
        std::fs::write(&kernel.enabled, "Y\n").unwrap();
        std::fs::write(&kernel.profiles, profiles).unwrap();
        Apparmor { operators, kernel }
    }

    #[tokio::test]
    async fn the_most_particular_choice_counts_and_privileged_containers_have_none() {
        let place = tempfile::tempdir().unwrap();
        let apparmor = on(place.path(), named("mine"), "mine (enforce)\nhis (x) (complain)\n");
        assert_eq!(apparmor.of(&ApparmorProfile::Engine, false).await.unwrap(), "mine");
        assert_eq!(apparmor.of(&ApparmorProfile::Engine, true).await.unwrap(), "");
        assert_eq!(apparmor.of(&ApparmorProfile::Unconfined, false).await.unwrap(), "");
        assert_eq!(apparmor.of(&named("his (x)"), false).await.unwrap(), "his (x)");
        let privileged = apparmor.of(&named("mine"), true).await.unwrap_err();
        assert_eq!(privileged.kind(), ErrorKind::InvalidArgument);
    }

    #[tokio::test]
    async fn what_the_kernel_does_not_have_is_refused_by_its_name() {
        let place = tempfile::tempdir().unwrap();
        let apparmor = on(place.path(), ApparmorProfile::Engine, "mine (enforce)\n");
        assert_eq!(apparmor.of(&ApparmorProfile::Engine, false).await.unwrap(), "", "unset is none");
        let refused = async |what: &str| {
            let error = apparmor.of(&named("other"), false).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
            assert!(error.message().contains("\"other\"") && error.message().contains(what), "{error:?}");
        };
        refused("not loaded").await;
        std::fs::remove_file(&apparmor.kernel.profiles).unwrap();
        refused("profiles").await;
        std::fs::write(&apparmor.kernel.enabled, "N\n").unwrap();
        refused("no AppArmor").await;
        std::fs::remove_file(&apparmor.kernel.enabled).unwrap();
        refused("no AppArmor").await;
    }
}
