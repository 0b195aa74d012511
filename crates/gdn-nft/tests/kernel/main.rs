//! On the real kernel, as root: each test has a network namespace of its own. `nft`, `ip` and `conntrack` are oracles.

mod batches;
mod ground;
mod packets;
mod rules;
mod sets;
mod watching;
