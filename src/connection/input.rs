//! The bytes that have come, in the loop's read buffer.

use std::sync::Arc;

use crate::channel::Part;

/// A read buffer and how far it is parsed.
pub(crate) struct Input<'b> {
    buffer: &'b Arc<[u8]>,
    position: usize,
    filled: usize,
}

impl<'b> Input<'b> {
    /// The first `filled` bytes of `buffer`.
    pub(crate) fn new(buffer: &'b Arc<[u8]>, filled: usize) -> Self {
        Self { buffer, position: 0, filled }
    }

    /// What is not parsed yet.
    #[inline]
    pub(crate) fn rest(&self) -> &'b [u8] {
        &self.buffer[self.position..self.filled]
    }

    #[inline]
    pub(crate) fn consume(&mut self, count: usize) {
        self.position += count;
        debug_assert!(self.position <= self.filled);
    }

    /// Makes a part of a message of bytes of this input.
    #[inline]
    pub(crate) fn part(&self, bytes: &'b [u8]) -> Part<'b> {
        Part::InBuffer { bytes, buffer: self.buffer }
    }
}
