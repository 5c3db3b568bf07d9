//! The end of a channel, whoever brings it about.

use super::callbacks::Completion;
use super::state::{ChannelId, ChannelState, Outcome, State};
use crate::connection::{Event, Wire};
use crate::error::{Closed, Error, Misuse, Party};
use crate::protocol::{ShortStr, channel, reply_code};

impl ChannelState {
    /// Closes the channel once what waits is answered.
    pub(crate) fn close(
        &mut self,
        wire: &mut Wire,
        reply_code: u16,
        reply_text: ShortStr<'_>,
    ) -> Result<(), Misuse> {
        if self.is_closing() {
            return Err(Misuse::ChannelNotOpen);
        }
        let reason = Closed {
            by: Party::Client,
            reply_code,
            reply_text: reply_text.to_string(),
            cause: (0, 0),
        };
        let method = channel::Close { reply_code, reply_text, class_id: 0, method_id: 0 };
        self.send(wire, &method, &mut Some(Completion::Close))?;
        self.state = State::Closing(Box::new(reason));
        Ok(())
    }

    /// Ends at once, even if a Close of ours has crossed the broker's: RabbitMQ may have given ours
    /// to the channel that has failed, and then nobody answers it.
    pub(super) fn closed_by_broker<'b>(
        &self,
        wire: &mut Wire,
        close: &channel::Close<'_>,
    ) -> Outcome<'b> {
        wire.tell(self.id.number, &channel::CloseOk {});
        Outcome::Ended(Error::ChannelClosed(broker_closed_channel(close)))
    }

    /// Ends the channel: everything pending completes with `error`, in order; then what was
    /// published and is not resolved is told lost; then the channel's end is told; then its
    /// closures are released, and bodies that were not sent.
    pub(crate) fn end(mut self, error: &Error, wire: &mut Wire) {
        self.forget_content(wire);
        wire.undelivered += self.undelivered();
        let (waiting, unsent) = self.requests.take_all(wire);
        if !self.is_abandoned {
            self.conclude(waiting, error, wire);
        }
        wire.events.push_back(Event::Released(Box::new(unsent)));
    }

    /// Tells all of a channel that has ended, and releases its closures.
    fn conclude(&mut self, waiting: Vec<Completion>, error: &Error, wire: &mut Wire) {
        let (channel, events) = (self.id, &mut wire.events);
        let failed = waiting.into_iter();
        events.extend(failed.filter_map(|waiting| waiting.failed(channel, error.clone())));
        self.lose_unconfirmed(error, events);
        let mut observers = std::mem::take(&mut self.observers);
        let on_ending = observers.on_ending.take();
        let callbacks = std::mem::take(&mut observers.on_close);
        let error = error.clone();
        events.push_back(Event::ChannelClosed { channel, on_ending, callbacks, error });
        let released = (self.consumers.take_all(), observers);
        events.push_back(Event::Released(Box::new(released)));
    }

    /// Ends the channel for its user, while the broker has not answered its Close. What is left,
    /// by another id, keeps the number until it does.
    pub(crate) fn abandon(&mut self, id: ChannelId, error: &Error, wire: &mut Wire) {
        wire.undelivered.unconfirmed += self.unconfirmed() as u64;
        let completions = self.requests.abandon();
        self.conclude(completions, error, wire);
        self.id = id;
        self.is_abandoned = true;
    }

    /// Closes the channel at once, past all that waits, since the message that comes is too large.
    /// What is left, by another id, keeps the number until the broker has answered.
    pub(crate) fn refuse_content(&mut self, id: ChannelId, wire: &mut Wire) {
        let Some(assembly) = &self.assembly else { return };
        let (declared, cause) = (assembly.declared(), assembly.method_ids());
        self.forget_content(wire);
        if self.requests.awaits::<channel::Close<'_>>() {
            return;
        }
        let (reply_code, (class_id, method_id)) = (reply_code::CONTENT_TOO_LARGE, cause);
        let reply_text = if declared > wire.max_message_size {
            format!("a message of {declared} bytes, the limit is {}", wire.max_message_size)
        } else {
            format!("more than {} bytes of messages in parts", wire.max_incomplete)
        };
        wire.undelivered += self.undelivered();
        let (waiting, unsent) = self.requests.take_all(wire);
        let close =
            channel::Close { reply_code, reply_text: (&reply_text).into(), class_id, method_id };
        wire.tell(self.id.number, &close);
        self.requests.await_close();
        let reason = Closed { by: Party::Client, reply_code, reply_text, cause };
        self.state = State::Closing(Box::new(reason.clone()));
        if !self.is_abandoned {
            self.conclude(waiting, &Error::ChannelClosed(reason), wire);
        }
        wire.events.push_back(Event::Released(Box::new(unsent)));
        self.id = id;
        self.is_abandoned = true;
    }

    /// Gives up the message that has begun to come.
    pub(crate) fn forget_content(&mut self, wire: &mut Wire) {
        if let Some(assembly) = self.assembly.take() {
            wire.incomplete -= assembly.received();
        }
    }
}

/// The reason that a broker's Close gives.
pub(crate) fn broker_closed_channel(close: &channel::Close<'_>) -> Closed {
    Closed {
        by: Party::Broker,
        reply_code: close.reply_code,
        reply_text: close.reply_text.to_string(),
        cause: (close.class_id, close.method_id),
    }
}
