//! Images: how a client names one, and what an image says about itself.

use crate::Environment;
use std::fmt;

/// Which image a container's root file system is made of. Garden: `ImageRef`.
///
/// The password is never printed: its [`Debug`](fmt::Debug) form is `***`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ImageRef {
    /// `/dir/rootfs.tar`, `raw:///dir`, `oci:///layout:tag`, `docker-archive:///file`, `builtin:hello`...
    /// Empty: the server's default image.
    pub uri: String,
    /// User name for the registry; empty for none.
    pub username: String,
    /// Password for the registry; empty for none.
    pub password: String,
}

impl ImageRef {
    /// An image without credentials.
    pub fn uri(uri: impl Into<String>) -> Self {
        ImageRef { uri: uri.into(), ..ImageRef::default() }
    }
}

impl fmt::Debug for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = |text: &str| if text.is_empty() { "" } else { "***" };
        f.debug_struct("ImageRef")
            .field("uri", &self.uri)
            .field("username", &secret(&self.username))
            .field("password", &secret(&self.password))
            .finish()
    }
}

/// What an image's configuration says about running it. All of it is advice to the client and to defaults, never an order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// Environment of the image; comes before the container's own.
    pub env: Environment,
    /// The user to run as, unparsed; empty for root.
    pub user: String,
    /// The working directory; empty for the user's home.
    pub working_dir: String,
    /// Entry point followed by its default arguments; empty when the image names none.
    pub command: Vec<String>,
}
