//! The connection as a state machine without I/O.
//!
//! Four verbs drive it: [`Machine::next`] takes bytes and returns what happened, one thing at a
//! time; [`Machine::output`] gives the bytes to send; [`Machine::deadline`] says when
//! [`Machine::deadline_passed`] is to be called. Everything else is what the user asks for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::channels::Channels;
use super::event::Event;
use super::handshake::Greeting;
use super::heartbeat::{Beat, Pulse};
use super::input::Input;
use super::output::Output;
use super::parameters::ConnectionParameters;
use super::tuning::Limits;
use crate::channel::{
    ChannelId, ChannelState, Completion, ConsumerKey, Lookahead, OnMessage, Outcome, Wire,
    broker_closed_channel, look_ahead,
};
use crate::error::{
    Closed, ConnectError, Error, HandshakeError, Misuse, Party, Phase, ProtocolError, StreamLost,
};
use crate::protocol::{
    DecodeMethod, EncodeMethod, FieldTable, Frame, FrameKind, Method, ShortStr, basic, channel,
    connection, encode_heartbeat, encode_method,
};

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

/// What parsing came to.
#[expect(clippy::large_enum_variant, reason = "returned and taken apart at once, never kept")]
enum Cut<'b> {
    Event(Event<'b>),
    /// Something was consumed; perhaps events were queued.
    Progress,
    NeedMore,
}

pub(crate) struct Machine {
    pub(super) state: State,
    pub(super) parameters: ConnectionParameters,
    pub(super) limits: Limits,
    pub(super) output: Output,
    pub(super) server_properties: FieldTable<'static>,
    /// The instant by which the peer must have got through the handshake, or answered Close.
    pub(super) deadline: Option<Instant>,
    /// From Tune on, if there are to be heartbeats.
    pub(super) pulse: Option<Pulse>,
    /// When something last came.
    pub(super) heard: Option<Instant>,
    channels: Channels,
    pub(super) events: VecDeque<Event<'static>>,
}

impl Machine {
    pub(crate) fn new(parameters: ConnectionParameters) -> Self {
        Self {
            state: State::Connecting,
            parameters,
            limits: Limits::UNTUNED,
            output: Output::default(),
            server_properties: FieldTable::default(),
            deadline: None,
            pulse: None,
            heard: None,
            channels: Channels::default(),
            events: VecDeque::new(),
        }
    }

    // The verbs.

    /// Parses on until something happens that somebody must be told.
    #[inline]
    pub(crate) fn next<'b>(&mut self, input: &mut Input<'b>) -> Option<Event<'b>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if matches!(self.state, State::Closed) {
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

    /// Whether there is something that nobody has been told.
    #[inline]
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The bytes to send.
    #[inline]
    pub(crate) fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// When [`deadline_passed`](Self::deadline_passed) is to be called.
    #[inline]
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match (&self.pulse, self.deadline) {
            (None, deadline) => deadline,
            (Some(pulse), None) => Some(pulse.next()),
            (Some(pulse), Some(deadline)) => Some(deadline.min(pulse.next())),
        }
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
    }

    /// Acts on a deadline. Too early a call does nothing.
    pub(crate) fn deadline_passed(&mut self, now: Instant) {
        self.beat(now);
        if self.deadline.take_if(|deadline| *deadline <= now).is_none() {
            return;
        }
        match &self.state {
            State::Handshake(phase) => {
                let limit = self.parameters.stack_timeout().unwrap_or(Duration::ZERO);
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

    fn beat(&mut self, now: Instant) {
        let Some(pulse) = &mut self.pulse else { return };
        let interval = pulse.interval();
        match pulse.beat(now) {
            Beat::Nothing => {}
            // What waits to be sent will say as much, once the peer takes it.
            Beat::Send if !self.output.is_empty() => {}
            Beat::Send => encode_heartbeat(self.output.encoded()),
            Beat::Dead => {
                let error = match &self.state {
                    State::Closing { reason, unsent: None } => {
                        Error::ConnectionClosed(reason.clone())
                    }
                    _ => Error::HeartbeatTimeout { interval },
                };
                self.finish(error);
            }
        }
    }

    // What happens to the stream.

    /// The stream has ended, or never came to be.
    pub(crate) fn lost(&mut self, cause: StreamLost) {
        let error = match &self.state {
            State::Handshake(phase) => HandshakeError::Lost { phase: *phase, cause }.into(),
            // All was said; only the broker's answer is missing.
            State::Closing { reason, unsent: None } => Error::ConnectionClosed(reason.clone()),
            _ => cause.into(),
        };
        self.finish(error);
    }

    /// Ends the connection with this error: every channel first, then its own end is told.
    pub(crate) fn finish(&mut self, error: Error) {
        let was_open = match std::mem::replace(&mut self.state, State::Closed) {
            State::Closed => return,
            State::Connecting | State::Handshake(_) => false,
            State::Open | State::Closing { .. } => true,
        };
        self.deadline = None;
        self.pulse = None;
        for channel in self.channels.take_all() {
            channel.end(&error, &mut self.events);
        }
        self.events.push_back(Event::Closed { error, was_open });
    }

    /// The loop has gone: the connection is over, and nobody is told.
    pub(crate) fn abandoned(&mut self) {
        self.state = State::Closed;
    }

    /// Ends the connection because of the peer, and tells it why.
    pub(super) fn violated(&mut self, error: ProtocolError) {
        self.send_close(error.reply_code(), error.to_string());
        self.finish(error.into());
    }

    /// Ends the connection because a user's callback panicked where that must not unwind.
    pub(crate) fn panicked(&mut self, message: String) {
        self.send_close(crate::protocol::reply_code::INTERNAL_ERROR, "a callback panicked".into());
        self.finish(Error::CallbackPanicked(message));
    }

    /// Puts a Close into the output that nobody will wait to see answered.
    fn send_close(&mut self, reply_code: u16, mut reply_text: String) {
        match self.state {
            State::Connecting | State::Handshake(Phase::Protocol) => return,
            // Nothing follows a Close, nor the answer to one.
            State::Closing { unsent: None, .. } | State::Closed => return,
            State::Handshake(_) | State::Open | State::Closing { .. } => {}
        }
        let mut end = reply_text.len().min(255);
        while !reply_text.is_char_boundary(end) {
            end -= 1;
        }
        reply_text.truncate(end);
        let reply_text = reply_text.into();
        self.tell(&connection::Close { reply_code, reply_text, class_id: 0, method_id: 0 });
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
        self.limits
    }

    pub(crate) fn server_properties(&self) -> &FieldTable<'static> {
        &self.server_properties
    }

    /// Closes the connection: at once if it is not open yet, else once what waits is answered.
    pub(crate) fn close(
        &mut self,
        now: Instant,
        reply_code: u16,
        reply_text: ShortStr<'_>,
    ) -> Result<(), Misuse> {
        match self.state {
            State::Closing { .. } | State::Closed => return Err(Misuse::ConnectionNotOpen),
            State::Connecting | State::Handshake(_) => {
                self.finish(ConnectError::Aborted.into());
                return Ok(());
            }
            State::Open => {}
        }
        // The text must fit before anything changes.
        let close = connection::Close { reply_code, reply_text, class_id: 0, method_id: 0 };
        close.encoded_len()?;
        let close = close.into_owned();
        let reply_text = close.reply_text.to_string();
        let reason = Closed { by: Party::Client, reply_code, reply_text, cause: (0, 0) };
        self.state = State::Closing { reason, unsent: Some(close) };
        self.deadline = self.parameters.stack_timeout().and_then(|limit| now.checked_add(limit));
        self.close_if_idle();
        Ok(())
    }

    /// Sends the user's Close once no channel waits for anything.
    fn close_if_idle(&mut self) {
        self.send_unsent(Channels::all_idle);
    }

    /// Sends the user's Close, if it is not sent and may be.
    fn send_unsent(&mut self, may: impl FnOnce(&Channels) -> bool) {
        let State::Closing { unsent, .. } = &mut self.state else { return };
        if let Some(close) = unsent.take_if(|_| may(&self.channels)) {
            self.tell(&close);
        }
    }

    /// Opens a channel. `on_open` is taken only on success.
    pub(crate) fn open_channel(
        &mut self,
        number: Option<u16>,
        on_open: &mut Option<Completion>,
    ) -> Result<ChannelId, Misuse> {
        if !self.is_open() {
            return Err(Misuse::ConnectionNotOpen);
        }
        let id = self.channels.allot(number, self.limits.channel_max)?;
        let mut wire = Wire {
            output: &mut self.output,
            events: &mut self.events,
            frame_max: self.limits.frame_max,
        };
        self.channels.insert(ChannelState::open(id, &mut wire, on_open)?);
        Ok(id)
    }

    /// That channel, if it is there and the connection open, with what it works on.
    #[inline]
    pub(crate) fn open_channel_mut(
        &mut self,
        id: ChannelId,
    ) -> Result<(&mut ChannelState, Wire<'_>), Misuse> {
        if !self.is_open() {
            return Err(Misuse::ChannelNotOpen);
        }
        let channel = self.channels.get_mut(id).ok_or(Misuse::ChannelNotOpen)?;
        let frame_max = self.limits.frame_max;
        let wire = Wire { output: &mut self.output, events: &mut self.events, frame_max };
        Ok((channel, wire))
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

    // What the broker sends.

    pub(super) fn tell<M: EncodeMethod>(&mut self, method: &M) {
        if let Err(error) = encode_method(self.output.encoded(), u32::MAX, 0, method) {
            // Nothing of the user's comes here unchecked.
            unreachable!("{}: {error}", M::NAME);
        }
    }

    fn cut<'b>(&mut self, input: &mut Input<'b>) -> Result<Cut<'b>, ProtocolError> {
        let rest = input.rest();
        if matches!(self.state, State::Handshake(Phase::Protocol)) {
            match super::handshake::greeting(rest) {
                Greeting::Frame => {}
                Greeting::Cut => return Ok(Cut::NeedMore),
                Greeting::Refused(error) => {
                    self.finish(error.into());
                    return Ok(Cut::Progress);
                }
            }
        }
        let Some((frame, size)) = Frame::parse(rest, self.limits.frame_max)? else {
            return Ok(Cut::NeedMore);
        };
        match frame.kind {
            FrameKind::Heartbeat => input.consume(size),
            _ if frame.channel != 0
                && matches!(self.state, State::Closing { unsent: None, .. }) =>
            {
                input.consume(size);
                self.cut_after_close(frame);
            }
            FrameKind::Method if frame.channel == 0 => {
                input.consume(size);
                self.on_connection_method(Method::decode(frame.payload)?)?;
            }
            FrameKind::Method => return self.cut_method(input, frame, size),
            FrameKind::Header | FrameKind::Body => {
                input.consume(size);
                let is_header = frame.kind == FrameKind::Header;
                return self.on_content_frame(frame, is_header);
            }
        }
        Ok(Cut::Progress)
    }

    /// Nothing follows a Close, so nothing that comes on a channel can be answered, nor was it asked
    /// for. Why the broker closes a channel is told all the same: it may be what was last published.
    fn cut_after_close(&mut self, frame: Frame<'_>) {
        if frame.kind == FrameKind::Method
            && let Ok(Method::Channel(channel::Method::Close(close))) =
                Method::decode(frame.payload)
            && let Some(channel) = self.channels.remove(frame.channel)
        {
            let error = Error::ChannelClosed(broker_closed_channel(&close));
            channel.end(&error, &mut self.events);
        }
    }

    #[inline]
    fn cut_method<'b>(
        &mut self,
        input: &mut Input<'b>,
        frame: Frame<'b>,
        size: usize,
    ) -> Result<Cut<'b>, ProtocolError> {
        // Deliver is nearly all that comes on a busy connection: it takes the short way.
        let method = match frame.payload {
            [0, 60, 0, 60, arguments @ ..] => {
                let deliver = basic::Deliver::decode(arguments)?;
                Method::Basic(basic::Method::Deliver(deliver))
            }
            payload => Method::decode(payload)?,
        };
        let frame_max = self.limits.frame_max;
        self.ensure_serving(frame.channel, &method)?;
        let Some(channel) = self.channels.at_mut(frame.channel) else {
            log::debug!("dropped {} for channel {}", method.name(), frame.channel);
            input.consume(size);
            return Ok(Cut::Progress);
        };
        let mut wire = Wire { output: &mut self.output, events: &mut self.events, frame_max };
        match channel.on_method(&mut wire, method)? {
            Outcome::Content(method) => match look_ahead(input, size, frame.channel, frame_max)? {
                Lookahead::Cut => return Ok(Cut::NeedMore),
                Lookahead::InParts => {
                    input.consume(size);
                    channel.begin_content(method);
                }
                Lookahead::Whole(content, content_size) => {
                    input.consume(size + content_size);
                    let event = channel.on_content(&mut wire, method, content);
                    return Ok(self.told(event));
                }
            },
            Outcome::Nothing => input.consume(size),
            Outcome::Event(event) => {
                input.consume(size);
                return Ok(self.told(Some(event)));
            }
            Outcome::Ended(error) => {
                input.consume(size);
                if let Some(channel) = self.channels.remove(frame.channel) {
                    channel.end(&error, &mut self.events);
                }
                self.close_if_idle();
            }
        }
        Ok(Cut::Progress)
    }

    fn told<'b>(&mut self, event: Option<Event<'b>>) -> Cut<'b> {
        self.close_if_idle();
        let closing = self.is_closing();
        match event {
            // A cancelled operation never calls back, and close cancels all consumers.
            Some(Event::Delivered { channel, consumer, on_message, .. }) if closing => {
                let unused = self.give_back(channel, consumer, on_message);
                self.events.extend(unused.map(|unused| Event::Released(Box::new(unused))));
                Cut::Progress
            }
            Some(Event::Replied { channel, callback, result }) if closing => {
                Cut::Event(Event::Replied { channel, callback, result: self.while_closing(result) })
            }
            Some(event) => Cut::Event(event),
            None => Cut::Progress,
        }
    }

    /// A channel that opens now is of no use: every call on it would be refused.
    fn while_closing<'b>(&self, reply: Result<Method<'b>, Error>) -> Result<Method<'b>, Error> {
        match (&reply, &self.state) {
            (Ok(Method::Channel(channel::Method::OpenOk(_))), State::Closing { reason, .. }) => {
                Err(Error::ConnectionClosed(reason.clone()))
            }
            _ => reply,
        }
    }

    fn on_content_frame<'b>(
        &mut self,
        frame: Frame<'b>,
        is_header: bool,
    ) -> Result<Cut<'b>, ProtocolError> {
        let unexpected = if is_header { "content header" } else { "content body" };
        if frame.channel == 0 || matches!(self.state, State::Handshake(_)) {
            let channel = frame.channel;
            return Err(ProtocolError::UnexpectedFrame { channel, frame: unexpected });
        }
        let frame_max = self.limits.frame_max;
        let mut wire = Wire { output: &mut self.output, events: &mut self.events, frame_max };
        let Some(channel) = self.channels.at_mut(frame.channel) else {
            return Ok(Cut::Progress);
        };
        let event = channel.on_content_frame(&mut wire, is_header, frame.payload)?;
        Ok(self.told(event))
    }

    /// Channels have nothing to say before the connection is open.
    fn ensure_serving(&self, channel: u16, method: &Method<'_>) -> Result<(), ProtocolError> {
        match self.state {
            State::Open | State::Closing { .. } => Ok(()),
            _ => Err(ProtocolError::UnexpectedMethod { channel, method: method.name() }),
        }
    }

    /// Returns a consumer's closure to its place, or to the caller if its consumer has gone.
    #[inline]
    pub(crate) fn give_back(
        &mut self,
        channel: ChannelId,
        consumer: ConsumerKey,
        on_message: OnMessage,
    ) -> Option<OnMessage> {
        match self.channels.get_mut(channel) {
            Some(channel) => channel.consumers.give_back(consumer, on_message),
            None => Some(on_message),
        }
    }

    fn on_connection_method(&mut self, method: Method<'_>) -> Result<(), ProtocolError> {
        let unexpected = ProtocolError::UnexpectedMethod { channel: 0, method: method.name() };
        let Method::Connection(method) = method else { return Err(unexpected) };
        match (method, &self.state) {
            (connection::Method::Close(close), State::Handshake(phase)) => {
                let error = super::handshake::refusal(*phase, &self.parameters, &close);
                self.tell(&connection::CloseOk {});
                self.finish(error);
            }
            (connection::Method::Close(close), _) => {
                let reason = Closed {
                    by: Party::Broker,
                    reply_code: close.reply_code,
                    reply_text: close.reply_text.to_string(),
                    cause: (close.class_id, close.method_id),
                };
                self.tell(&connection::CloseOk {});
                self.finish(Error::ConnectionClosed(reason));
            }
            (connection::Method::CloseOk(_), State::Closing { reason, unsent: None }) => {
                let error = Error::ConnectionClosed(reason.clone());
                self.finish(error);
            }
            (_, State::Closing { unsent: None, .. }) => {}
            (method, State::Handshake(phase)) => {
                let phase = *phase;
                return self.on_handshake_method(phase, method, unexpected);
            }
            // The client does not announce that it understands these; they do no harm.
            (connection::Method::Blocked(_) | connection::Method::Unblocked(_), _) => {}
            _ => return Err(unexpected),
        }
        Ok(())
    }
}
