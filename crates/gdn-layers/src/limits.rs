//! How much one layer may ask for.

/// Bounds of one layer. What exceeds one is refused with [`Error::Limit`](crate::Error::Limit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the uncompressed archive.
    pub bytes: u64,
    /// Number of entries.
    pub entries: u64,
    /// Uncompressed bytes for one compressed byte, looked at from [`Limits::RATIO_FROM`] on.
    pub ratio: u64,
    /// Bytes of a path.
    pub path: usize,
    /// Components of a path.
    pub depth: usize,
    /// Bytes of one component.
    pub name: usize,
    /// Bytes of the long names and extended headers of one entry.
    pub metadata: u64,
    /// Extended attributes of one entry.
    pub xattrs: usize,
}

impl Limits {
    /// Uncompressed bytes up to which the compression ratio does not matter: what a small archive expands to is small.
    pub const RATIO_FROM: u64 = 256 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            // The largest images in use are near 20 GiB.
            bytes: 64 << 30,
            // Twice what the largest images in use have.
            entries: 2_000_000,
            // Deflate cannot exceed 1032; real layers stay below 20.
            ratio: 500,
            // PATH_MAX less the final NUL.
            path: 4095,
            // Deeper trees exist only to exhaust descriptors or stacks of tools.
            depth: 256,
            // NAME_MAX of every Linux file system.
            name: 255,
            // An extended attribute is at most 64 KiB.
            metadata: 1 << 20,
            xattrs: 128,
        }
    }
}
