//! What a connection has done so far, in numbers.

/// What has gone through a connection so far, and what waits in it now: see
/// [`Connection::counters`](crate::Connection::counters).
///
/// Those of what has happened only grow. Counting costs an addition each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Bytes read from the socket (pika's `bytes_received`).
    pub bytes_received: u64,
    /// Bytes that the socket has taken (pika's `bytes_sent`).
    pub bytes_sent: u64,
    /// System calls that read.
    pub reads: u64,
    /// System calls that wrote.
    pub writes: u64,
    /// Frames that have come whole, heartbeats among them (pika's `frames_received`).
    pub frames_received: u64,
    /// Frames that were encoded, heartbeats among them; those of [`buffered_out`](Self::buffered_out)
    /// have not left yet (pika's `frames_sent`).
    pub frames_sent: u64,
    /// Messages that have come whole: delivered, fetched and returned ones.
    pub messages_received: u64,
    /// Messages that [`basic_publish`](crate::Channel::basic_publish) has taken.
    pub messages_published: u64,
    /// Messages that have come and that the broker waits to see acknowledged or refused. Those of a
    /// transaction count as such from the call on, though it is rolled back.
    pub unacked: u64,
    /// Messages published in confirm mode that are not resolved.
    pub unconfirmed: usize,
    /// Bytes that wait to be sent now, those behind requests included: what the
    /// [water marks](crate::ConnectionParameters::set_water_marks) are about.
    pub buffered_out: usize,
    /// Bytes that have come, but belong to frames and messages that have not come whole.
    pub buffered_in: usize,
    /// Channels that are there: opening, open or closing.
    pub channels: usize,
}

/// What was published, and did not arrive as far as is known: see
/// [`Connection::undelivered`](crate::Connection::undelivered).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Undelivered {
    /// Messages that the socket, or TLS, has not taken to their last byte. The broker has not got them
    /// whole.
    pub unsent_messages: u64,
    /// Bytes that the socket, or TLS, has not taken, of messages and of all else.
    pub unsent_bytes: u64,
    /// Messages published in [confirm mode](crate::Channel::confirm_delivery) of which the broker has
    /// not said what became of them, those unsent included.
    pub unconfirmed: u64,
}

impl std::ops::AddAssign for Undelivered {
    fn add_assign(&mut self, other: Self) {
        self.unsent_messages += other.unsent_messages;
        self.unsent_bytes += other.unsent_bytes;
        self.unconfirmed += other.unconfirmed;
    }
}
