//! How much a connection may hold in memory, outward and inward.

use super::parameters::{ConnectionParameters, invalid};
use crate::error::ParametersError;

const MIB: usize = 1024 * 1024;

/// The bounds of a connection, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    low_water_mark: usize,
    high_water_mark: usize,
    max_message_size: usize,
    max_incomplete_size: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            low_water_mark: 4 * MIB,
            high_water_mark: 16 * MIB,
            max_message_size: 128 * MIB,
            max_incomplete_size: 256 * MIB,
        }
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
    /// `usize::MAX` as the high mark is no bound. Output is written at the end of the loop's turn, or
    /// at once where 60 KiB of encoded frames wait, or 512 KiB with the bodies that go by reference: a
    /// high mark below that refuses within a turn what the socket might have taken.
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

    /// How long the body of a message that comes may be, in bytes. Default 128 MiB, as RabbitMQ's
    /// own limit long was.
    pub fn max_message_size(&self) -> usize {
        self.bounds.max_message_size
    }

    /// Sets how long the body of a message that comes may be, in bytes: delivered, fetched or
    /// returned.
    ///
    /// The channel of a longer one is closed with the reply code 311 (content too large) as soon as
    /// its length is announced: everything pending on it, and its close callbacks, are told
    /// [`Error::ChannelClosed`](crate::Error::ChannelClosed) by this client with that code. The rest
    /// of the connection goes on. The broker puts the message back into its queue, so that who
    /// consumes from there will get it again.
    pub fn set_max_message_size(&mut self, bytes: usize) -> &mut Self {
        self.bounds.max_message_size = bytes;
        self
    }

    /// How many bytes of messages that have come in part are held at once, over all channels.
    /// Default 256 MiB.
    pub fn max_incomplete_size(&self) -> usize {
        self.bounds.max_incomplete_size
    }

    /// Sets how many bytes of bodies of messages that have come in part are held at once, over all
    /// channels: of a broker that begins a message on every channel and ends none, say. The channel
    /// on which more comes is closed as that of a
    /// [message that is too long](Self::set_max_message_size).
    ///
    /// Memory is never reserved by what is announced. While a message grows, up to twice of what has
    /// come is.
    pub fn set_max_incomplete_size(&mut self, bytes: usize) -> &mut Self {
        self.bounds.max_incomplete_size = bytes;
        self
    }
}
