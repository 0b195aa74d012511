//! Mounts by descriptor: detached mounts, idmaps, and paths that cannot leave a root.
