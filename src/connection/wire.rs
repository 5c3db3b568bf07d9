//! What a connection's channels share: the way out, and what happened.

use std::collections::VecDeque;
use std::time::Instant;

use super::counters::Undelivered;
use super::event::Event;
use super::output::Output;
use super::parameters::ConnectionParameters;
use super::room::Room;
use super::tuning::Limits;
use crate::protocol::{EncodeError, EncodeMethod, encode_heartbeat, encode_method};

/// Everything of a connection that a channel works on.
pub(crate) struct Wire {
    pub(crate) output: Output,
    pub(crate) events: VecDeque<Event<'static>>,
    pub(crate) limits: Limits,
    /// What may wait, in bytes.
    pub(crate) room: Room,
    /// Bytes that are encoded, but wait in channels' own queues for their turn.
    pub(crate) deferred: usize,
    /// How long a message may be.
    pub(crate) max_message_size: u64,
    /// How many bytes of messages in parts may be held, and how many are.
    pub(crate) max_incomplete: usize,
    pub(crate) incomplete: usize,
    /// Frames that were encoded.
    pub(crate) frames: u64,
    /// Messages that were published.
    pub(crate) published: u64,
    /// Messages that have come whole.
    pub(crate) received: u64,
    /// What was lost with channels that have ended.
    pub(crate) undelivered: Undelivered,
    /// When the first request's time is over. It may have been answered since.
    pub(crate) requests_due: Option<Instant>,
}

impl Wire {
    pub(crate) fn new(parameters: &ConnectionParameters) -> Self {
        let room = Room::new(parameters.low_water_mark(), parameters.high_water_mark());
        Self {
            output: Output::default(),
            events: VecDeque::new(),
            limits: Limits::UNTUNED,
            room,
            max_message_size: parameters.max_message_size() as u64,
            max_incomplete: parameters.max_incomplete_size(),
            incomplete: 0,
            deferred: 0,
            frames: 0,
            published: 0,
            received: 0,
            undelivered: Undelivered::default(),
            requests_due: None,
        }
    }

    /// How many bytes wait to be sent, in all.
    #[inline]
    pub(crate) fn backlog(&self) -> usize {
        self.output.len() + self.deferred
    }

    /// Whether there is room for one more message.
    #[inline]
    pub(crate) fn has_room(&mut self) -> bool {
        let backlog = self.backlog();
        self.room.is_there(backlog)
    }

    /// Whether somebody who was refused for want of room is to be told that there is some.
    #[inline]
    pub(crate) fn has_regained_room(&mut self) -> bool {
        let backlog = self.backlog();
        self.room.is_regained(backlog)
    }

    /// Has somebody look at that time for requests that are not answered.
    pub(crate) fn limit_requests(&mut self, at: Instant) {
        self.requests_due = Some(self.requests_due.map_or(at, |due| due.min(at)));
    }

    /// Sends a method, or encodes nothing on `Err`.
    #[inline]
    pub(crate) fn send<M: EncodeMethod>(
        &mut self,
        channel: u16,
        method: &M,
    ) -> Result<(), EncodeError> {
        encode_method(self.output.encoded(), self.limits.frame_max, channel, method)?;
        self.frames += 1;
        Ok(())
    }

    /// Sends a method of which no value is the user's, or each was checked: no limit refuses it.
    pub(crate) fn tell<M: EncodeMethod>(&mut self, channel: u16, method: &M) {
        if let Err(error) = encode_method(self.output.encoded(), u32::MAX, channel, method) {
            unreachable!("{}: {error}", M::NAME);
        }
        self.frames += 1;
    }

    pub(crate) fn beat(&mut self) {
        encode_heartbeat(self.output.encoded());
        self.frames += 1;
    }
}
