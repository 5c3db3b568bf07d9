//! Heartbeats: a sign of life from each side when it has nothing else to send.
//!
//! What is sent and what comes costs one store. The clock is looked at twice an interval, when the
//! timer fires: then a side that was silent since the last time says so.

use std::time::{Duration, Instant};

/// Which heartbeat interval to have, in seconds (AMQP connection.tune).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Heartbeat {
    /// This one, unless the broker wants a shorter one; 0 leaves it to the broker. So do RabbitMQ's
    /// other clients.
    Negotiate(u16),
    /// This one, whatever the broker suggests; 0 means none at all (pika's `heartbeat`).
    Exactly(u16),
}

impl Default for Heartbeat {
    /// What the broker suggests: RabbitMQ's default is 60 seconds.
    fn default() -> Self {
        Self::Negotiate(0)
    }
}

impl Heartbeat {
    /// The interval in seconds that both sides keep; 0 for none.
    pub(super) fn agree(self, brokers: u16) -> u16 {
        match (self, brokers) {
            (Self::Exactly(ours), _) => ours,
            (Self::Negotiate(0), interval) | (Self::Negotiate(interval), 0) => interval,
            (Self::Negotiate(ours), brokers) => ours.min(brokers),
        }
    }
}

/// A peer from which nothing has come for so many half intervals is gone: it is found within two
/// intervals of its last sign of life, and had at least one and a half.
const SILENT_HALVES: u8 = 3;

/// What is due when the timer has fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    Nothing,
    /// A heartbeat is to be sent.
    Send,
    /// Nothing has come for too long.
    Dead,
}

/// The heartbeats of an open connection.
pub(super) struct Pulse {
    interval: Duration,
    next: Instant,
    sent: bool,
    /// What leaves next is a heartbeat of ours, and no reason to leave out the next one.
    is_beating: bool,
    received: bool,
    silent_halves: u8,
}

impl Pulse {
    /// `None` for an interval of nothing.
    pub(super) fn new(seconds: u16, now: Instant) -> Option<Self> {
        let interval = Duration::from_secs(seconds.into());
        let next = now.checked_add(interval / 2)?;
        let (sent, received) = (true, true);
        let this = Self { interval, next, sent, is_beating: false, received, silent_halves: 0 };
        (seconds > 0).then_some(this)
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// When to call [`beat`](Self::beat).
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    #[inline]
    pub(super) fn sent(&mut self) {
        self.sent |= !std::mem::take(&mut self.is_beating);
    }

    #[inline]
    pub(super) fn received(&mut self) {
        self.received = true;
    }

    /// What to do now. A loop that was kept from calling it in time has missed no more than one:
    /// a long callback makes no dead peer.
    pub(super) fn beat(&mut self, now: Instant) -> Beat {
        if now < self.next {
            return Beat::Nothing;
        }
        self.next = now + self.interval / 2;
        self.silent_halves = if self.received { 0 } else { self.silent_halves + 1 };
        self.received = false;
        if self.silent_halves >= SILENT_HALVES {
            return Beat::Dead;
        }
        self.is_beating = !std::mem::take(&mut self.sent);
        if self.is_beating { Beat::Send } else { Beat::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_interval_wins_unless_one_is_told_exactly() {
        use Heartbeat::{Exactly, Negotiate};
        let agreed = [
            (Negotiate(0), 0, 0),
            (Negotiate(0), 60, 60),
            (Negotiate(10), 0, 10),
            (Negotiate(10), 60, 10),
            (Negotiate(65_535), 60, 60),
            (Exactly(0), 60, 0),
            (Exactly(90), 60, 90),
            (Exactly(5), 0, 5),
        ];
        for (ours, brokers, interval) in agreed {
            assert_eq!(ours.agree(brokers), interval, "{ours:?} and {brokers}");
        }
    }
}
