//! In-memory components with a fault clock, conformance suites and the leak oracle.
