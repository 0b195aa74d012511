//! The property store component: records that survive power loss.
