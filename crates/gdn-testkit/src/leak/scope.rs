//! What a snapshot looks at.

use std::path::{Path, PathBuf};

use super::Kind;

/// The names of the engine's own programs, as the kernel shows them in `comm` (at most 15 characters).
pub(super) const PROGRAMS: [&str; 3] = ["gdn", "gdn-keeper", "garden-init"];

/// Which things a snapshot looks at: those of the whole host, or those that carry one engine's name.
#[derive(Clone, Debug)]
pub struct Scope {
    of: Of,
    kinds: Vec<Kind>,
    roots: Vec<PathBuf>,
    ignored: Vec<String>,
}

#[derive(Clone, Debug)]
enum Of {
    /// Everything there is.
    Host,
    /// Whatever looks like an engine's: the `gdn-` prefix, or the name of one of its programs.
    AnyEngine,
    /// What names this engine, or lies below a root.
    Engine(String),
}

impl Scope {
    /// Everything on the host. Right for a machine that does nothing else; [`ignoring`](Self::ignoring) mutes known noise.
    pub fn host() -> Self {
        Scope { of: Of::Host, kinds: Kind::ALL.to_vec(), roots: Vec::new(), ignored: Vec::new() }
    }

    /// Whatever belongs to an engine, whichever.
    pub fn any_engine() -> Self {
        Scope { of: Of::AnyEngine, ..Scope::host() }
    }

    /// What carries this engine id, or another word unique to the test. Right beside other tests.
    ///
    /// Things that carry no name (System V objects) are not covered, and a process counts when its cgroups, command line,
    /// program or working directory carry the word or lie below a root.
    pub fn engine(id: impl Into<String>) -> Self {
        Scope { of: Of::Engine(id.into()), ..Scope::host() }
    }

    /// Looks also at every file below this directory, and counts what names the directory as the engine's.
    #[must_use]
    pub fn below(mut self, root: impl AsRef<Path>) -> Self {
        self.roots.push(root.as_ref().to_path_buf());
        self
    }

    /// Looks only at these kinds.
    #[must_use]
    pub fn only(mut self, kinds: &[Kind]) -> Self {
        self.kinds = kinds.to_vec();
        self
    }

    /// Leaves out whatever has this text in its name or detail.
    #[must_use]
    pub fn ignoring(mut self, text: impl Into<String>) -> Self {
        self.ignored.push(text.into());
        self
    }

    pub(super) fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        self.kinds.iter().copied()
    }

    pub(super) fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    pub(super) fn covers(&self, kind: Kind, name: &str, detail: &str) -> bool {
        if self.ignored.iter().any(|text| name.contains(text) || detail.contains(text)) {
            return false;
        }
        match kind {
            // A root is asked for by name, so everything below it counts.
            Kind::File => true,
            // Chosen while reading, where all that is known about the process is at hand.
            Kind::Process | Kind::Namespace => true,
            _ => self.names(name) || self.names(detail),
        }
    }

    /// Whether this text names something in the scope.
    pub(super) fn names(&self, text: &str) -> bool {
        let below_a_root = || self.roots.iter().any(|root| text.contains(&*root.to_string_lossy()));
        match &self.of {
            Of::Host => true,
            Of::AnyEngine => ["gdn-", "/gdn/"].iter().any(|mark| text.contains(mark)) || below_a_root(),
            Of::Engine(id) => text.contains(id.as_str()) || below_a_root(),
        }
    }

    /// Whether a process of this program name belongs to the scope whatever else is known about it.
    pub(super) fn names_program(&self, comm: &str) -> bool {
        match self.of {
            Of::Host => true,
            Of::AnyEngine => PROGRAMS.contains(&comm),
            Of::Engine(_) => false,
        }
    }

    /// Whether paths and arguments tell that a process belongs to the scope. Those of a build or a test of the engine
    /// mention engines without being one.
    pub(super) fn trusts_paths(&self) -> bool {
        !matches!(self.of, Of::AnyEngine)
    }
}
