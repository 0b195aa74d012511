//! Starts keepers and talks to them.
