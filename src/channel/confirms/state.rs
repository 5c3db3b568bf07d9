//! Confirm mode, as a channel keeps it.

use std::collections::VecDeque;
use std::time::Instant;

use super::fingerprint::Fingerprint;
use super::{Acknowledged, Confirm, Confirms, OnConfirm, OnConfirmed, Unconfirmed};
use crate::channel::{Body, ChannelState, Completion, Outcome, ReturnedMessage};
use crate::connection::{Event, Limit, Wire};
use crate::error::{Error, Misuse, ProtocolError, PublishError};
use crate::protocol::{BasicProperties, EncodeMethod, basic, confirm};

impl ChannelState {
    /// Asks for confirm mode. The closures are taken only on success.
    pub(crate) fn confirm_delivery(
        &mut self,
        wire: &mut Wire,
        on_confirm: &mut Option<OnConfirm>,
        completion: &mut Option<Completion>,
    ) -> Result<(), Misuse> {
        self.ensure_open()?;
        if self.confirms.is_some() {
            return Err(Misuse::AlreadyConfirming);
        }
        self.request(wire, &confirm::Select {}, completion)?;
        self.confirms = on_confirm.take().map(|on_confirm| Box::new(Confirms::new(on_confirm)));
        Ok(())
    }

    /// The broker has agreed: what it says from now on is about numbered publishes.
    pub(crate) fn confirms_selected(&mut self) {
        if let Some(confirms) = &mut self.confirms {
            confirms.is_selected = true;
        }
    }

    /// Has `on_confirmed` called once all that was published so far is resolved. It is taken only
    /// on success.
    pub(crate) fn when_confirmed(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        on_confirmed: &mut Option<OnConfirmed>,
    ) -> Result<(), Misuse> {
        self.ensure_open()?;
        if self.confirms.is_none() {
            return Err(Misuse::NotConfirming);
        }
        let limit = self.new_limit(wire, now);
        if let Some((confirms, on_confirmed)) = self.confirms.as_mut().zip(on_confirmed.take()) {
            confirms.wait(limit, on_confirmed);
        }
        self.tell_waiters(&mut wire.events);
        Ok(())
    }

    /// How many publishes are not resolved.
    pub(crate) fn unconfirmed(&self) -> usize {
        self.confirms.as_ref().map_or(0, |confirms| confirms.outstanding())
    }

    pub(crate) fn set_max_unconfirmed(&mut self, wire: &mut Wire, limit: usize) {
        self.room.resize(limit);
        self.tell_of_room(&mut wire.events);
    }

    /// Refuses a publish while too many are unresolved.
    #[inline]
    pub(crate) fn ensure_few_unconfirmed(&mut self) -> Result<(), PublishError> {
        match &self.confirms {
            Some(confirms) if !self.room.is_there(confirms.outstanding()) => {
                Err(PublishError::TooManyUnconfirmed { limit: self.room.high() })
            }
            _ => Ok(()),
        }
    }

    /// The fingerprint of a publish that may come back.
    #[inline]
    pub(crate) fn fingerprint(
        &self,
        method: &basic::Publish<'_>,
        properties: &BasicProperties<'_>,
        body: &Body<'_>,
    ) -> Option<Fingerprint> {
        let may_come_back = method.mandatory && self.confirms.is_some();
        may_come_back.then(|| {
            Fingerprint::of(&method.exchange, &method.routing_key, properties, body.as_slice())
        })
    }

    /// Takes basic.ack or basic.nack of what was published here.
    pub(crate) fn on_acknowledgement<'b>(
        &mut self,
        method: &'static str,
        acked: bool,
        delivery_tag: u64,
        multiple: bool,
    ) -> Result<Outcome<'b>, ProtocolError> {
        let channel = self.id.number;
        let unsent = self.requests.held_publishes() as u64;
        let confirms = self.confirms.as_mut().filter(|confirms| confirms.is_selected);
        let Some(confirms) = confirms else {
            return Err(ProtocolError::UnexpectedMethod { channel, method });
        };
        match confirms.acknowledged(acked, delivery_tag, multiple, unsent) {
            Acknowledged::News => Ok(Outcome::Event(Event::Confirmed { channel: self.id })),
            Acknowledged::Stale => {
                log::warn!("channel {channel}: {method} of {delivery_tag} came once more");
                Ok(Outcome::Nothing)
            }
            Acknowledged::Unknown => {
                Err(ProtocolError::UnknownDeliveryTag { channel, delivery_tag })
            }
        }
    }

    /// Notes which publish has come back.
    pub(crate) fn note_return(&mut self, message: &ReturnedMessage<'_>) {
        let confirms = self.confirms.as_mut().filter(|confirms| confirms.is_selected);
        let (Some(confirms), Ok(properties)) = (confirms, message.properties()) else { return };
        let basic::Return { exchange, routing_key, .. } = message.method();
        let fingerprint = Fingerprint::of(exchange, routing_key, &properties, message.body());
        if confirms.returned(fingerprint).is_none() {
            log::warn!("channel {}: a message came back that was not published", self.id.number);
        }
    }

    pub(crate) fn on_confirm(&self) -> Option<OnConfirm> {
        self.confirms.as_ref().map(|confirms| confirms.on_confirm())
    }

    /// The next publish that the broker has said something about.
    #[inline]
    pub(crate) fn next_confirm(
        &mut self,
        events: &mut VecDeque<Event<'static>>,
    ) -> Option<Confirm<'static>> {
        let (sequence_number, outcome) = self.confirms.as_mut()?.next()?;
        self.tell_waiters(events);
        self.tell_of_room(events);
        Some(Confirm { sequence_number, outcome })
    }

    fn tell_waiters(&mut self, events: &mut VecDeque<Event<'static>>) {
        let channel = self.id;
        while let Some((callback, summary)) =
            self.confirms.as_mut().and_then(|confirms| confirms.take_ready())
        {
            events.push_back(Event::AllConfirmed { channel, callback, result: Ok(summary) });
        }
    }

    /// Tells those who have waited for too long.
    pub(crate) fn expire_waiters(&mut self, wire: &mut Wire, now: Instant) {
        let Some(confirms) = &mut self.confirms else { return };
        while let Some((callback, Limit { limit, .. })) = confirms.take_overdue(now) {
            let error = Error::RequestTimeout { method: basic::Publish::NAME, limit };
            let (channel, result) = (self.id, Err(error));
            wire.events.push_back(Event::AllConfirmed { channel, callback, result });
        }
    }

    #[inline]
    fn tell_of_room(&mut self, events: &mut VecDeque<Event<'static>>) {
        if self.room.is_regained(self.unconfirmed()) {
            events.push_back(Event::Writable { channel: self.id });
        }
    }

    /// The channel has ended: what is not resolved is lost.
    pub(crate) fn lose_unconfirmed(
        &mut self,
        error: &Error,
        events: &mut VecDeque<Event<'static>>,
    ) {
        if let Some(confirms) = self.confirms.take() {
            let unconfirmed = Unconfirmed::new(self.id, error.clone(), confirms);
            events.push_back(Event::Unconfirmed(Box::new(unconfirmed)));
        }
    }
}
