//! Profiles written as JSON: `linux.seccomp` of an OCI runtime configuration, and the files of Docker, moby and containerd.
//!
//! Both are lists of rules by name. The files' rules say besides for which capabilities, architectures and kernels they are,
//! so they are read for a [`Target`].

use crate::architecture::Architecture;
use crate::capabilities::Capabilities;
use crate::error::Error;
use crate::profile::Profile;

mod document;
mod rules;
mod values;
mod write;

/// Largest text that is read: several times the largest profile in use.
const MAX_BYTES: usize = 1 << 20;

/// What a profile's rules may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The architecture of the kernel.
    pub architecture: Architecture,
    /// Capabilities in the container's bounding set.
    pub capabilities: Capabilities,
    /// Major and minor version of the kernel.
    pub kernel: (u32, u32),
}

impl Target {
    /// This machine, for a container with these capabilities.
    ///
    /// # Errors
    /// [`Error::NoArchitecture`] when this is built for an architecture without a table; [`Error::UnknownValue`] when the
    /// running kernel does not say its version in the usual form.
    pub fn here(capabilities: Capabilities) -> Result<Self, Error> {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .map_err(|error| values::unknown("the running kernel's version", &error.to_string()))?;
        let numbers = release.split(|other: char| other != '.' && !other.is_ascii_digit()).next();
        let kernel = values::kernel("the running kernel's version", numbers.unwrap_or_default())?;
        Ok(Target {
            architecture: Architecture::native().ok_or(Error::NoArchitecture)?,
            capabilities,
            kernel,
        })
    }
}

/// A profile that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What it says.
    pub profile: Profile,
    /// Names of calls in rules for this target that no architecture here has, sorted: rules for them were passed over, as runc does.
    /// Profiles name calls of many architectures, so this is usual; a misspelt name is here too.
    pub skipped: Vec<String>,
    /// Flags for `seccomp(2)` that it wants (`SECCOMP_FILTER_FLAG_*`): LOG and SPEC_ALLOW. TSYNC is left out: filters are loaded
    /// by processes with one thread.
    pub flags: u32,
}

impl Profile {
    /// Reads a profile from JSON.
    ///
    /// Rules for one call are tried in their order in the file; one without conditions goes before all that have some, and
    /// only the first of those counts. A rule that has two conditions on one argument is one rule for each of its conditions,
    /// as for runc. Rules that do what happens by default anyway are passed over, as by runc.
    ///
    /// Numbers that no table has get `ENOSYS` unless the default action lets calls through. Programs of architectures that
    /// the profile does not list have their threads killed, as libseccomp does.
    ///
    /// # Errors
    /// When the text is larger than 1 MiB, no JSON, or of another shape ([`Error::TooMany`], [`Error::Json`]); when it uses
    /// values that do not exist ([`Error::UnknownValue`]); when it asks for what is not supported: user notification
    /// ([`Error::Notification`]) and error numbers where they do not fit ([`Error::ErrorNumber`]).
    pub fn from_json(text: &[u8], target: Target) -> Result<Loaded, Error> {
        if text.len() > MAX_BYTES {
            return Err(Error::TooMany { what: "bytes", count: text.len(), most: MAX_BYTES });
        }
        let document: document::Document = serde_json::from_slice(text).map_err(|error| Error::Json {
            line: error.line(),
            column: error.column(),
            reason: error.to_string(),
        })?;
        rules::profile(document, target)
    }

    /// The profile as `linux.seccomp` of an OCI runtime configuration, for this machine. Rules depend on nothing any more.
    ///
    /// # Errors
    /// [`Error::NotExpressible`] for a rule whose last resort is not the default action, unless all its cases compare one
    /// argument with an `int`: the form knows only what holds.
    pub fn to_json(&self) -> Result<serde_json::Value, Error> {
        write::document(self)
    }
}

#[cfg(test)]
mod tests;
