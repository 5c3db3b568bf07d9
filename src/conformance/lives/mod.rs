//! What is to outlast a connection, and what is not; whatever its loop, its peer or its callbacks
//! do.

pub(super) mod endings;
pub(super) mod liveness;
pub(super) mod output;
pub(super) mod panics;
