//! Seccomp profiles compiled to a binary search tree.
