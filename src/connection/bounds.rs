//! How much a connection may hold in memory, outward and inward.

use super::parameters::{ConnectionParameters, invalid};
use crate::error::ParametersError;

const MIB: usize = 1024 * 1024;

/// The bounds of a connection, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    low_water_mark: usize,
    high_water_mark: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { low_water_mark: 4 * MIB, high_water_mark: 16 * MIB }
    }
}

/// Bounds on memory.
impl ConnectionParameters {
    /// How few bytes must wait to be sent before a publisher that was refused is told that there is
    /// room again. Default 4 MiB.
    pub fn low_water_mark(&self) -> usize {
        self.bounds.low_water_mark
    }

    /// From how many bytes on that wait to be sent publishing is refused. Default 16 MiB.
    pub fn high_water_mark(&self) -> usize {
        self.bounds.high_water_mark
    }

    /// Sets the water marks of what the connection has to send, in bytes. While `high` or more wait,
    /// [`basic_publish`](crate::Channel::basic_publish) is
    /// [`PublishError::Full`](crate::PublishError::Full); once no more than `low` wait,
    /// [`on_writable`](crate::ConnectionCallbacks::on_writable) is called.
    ///
    /// Everything counts that is encoded and that the socket has not taken: messages, requests and
    /// acknowledgements, bodies that go by reference, and what waits in channels behind requests
    /// that the broker has not answered. The message that crosses the high mark is still taken, so
    /// no more than `high` and one message wait, whatever is published. Requests and
    /// acknowledgements are never refused, for they are small and a program makes no more of them
    /// than it gets answers and deliveries; one that makes them without end is not bounded by this.
    ///
    /// `usize::MAX` as the high mark is no bound.
    ///
    /// # Errors
    /// If `low` is not less than `high`.
    pub fn set_water_marks(
        &mut self,
        low: usize,
        high: usize,
    ) -> Result<&mut Self, ParametersError> {
        if low >= high {
            return Err(invalid("water_marks", "the low one must be less than the high one"));
        }
        self.bounds.low_water_mark = low;
        self.bounds.high_water_mark = high;
        Ok(self)
    }
}
