//! Black-box tests of the built `gdn` binary.
