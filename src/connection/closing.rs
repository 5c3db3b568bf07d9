//! The end of a connection, whoever brings it about.

use std::time::Instant;

use super::channels::Channels;
use super::event::Event;
use super::machine::{Limit, Machine, State};
use crate::channel::broker_closed_channel;
use crate::error::{
    Closed, ConnectError, Error, HandshakeError, Misuse, Party, Phase, ProtocolError, StreamLost,
};
use crate::protocol::{
    EncodeMethod, Frame, FrameKind, Method, ShortStr, channel, connection, reply_code,
};

impl Machine {
    /// The stream has ended.
    pub(crate) fn lost(&mut self, cause: StreamLost) {
        let error = match &self.state {
            // The stream of an attempt that has failed already.
            State::Connecting => return,
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
        self.limit = None;
        self.pulse = None;
        self.blocked = None;
        for channel in self.channels.take_all() {
            channel.end(&error, &mut self.wire);
        }
        self.wire.requests_due = None;
        self.end_secrets(&error);
        self.wire.events.push_back(Event::Closed { error, was_open });
    }

    /// Ends the connection since the broker has been silent or deaf for too long. If all was said,
    /// and only its answer to Close is missing, that is the close.
    pub(super) fn finish_silent(&mut self, error: Error) {
        let error = match &self.state {
            State::Closing { reason, unsent: None } => Error::ConnectionClosed(reason.clone()),
            _ => error,
        };
        self.finish(error);
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
        self.send_close(reply_code::INTERNAL_ERROR, "a callback panicked".into());
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
        self.wire.tell(0, &connection::Close { reply_code, reply_text, class_id: 0, method_id: 0 });
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
        self.limit = Limit::starting(now, self.parameters.stack_timeout());
        self.close_if_idle();
        Ok(())
    }

    /// Sends the user's Close once nothing waits for an answer.
    pub(super) fn close_if_idle(&mut self) {
        if self.secrets.is_idle() {
            self.send_unsent(Channels::all_idle);
        }
    }

    /// Sends the user's Close, if it is not sent and may be.
    pub(super) fn send_unsent(&mut self, may: impl FnOnce(&mut Channels) -> bool) {
        let State::Closing { unsent, .. } = &mut self.state else { return };
        if let Some(close) = unsent.take_if(|_| may(&mut self.channels)) {
            self.channels.forget_deliveries_in_parts(&mut self.wire);
            self.wire.tell(0, &close);
        }
    }

    /// Nothing follows a Close, so what comes on a channel and wants an answer, or was not asked
    /// for, is dropped. Why the broker closes a channel is told all the same: it may be what was
    /// last published.
    pub(super) fn cut_after_close(&mut self, frame: Frame<'_>) {
        if frame.kind == FrameKind::Method
            && let Ok(Method::Channel(channel::Method::Close(close))) =
                Method::decode(frame.payload)
            && let Some(channel) = self.channels.remove(frame.channel)
        {
            let error = Error::ChannelClosed(broker_closed_channel(&close));
            channel.end(&error, &mut self.wire);
        }
    }

    /// A channel that opens now is of no use: every call on it would be refused.
    pub(super) fn while_closing<'b>(
        &self,
        reply: Result<Method<'b>, Error>,
    ) -> Result<Method<'b>, Error> {
        match (&reply, &self.state) {
            (Ok(Method::Channel(channel::Method::OpenOk(_))), State::Closing { reason, .. }) => {
                Err(Error::ConnectionClosed(reason.clone()))
            }
            _ => reply,
        }
    }
}
