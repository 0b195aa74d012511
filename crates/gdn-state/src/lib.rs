//! A durable key-value state store: checksummed journal with a sled index.
