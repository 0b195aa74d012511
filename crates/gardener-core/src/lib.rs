//! The orchestrator: order, concurrency, unwinding and restore of containers.
