//! What the broker sends: frames are cut and find the channel that they are for.

use super::event::Event;
use super::handshake::Greeting;
use super::input::Input;
use super::machine::{Machine, State};
use crate::channel::{Lookahead, Outcome, Taken, look_ahead};
use crate::error::{Closed, Error, Party, Phase, ProtocolError};
use crate::protocol::{
    DecodeError, FRAME_END, FRAME_HEADER, Frame, FrameKind, Method, channel, connection,
};

/// What parsing came to.
#[expect(clippy::large_enum_variant, reason = "returned and taken apart at once, never kept")]
pub(super) enum Cut<'b> {
    Event(Event<'b>),
    /// Something was consumed; perhaps events were queued.
    Progress,
    NeedMore,
}

/// A body frame that a read has cut, and whose payload goes to its message as it comes.
pub(super) struct BodyUnderWay {
    channel: u16,
    /// How much of the payload has still to come.
    left: usize,
}

impl Machine {
    pub(super) fn cut<'b>(&mut self, input: &mut Input<'b>) -> Result<Cut<'b>, ProtocolError> {
        if matches!(self.state, State::Handshake(Phase::Protocol)) {
            match super::handshake::greeting(input.rest()) {
                Greeting::Frame => {}
                Greeting::Cut => return Ok(Cut::NeedMore),
                Greeting::Refused(error) => {
                    self.finish(error.into());
                    return Ok(Cut::Progress);
                }
            }
        }
        let Some((frame, size)) = self.next_frame(input)? else { return Ok(Cut::NeedMore) };
        self.frames += 1;
        match frame.kind {
            FrameKind::Heartbeat => input.consume(size),
            _ if frame.channel != 0
                && matches!(self.state, State::Closing { unsent: None, .. })
                && !self.tells_of_publishes(&frame) =>
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

    /// The next frame, and how long it is. Of a large body that a read has cut, what is there goes to
    /// its message at once; the frame's end comes as an empty one then, and all that is said of a
    /// frame is said of that.
    fn next_frame<'b>(
        &mut self,
        input: &mut Input<'b>,
    ) -> Result<Option<(Frame<'b>, usize)>, DecodeError> {
        if self.body_under_way.is_none() {
            let frame = Frame::parse(input.rest(), self.wire.limits.frame_max)?;
            if frame.is_some() {
                return Ok(frame);
            }
            self.begin_body(input);
        }
        self.go_on_with_body(input)
    }

    /// Looks whether there is the beginning of a body frame that a message waits for and that
    /// nothing can be wrong with but its end.
    fn begin_body(&mut self, input: &mut Input<'_>) {
        let Some((number, left)) = Frame::begun_body(input.rest()) else { return };
        let channel = self.channels.at(number);
        if channel.is_some_and(|channel| channel.takes_body(&self.wire, left)) {
            input.consume(FRAME_HEADER);
            self.body_under_way = Some(BodyUnderWay { channel: number, left });
        }
    }

    fn go_on_with_body<'b>(
        &mut self,
        input: &mut Input<'b>,
    ) -> Result<Option<(Frame<'b>, usize)>, DecodeError> {
        let Some(BodyUnderWay { channel, left }) = &mut self.body_under_way else {
            return Ok(None);
        };
        let number = *channel;
        let (part, behind) = input.rest().split_at(input.rest().len().min(*left));
        *left -= part.len();
        input.consume(part.len());
        // The user may have closed it meanwhile.
        if let Some(channel) = self.channels.at_mut(number) {
            channel.on_part_of_body(&mut self.wire, part);
        }
        let Some(&end) = behind.first() else { return Ok(None) };
        self.body_under_way = None;
        if end != FRAME_END {
            return Err(DecodeError::FrameEnd(end));
        }
        let payload = &behind[..0];
        Ok(Some((Frame { kind: FrameKind::Body, channel: number, payload }, 1)))
    }

    /// Whether a frame is, or is part of, an acknowledgement of publishes or a message that comes
    /// back. These need no answer, and are told until the end.
    fn tells_of_publishes(&self, frame: &Frame<'_>) -> bool {
        match (frame.kind, frame.payload) {
            (FrameKind::Method, [0, 60, 0, 50 | 80 | 120, ..]) => true,
            (FrameKind::Method | FrameKind::Heartbeat, _) => false,
            (FrameKind::Header | FrameKind::Body, _) => {
                self.channels.at(frame.channel).is_some_and(|channel| channel.is_assembling())
            }
        }
    }

    #[inline]
    fn cut_method<'b>(
        &mut self,
        input: &mut Input<'b>,
        frame: Frame<'b>,
        size: usize,
    ) -> Result<Cut<'b>, ProtocolError> {
        let method = Method::decode(frame.payload)?;
        let frame_max = self.wire.limits.frame_max;
        self.ensure_serving(frame.channel, &method)?;
        let Some(channel) = self.channels.at_mut(frame.channel) else {
            log::debug!("dropped {} for channel {}", method.name(), frame.channel);
            if let Method::Channel(channel::Method::CloseOk(_)) = method {
                self.channels.on_late_close_ok(frame.channel);
            }
            input.consume(size);
            return Ok(Cut::Progress);
        };
        match channel.on_method(&mut self.wire, method)? {
            Outcome::Content(method) => {
                match look_ahead(input, size, frame.channel, frame_max, self.wire.max_message_size)?
                {
                    Lookahead::Cut => {
                        self.frames -= 1; // it comes again, with the rest
                        return Ok(Cut::NeedMore);
                    }
                    Lookahead::InParts => {
                        input.consume(size);
                        channel.begin_content(method);
                    }
                    Lookahead::Whole(content) => {
                        input.consume(size + content.len);
                        self.frames += content.frames();
                        let event = channel.on_content(&mut self.wire, method, content.of(input));
                        return Ok(self.told(event));
                    }
                }
            }
            Outcome::Nothing => {
                input.consume(size);
                self.close_if_idle();
            }
            Outcome::Event(event) => {
                input.consume(size);
                return Ok(self.told(Some(event)));
            }
            Outcome::Ended(error) => {
                input.consume(size);
                if let Some(channel) = self.channels.remove(frame.channel) {
                    if channel.awaits_close_ok() {
                        self.channels.await_late_close_ok(frame.channel);
                    }
                    channel.end(&error, &mut self.wire);
                }
                self.close_if_idle();
                self.tell_of_room();
            }
        }
        Ok(Cut::Progress)
    }

    fn told<'b>(&mut self, event: Option<Event<'b>>) -> Cut<'b> {
        self.close_if_idle();
        let closing = self.is_closing();
        match event {
            // A cancelled operation never calls back, and close cancels all consumers.
            Some(Event::Delivered { .. }) if closing => Cut::Progress,
            Some(Event::Replied { channel, callback, result }) if closing => {
                Cut::Event(Event::Replied { channel, callback, result: self.while_closing(result) })
            }
            Some(event) => Cut::Event(event),
            None => Cut::Progress,
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
        let Some(channel) = self.channels.at_mut(frame.channel) else {
            return Ok(Cut::Progress);
        };
        match channel.on_content_frame(&mut self.wire, is_header, frame.payload)? {
            Taken::Part => return Ok(Cut::Progress),
            Taken::Whole(event) => return Ok(self.told(event)),
            Taken::TooLarge => {}
        }
        if matches!(self.state, State::Closing { unsent: None, .. }) {
            // Nothing follows a Close. It is a message that comes back: nobody is told.
            channel.forget_content(&mut self.wire);
        } else {
            self.channels.refuse_content(frame.channel, &mut self.wire);
            self.close_if_idle();
            self.tell_of_room();
        }
        Ok(Cut::Progress)
    }

    /// Channels have nothing to say before the connection is open.
    fn ensure_serving(&self, channel: u16, method: &Method<'_>) -> Result<(), ProtocolError> {
        match self.state {
            State::Open | State::Closing { .. } => Ok(()),
            _ => Err(ProtocolError::UnexpectedMethod { channel, method: method.name() }),
        }
    }

    fn on_connection_method(&mut self, method: Method<'_>) -> Result<(), ProtocolError> {
        let unexpected = ProtocolError::UnexpectedMethod { channel: 0, method: method.name() };
        let Method::Connection(method) = method else { return Err(unexpected) };
        match (method, &self.state) {
            (connection::Method::Close(close), State::Handshake(phase)) => {
                let error = super::handshake::refusal(*phase, &self.parameters, &close);
                self.wire.tell(0, &connection::CloseOk {});
                self.finish(error);
            }
            (connection::Method::Close(close), _) => {
                let reason = Closed {
                    by: Party::Broker,
                    reply_code: close.reply_code,
                    reply_text: close.reply_text.to_string(),
                    cause: (close.class_id, close.method_id),
                };
                self.wire.tell(0, &connection::CloseOk {});
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
            (connection::Method::Blocked(blocked), _) => self.on_blocked(blocked.reason),
            (connection::Method::Unblocked(_), _) => self.on_unblocked(),
            (connection::Method::UpdateSecretOk(_), _) if self.secrets.may_be_confirmed() => {
                self.on_secret_updated();
            }
            _ => return Err(unexpected),
        }
        Ok(())
    }
}
