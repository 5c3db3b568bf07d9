//! Bounds a wait by its own timeout, which a kqueue takes in nanoseconds.

use std::io;
use std::time::{Duration, Instant};

use mio::{Registry, Token};

pub(super) struct Limit;

impl Limit {
    pub(super) fn new(_: &Registry, _: Token) -> io::Result<Self> {
        Ok(Self)
    }

    /// The timeout to wait with, so that the wait ends at `deadline`, or for nothing before it.
    pub(super) fn timeout(&mut self, deadline: Option<Instant>) -> io::Result<Option<Duration>> {
        Ok(deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())))
    }

    /// No event comes of it.
    pub(super) fn expired(&mut self) {}
}
