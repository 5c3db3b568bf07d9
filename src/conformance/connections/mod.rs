//! Connections to a real broker.

pub(super) mod blocked;
pub(super) mod channels;
pub(super) mod connecting;
pub(super) mod consuming;
pub(super) mod exchanges;
pub(super) mod queues;
pub(super) mod transactions;
pub(super) mod workflows;
