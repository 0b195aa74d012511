//! Names and numbers of system calls, per architecture, as data: nothing is looked up on the machine this is built on.

pub(crate) mod aarch64;
pub(crate) mod i386;
pub(crate) mod x86_64;
