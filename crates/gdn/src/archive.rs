//! Tars of this side of `gdn cp`: made from files here, extracted to files here.
//!
//! A tar that comes out of a container was made by whoever runs in there. Extracting it follows no link and no `..`, makes
//! no device, and gives nobody a set-user-id program.

mod extract;
mod pack;

pub(crate) use extract::extract;
pub(crate) use pack::pack;

#[cfg(test)]
mod tests;
