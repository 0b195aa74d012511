//! Namespaces, user maps, pidfds and capabilities by direct system call.
