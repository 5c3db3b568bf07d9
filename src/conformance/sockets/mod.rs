//! What the engine builds on descriptors, timers and posts: lookups, connects, streams.

pub(super) mod connects;
pub(super) mod resolving;
pub(super) mod streams;
