//! Descriptors, through the adapter's own primitives.

pub(super) mod batches;
pub(super) mod readiness;
pub(super) mod sharing;
pub(super) mod watching;
