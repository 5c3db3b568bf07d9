//! The connection as a state machine without I/O.
//!
//! Four verbs drive it: [`Machine::next`] takes bytes and returns what happened, one thing at a
//! time; [`Machine::output`] gives the bytes to send; [`Machine::deadline`] says when
//! [`Machine::deadline_passed`] is to be called. Everything else is what the user asks for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::blocked::Blocked;
use super::channels::Channels;
use super::counters::{Counters, Undelivered};
use super::event::Event;
use super::handshake::Due;
use super::heartbeat::{Beat, Pulse};
use super::input::Input;
use super::output::Output;
use super::parameters::ConnectionParameters;
use super::receiving::{BodyUnderWay, Cut};
use super::secrets::Secrets;
use super::tuning::Limits;
use super::wire::Wire;
use crate::channel::{ChannelId, ChannelState, Completion, Confirm};
use crate::error::{Closed, Error, HandshakeError, Misuse, Phase};
use crate::protocol::{FieldTable, connection};

/// When something must have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// How long it may take, for the error that tells so.
    pub(crate) limit: Duration,
    /// The end of that.
    pub(crate) at: Instant,
}

impl Limit {
    pub(crate) fn starting(now: Instant, limit: Option<Duration>) -> Option<Self> {
        let limit = limit?;
        Some(Self { limit, at: now.checked_add(limit)? })
    }
}

pub(super) enum State {
    /// The stream is not there yet.
    Connecting,
    Handshake(Phase),
    Open,
    /// The user has closed it. Close leaves once every channel's requests are answered.
    Closing {
        reason: Closed,
        unsent: Option<connection::Close<'static>>,
    },
    Closed,
}

pub(crate) struct Machine {
    pub(super) state: State,
    pub(super) parameters: ConnectionParameters,
    pub(super) wire: Wire,
    pub(super) server_properties: FieldTable<'static>,
    /// Within which the peer must have got through the handshake, or answered Close.
    pub(super) limit: Option<Limit>,
    /// What the broker waits for, from the credentials.
    pub(super) due: Option<Due>,
    /// Frames that have come.
    pub(super) frames: u64,
    pub(super) body_under_way: Option<BodyUnderWay>,
    /// While the broker takes no messages.
    pub(super) blocked: Option<Blocked>,
    pub(super) secrets: Secrets,
    /// From Tune on, if there are to be heartbeats.
    pub(super) pulse: Option<Pulse>,
    /// When something last came.
    pub(super) heard: Option<Instant>,
    pub(super) channels: Channels,
    pub(super) request_timeout: Option<Duration>,
}

impl Machine {
    pub(crate) fn new(parameters: ConnectionParameters) -> Self {
        Self {
            state: State::Connecting,
            wire: Wire::new(&parameters),
            parameters,
            server_properties: FieldTable::default(),
            limit: None,
            due: None,
            frames: 0,
            body_under_way: None,
            blocked: None,
            secrets: Secrets::default(),
            pulse: None,
            heard: None,
            channels: Channels::default(),
            request_timeout: None,
        }
    }

    /// Puts one for the next attempt in its place, with what the user has set meanwhile. Gives the
    /// old one, to be dropped with nothing borrowed.
    pub(crate) fn renew(&mut self, parameters: ConnectionParameters) -> Self {
        let next = Self { request_timeout: self.request_timeout, ..Self::new(parameters) };
        std::mem::replace(self, next)
    }

    // The verbs.

    /// Parses on until something happens that somebody must be told.
    #[inline]
    pub(crate) fn next<'b>(&mut self, input: &mut Input<'b>) -> Option<Event<'b>> {
        loop {
            if let Some(event) = self.wire.events.pop_front() {
                return Some(event);
            }
            if !self.is_up() {
                return None;
            }
            match self.cut(input) {
                Ok(Cut::Event(event)) => return Some(event),
                Ok(Cut::Progress) => {}
                Ok(Cut::NeedMore) => return None,
                Err(error) => self.violated(error),
            }
        }
    }

    /// Whether there is a stream, as far as this knows: otherwise nothing can come.
    #[inline]
    pub(crate) fn is_up(&self) -> bool {
        !matches!(self.state, State::Connecting | State::Closed)
    }

    /// Whether there is something that nobody has been told.
    #[inline]
    pub(crate) fn has_events(&self) -> bool {
        !self.wire.events.is_empty()
    }

    /// Lets go of what a burst of events has taken: a connection at rest keeps no memory for them.
    #[inline]
    pub(crate) fn trim(&mut self) {
        if self.wire.events.is_empty() && self.wire.events.capacity() > 0 {
            self.wire.events = VecDeque::new();
        }
    }

    /// The bytes to send.
    #[inline]
    pub(crate) fn output(&mut self) -> &mut Output {
        &mut self.wire.output
    }

    /// Gives away the bytes to send of a connection that has ended. They count as unsent.
    pub(crate) fn take_output(&mut self) -> Output {
        let output = std::mem::take(&mut self.wire.output);
        self.wire.undelivered.unsent_messages += output.messages();
        self.wire.undelivered.unsent_bytes += output.len() as u64;
        output
    }

    /// What it has counted, and what waits in it.
    pub(crate) fn counters(&self) -> Counters {
        Counters {
            frames_received: self.frames,
            frames_sent: self.wire.frames,
            messages_received: self.wire.received,
            messages_published: self.wire.published,
            unacked: self.channels.iter().map(ChannelState::unacked).sum(),
            unconfirmed: self.channels.iter().map(ChannelState::unconfirmed).sum(),
            buffered_out: self.wire.backlog(),
            buffered_in: self.wire.incomplete,
            channels: self.channels.iter().count(),
            ..Counters::default()
        }
    }

    /// What was published and has not left.
    pub(crate) fn undelivered(&self) -> Undelivered {
        let mut undelivered = self.wire.undelivered;
        undelivered.unsent_messages += self.wire.output.messages();
        undelivered.unsent_bytes += self.wire.output.len() as u64 + self.secrets.unsent();
        self.channels.iter().for_each(|channel| undelivered += channel.undelivered());
        undelivered
    }

    /// When [`deadline_passed`](Self::deadline_passed) is to be called.
    #[inline]
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let limit = self.limit.map(|limit| limit.at);
        let pulse = self.pulse.as_ref().map(Pulse::next);
        let blocked = self.blocked.as_ref().and_then(|blocked| blocked.limit);
        let blocked = blocked.map(|limit| limit.at);
        [limit, pulse, blocked, self.wire.requests_due].into_iter().flatten().min()
    }

    /// Bytes have come.
    #[inline]
    pub(crate) fn received(&mut self, now: Instant) {
        self.heard = Some(now);
        if let Some(pulse) = &mut self.pulse {
            pulse.received();
        }
    }

    /// Bytes of the output have left.
    #[inline]
    pub(crate) fn sent(&mut self) {
        if let Some(pulse) = &mut self.pulse {
            pulse.sent();
        }
        self.tell_of_room();
    }

    /// Tells those who were refused, once there is room again.
    #[inline]
    pub(super) fn tell_of_room(&mut self) {
        if self.wire.has_regained_room() && self.is_open() {
            self.channels
                .iter_mut()
                .for_each(|it| it.tell_of_connection_room(&mut self.wire.events));
            self.wire.events.push_back(Event::ConnectionWritable);
        }
    }

    /// Acts on a deadline. Too early a call does nothing.
    pub(crate) fn deadline_passed(&mut self, now: Instant) {
        self.beat(now);
        self.expire_requests(now);
        self.end_if_blocked_too_long(now);
        let Some(Limit { limit, .. }) = self.limit.take_if(|limit| limit.at <= now) else { return };
        match &self.state {
            State::Handshake(phase) => {
                let error = HandshakeError::TimedOut { phase: *phase, limit };
                self.finish(error.into());
            }
            State::Closing { reason, .. } => {
                log::warn!(
                    "the broker did not answer in time, so the connection is closed as it is"
                );
                let error = Error::ConnectionClosed(reason.clone());
                self.send_unsent(|_| true);
                self.finish(error);
            }
            State::Connecting | State::Open | State::Closed => {}
        }
    }

    fn expire_requests(&mut self, now: Instant) {
        if self.wire.requests_due.take_if(|due| *due <= now).is_none() {
            return;
        }
        for number in self.channels.numbers() {
            let Some(channel) = self.channels.at_mut(number) else { continue };
            match channel.expire(&mut self.wire, now) {
                Some(error) => self.channels.abandon(number, &error, &mut self.wire),
                None => {
                    channel.first_deadline().into_iter().for_each(|at| self.wire.limit_requests(at))
                }
            }
        }
        self.expire_secrets(now);
        self.tell_of_room();
        self.close_if_idle();
    }

    fn beat(&mut self, now: Instant) {
        let Some(pulse) = &mut self.pulse else { return };
        let interval = pulse.interval();
        match pulse.beat(now) {
            Beat::Nothing => {}
            // What waits to be sent will say as much, once the peer takes it.
            Beat::Send if !self.wire.output.is_empty() => {}
            Beat::Send => self.wire.beat(),
            Beat::Dead => {
                self.finish_silent(Error::HeartbeatTimeout { interval });
            }
        }
    }

    // What the user asks for.

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing { .. })
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    pub(crate) fn limits(&self) -> Limits {
        self.wire.limits
    }

    /// How to connect to whoever has said something.
    pub(crate) fn parameters(&self) -> Option<&ConnectionParameters> {
        self.heard.map(|_| &self.parameters)
    }

    /// The interval of heartbeats.
    pub(crate) fn heartbeat(&self) -> Option<Duration> {
        self.pulse.as_ref().map(Pulse::interval)
    }

    pub(crate) fn server_properties(&self) -> &FieldTable<'static> {
        &self.server_properties
    }

    /// Opens a channel. `on_open` is taken only on success.
    pub(crate) fn open_channel(
        &mut self,
        now: Instant,
        number: Option<u16>,
        on_open: &mut Option<Completion>,
    ) -> Result<ChannelId, Misuse> {
        if !self.is_open() {
            return Err(Misuse::ConnectionNotOpen);
        }
        let id = self.channels.allot(number, self.wire.limits.channel_max)?;
        let mut channel = ChannelState::open(id, &mut self.wire, on_open)?;
        channel.set_request_timeout(self.request_timeout);
        channel.limit_last_request(&mut self.wire, now);
        self.channels.insert(channel);
        Ok(id)
    }

    /// Limits the time of requests on channels that are opened from now on, of their opening, and of
    /// what is asked of the connection itself.
    pub(crate) fn set_request_timeout(&mut self, limit: Option<Duration>) {
        self.request_timeout = limit;
    }

    /// That channel, if it is there and the connection open, with what it works on.
    #[inline]
    pub(crate) fn open_channel_mut(
        &mut self,
        id: ChannelId,
    ) -> Result<(&mut ChannelState, &mut Wire), Misuse> {
        if !self.is_open() {
            return Err(Misuse::ChannelNotOpen);
        }
        let channel = self.channels.get_mut(id).ok_or(Misuse::ChannelNotOpen)?;
        Ok((channel, &mut self.wire))
    }

    /// That channel, if it is there.
    pub(crate) fn channel(&self, id: ChannelId) -> Option<&ChannelState> {
        self.channels.get(id)
    }

    /// That channel, if it is there.
    #[inline]
    pub(crate) fn channel_mut(&mut self, id: ChannelId) -> Option<&mut ChannelState> {
        self.channels.get_mut(id)
    }

    /// The next publish on that channel that the broker has said something about.
    #[inline]
    pub(crate) fn next_confirm(&mut self, channel: ChannelId) -> Option<Confirm<'static>> {
        self.channels.get_mut(channel)?.next_confirm(&mut self.wire.events)
    }
}
