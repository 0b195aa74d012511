//! What a client asks for when it creates a container.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{
    ApparmorProfile, CapabilityProfile, Egress, Error, Handle, ImageRef, Limits, NetIn, NetOutRule,
    NetworkMode, Properties, Result,
};

/// A container to be created. Garden: `ContainerSpec`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerSpec {
    /// The name; generated (UUID v4) when absent.
    pub handle: Option<Handle>,
    /// How long the container may go without a request before it is destroyed; `None` is the server's default, and a
    /// zero duration means for ever.
    pub grace_time: Option<Duration>,
    /// The root file system.
    pub image: ImageRef,
    /// Directories and files of the host to show inside, mounted in this order.
    pub bind_mounts: Vec<BindMount>,
    /// The network to attach to.
    pub network: NetworkMode,
    /// The client's own key-value pairs, durable before the create is acknowledged.
    pub properties: Properties,
    /// Environment of every process, appended to the image's.
    pub env: Environment,
    /// Without a user namespace, with wide capabilities: equivalent to root on the host.
    pub privileged: bool,
    /// What the container may use.
    pub limits: Limits,
    /// Host ports to map into the container.
    pub netin: Vec<NetIn>,
    /// Destinations the container may reach, in front of the defaults.
    pub netout: Vec<NetOutRule>,
    /// What it may reach that no rule allows; absent: what its property `garden.network.egress` says, else the server's
    /// default.
    pub egress: Option<Egress>,
    /// Kernel settings of the container's own namespaces, written before the first process: `net.*`, `kernel.shm*`,
    /// `kernel.msg*`, `kernel.sem` and `fs.mqueue.*`.
    pub sysctls: Vec<(String, String)>,
    /// Which system calls its processes may make.
    pub seccomp: SeccompProfile,
    /// Which capabilities its processes inherit. A gate whose protocol promises Garden's sets asks for those.
    pub capabilities: CapabilityProfile,
    /// Which AppArmor profile confines its processes.
    pub apparmor: ApparmorProfile,
}

/// Which system calls processes may make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SeccompProfile {
    /// Those of the engine's own profile; in privileged containers all.
    #[default]
    Engine,
    /// All that the kernel has.
    Unconfined,
    /// Those of this profile, JSON in the form of OCI or of Docker; it holds in privileged containers too.
    Custom(String),
}

impl SeccompProfile {
    /// The longest profile, in bytes. Docker's has 12 KiB.
    pub const MAX_BYTES: usize = 256 * 1024;
    /// The word for [`SeccompProfile::Unconfined`].
    const UNCONFINED: &str = "unconfined";

    /// Parses `""`, `"unconfined"` or a profile, whose content is not looked at.
    ///
    /// # Errors
    /// `InvalidArgument` for one that is too long.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "" => Ok(SeccompProfile::Engine),
            Self::UNCONFINED => Ok(SeccompProfile::Unconfined),
            text if text.len() > Self::MAX_BYTES => Err(Error::invalid(format!(
                "the seccomp profile has {} bytes, at most {} are allowed",
                text.len(),
                Self::MAX_BYTES
            ))),
            text => Ok(SeccompProfile::Custom(text.to_owned())),
        }
    }

    /// What [`parse`](Self::parse) reads.
    pub fn text(&self) -> &str {
        match self {
            SeccompProfile::Engine => "",
            SeccompProfile::Unconfined => Self::UNCONFINED,
            SeccompProfile::Custom(text) => text,
        }
    }
}

/// One directory or file of the host, shown inside. Garden: `BindMount`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindMount {
    /// Absolute path on the host; a link is followed, as the host's operator may mean it.
    pub source: PathBuf,
    /// Absolute path inside; resolved below the container's root, created when missing.
    pub target: PathBuf,
    /// Read-only unless asked otherwise.
    pub mode: BindMode,
    /// Whose path `source` is.
    pub origin: BindOrigin,
}

impl BindMount {
    /// Checks both paths.
    ///
    /// # Errors
    /// `InvalidArgument` when a path is relative, holds a NUL byte, or the target has a `..` component or is the root.
    pub fn new(source: impl Into<PathBuf>, target: impl Into<PathBuf>, mode: BindMode) -> Result<Self> {
        let mount =
            BindMount { source: source.into(), target: target.into(), mode, origin: BindOrigin::Host };
        check_path("bind mount source", &mount.source)?;
        check_path("bind mount target", &mount.target)?;
        let mut parts = mount.target.components().skip(1).peekable();
        if parts.peek().is_none() {
            return Err(Error::invalid(format!("bind mount target {:?} is the root itself", mount.target)));
        }
        if parts.any(|part| part == std::path::Component::ParentDir) {
            return Err(Error::invalid(format!("bind mount target {:?} contains ..", mount.target)));
        }
        Ok(mount)
    }
}

fn check_path(what: &str, path: &Path) -> Result<()> {
    if !path.is_absolute() {
        return Err(Error::invalid(format!("{what} {path:?} is not an absolute path")));
    }
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(Error::invalid(format!("{what} {path:?} contains a NUL byte")));
    }
    if path.as_os_str().len() >= 4096 {
        return Err(Error::invalid(format!(
            "{what} is {} bytes long, a path has at most 4095",
            path.as_os_str().len()
        )));
    }
    Ok(())
}

/// Whether a bind mount can be written through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BindMode {
    /// Read-only.
    #[default]
    ReadOnly,
    /// Read and write, as far as the source's own permissions allow.
    ReadWrite,
}

/// Whose path the source of a bind mount is. Garden: `BindMountOrigin`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BindOrigin {
    /// The host's.
    #[default]
    Host,
    /// The container's own (on the wire since long, ignored by the reference engine).
    Container,
}

/// Where a container is in its life, as `garden.state` shows it and restarts know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContainerState {
    /// Its handle is taken and its making has begun; an engine that finds this at its start destroys it.
    Claimed,
    /// Acknowledged: listed, and kept through every restart.
    Created,
    /// Its destruction has begun and goes on until nothing is left.
    Destroying,
}

/// Environment variables in order, each name once: a later value of a name replaces the earlier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(Vec<(String, String)>);

impl Environment {
    /// The most variables one environment may have.
    pub const MAX_VARIABLES: usize = 10_000;
    /// The longest `NAME=value`, in bytes: the kernel's MAX_ARG_STRLEN less the final NUL.
    pub const MAX_VARIABLE: usize = 128 * 1024 - 1;

    /// Parses `NAME=value` strings.
    ///
    /// # Errors
    /// `InvalidArgument` for an entry without `=`, with an empty name, with a NUL byte, or too long; and for too many.
    pub fn parse<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut environment = Environment::default();
        for entry in entries {
            let entry = entry.as_ref();
            let (name, value) = entry.split_once('=').ok_or_else(|| {
                Error::invalid(format!(
                    "environment variable {:?} has no =",
                    entry.chars().take(64).collect::<String>()
                ))
            })?;
            environment.set(name, value)?;
        }
        Ok(environment)
    }

    /// Sets one variable, replacing an earlier value in its place.
    ///
    /// # Errors
    /// As [`Environment::parse`]. The value is not part of the message: it may be a secret.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        if name.is_empty() || name.contains('=') {
            return Err(Error::invalid(format!("environment variable name {name:?} is empty or contains =")));
        }
        if name.contains('\0') || value.contains('\0') {
            return Err(Error::invalid(format!("environment variable {name:?} contains a NUL byte")));
        }
        if name.len() + 1 + value.len() > Self::MAX_VARIABLE {
            return Err(Error::invalid(format!(
                "environment variable {:?} is longer than {} bytes",
                name.chars().take(64).collect::<String>(),
                Self::MAX_VARIABLE
            )));
        }
        if let Some(existing) = self.0.iter_mut().find(|(existing, _)| existing == name) {
            existing.1 = value.to_owned();
        } else if self.0.len() == Self::MAX_VARIABLES {
            return Err(Error::invalid(format!("more than {} environment variables", Self::MAX_VARIABLES)));
        } else {
            self.0.push((name.to_owned(), value.to_owned()));
        }
        Ok(())
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(existing, _)| existing == name).map(|(_, value)| value.as_str())
    }

    /// This environment with another one laid over it.
    #[must_use]
    pub fn overlaid(mut self, later: &Environment) -> Self {
        for (name, value) in &later.0 {
            match self.0.iter_mut().find(|(existing, _)| existing == name) {
                Some(existing) => existing.1.clone_from(value),
                None => self.0.push((name.clone(), value.clone())),
            }
        }
        self
    }

    /// The variables in order, as name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The variables in order, as `NAME=value`.
    pub fn entries(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|(name, value)| format!("{name}={value}"))
    }

    /// Whether there is no variable at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_value_replaces_the_earlier_in_its_place() {
        let image = Environment::parse(["PATH=/bin", "A=1"]).unwrap();
        let merged = image.overlaid(&Environment::parse(["A=2", "B=3"]).unwrap());
        assert_eq!(merged.entries().collect::<Vec<_>>(), ["PATH=/bin", "A=2", "B=3"]);
        assert_eq!(merged.get("A"), Some("2"));
    }

    #[test]
    fn broken_variables_are_refused_without_telling_their_value() {
        assert!(Environment::parse(["noequals"]).is_err());
        assert!(Environment::parse(["=x"]).is_err());
        let error = Environment::parse(["SECRET=hunter2\0"]).unwrap_err();
        assert!(error.message().contains("SECRET") && !error.message().contains("hunter2"));
        assert!(Environment::parse([format!("A={}", "x".repeat(131_072))]).is_err());
    }

    #[test]
    fn bind_mount_paths_are_checked() {
        assert!(BindMount::new("/a", "/b", BindMode::ReadOnly).is_ok());
        for (source, target) in
            [("a", "/b"), ("/a", "b"), ("/a", "/"), ("/a", "/b/../c"), ("/a\0", "/b"), ("/a", "/b\0")]
        {
            assert!(BindMount::new(source, target, BindMode::ReadOnly).is_err(), "{source:?} {target:?}");
        }
    }
}
