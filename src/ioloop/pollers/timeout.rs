//! Bounds a wait by its own timeout, which a kqueue takes in nanoseconds.

use std::io;
use std::time::Duration;

use mio::Registry;

use super::{Event, Token, Wait};

pub(super) struct Limit;

impl Limit {
    pub(super) fn new(_: &Registry, _: Token) -> io::Result<Self> {
        Ok(Self)
    }

    /// The timeout to wait with, so that the wait ends in time, or for nothing before it.
    pub(super) fn timeout(&self, wait: Wait) -> io::Result<Option<Duration>> {
        Ok(wait.left())
    }

    /// No event comes of it.
    pub(super) fn note_expired(&self, _: &[Event]) {}
}
