//! The process that holds one container: protocol and program.
