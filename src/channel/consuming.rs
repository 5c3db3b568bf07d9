//! A channel's consumers: started, cancelled by either side, given their messages.

use super::callbacks::{Completion, OnMessage};
use super::consumers::Consumer;
use super::content::Content;
use super::requests::Undo;
use super::state::{ChannelState, Outcome};
use crate::connection::{Event, Wire};
use crate::error::Misuse;
use crate::protocol::{ShortStr, basic, tx};

impl ChannelState {
    /// Starts a consumer. It is known before ConsumeOk comes, since deliveries may come first.
    /// The closures are taken only on success.
    pub(crate) fn consume(
        &mut self,
        wire: &mut Wire,
        mut method: basic::Consume<'_>,
        on_message: &mut Option<OnMessage>,
        completion: &mut Option<Completion>,
    ) -> Result<ShortStr<'static>, Misuse> {
        self.ensure_open()?;
        if self.consumers.find(method.consumer_tag.as_bytes()).is_some() {
            return Err(Misuse::ConsumerTagInUse(method.consumer_tag.to_string()));
        }
        let tag = self.consumers.add(self.id.number, &method.consumer_tag, method.no_ack);
        method.consumer_tag = tag.clone().into();
        if let Err(error) = self.send(wire, &method, completion) {
            self.consumers.remove(&tag);
            return Err(error);
        }
        self.requests.undo_last_by(Undo::Cancel(tag.clone()));
        self.consumers.equip(&tag, on_message.take());
        Ok(tag.into())
    }

    /// Cancels a consumer: its closure is called no more. `completion` is taken only on success.
    pub(crate) fn cancel(
        &mut self,
        wire: &mut Wire,
        method: &basic::Cancel<'_>,
        completion: &mut Option<Completion>,
    ) -> Result<(), Misuse> {
        self.ensure_open()?;
        match self.consumers.get_mut(method.consumer_tag.as_bytes()) {
            Some(consumer) if !consumer.cancelling => consumer.cancelling = true,
            _ => return Err(Misuse::UnknownConsumerTag(method.consumer_tag.to_string())),
        }
        self.send(wire, method, completion)
    }

    pub(super) fn cancelled<'b>(
        &mut self,
        wire: &mut Wire,
        cancel: basic::Cancel<'b>,
    ) -> Outcome<'b> {
        let Some(on_message) = self.consumers.remove(cancel.consumer_tag.as_bytes()) else {
            return Outcome::Nothing;
        };
        wire.events.push_back(Event::Released(Box::new(on_message)));
        let (channel, consumer_tag) = (self.id, cancel.consumer_tag);
        Outcome::Event(Event::Cancelled { channel, consumer_tag })
    }

    pub(super) fn delivered<'b>(
        &mut self,
        wire: &mut Wire,
        method: basic::Deliver<'b>,
        content: Content<'b>,
    ) -> Option<Event<'b>> {
        if !self.is_open() {
            return None;
        }
        let Some(consumer) = self.consumers.get(method.consumer_tag.as_bytes()) else {
            log::warn!("dropped a delivery for the unknown consumer {:?}", method.consumer_tag);
            self.unacked.delivered(method.delivery_tag, false);
            return None;
        };
        self.unacked.delivered(method.delivery_tag, consumer.no_ack);
        if consumer.cancelling {
            if !consumer.no_ack {
                self.requeue(wire, method.delivery_tag);
            }
            return None;
        }
        let on_message = consumer.on_message()?;
        Some(Event::Delivered { channel: self.id, on_message, delivery: content.with(method) })
    }

    /// The consumer of this tag, if it is to have what comes whole for it: nothing is being put
    /// together, and nobody has closed the channel or cancelled the consumer.
    #[inline]
    pub(crate) fn waiting_consumer(&self, consumer_tag: &[u8]) -> Option<&Consumer> {
        let waits = self.is_open() && self.assembly.is_none();
        let consumer = self.consumers.get(consumer_tag).filter(|_| waits)?;
        (!consumer.cancelling).then_some(consumer)
    }

    /// Takes a delivery that has come whole for a [waiting](Self::waiting_consumer) consumer.
    #[inline]
    pub(crate) fn take_delivery(&mut self, wire: &mut Wire, delivery_tag: u64, no_ack: bool) {
        wire.received += 1;
        self.unacked.delivered(delivery_tag, no_ack);
    }

    /// Puts a message back into its queue that nobody wants any more: at once, since nothing that
    /// waits is about it. Only a transaction that is being committed must not get it.
    pub(super) fn requeue(&mut self, wire: &mut Wire, delivery_tag: u64) {
        let reject = basic::Reject { delivery_tag, requeue: true };
        self.unacked.settle(delivery_tag, false);
        if self.is_closing() {
            // With the channel goes all that it has not acknowledged.
        } else if self.requests.awaits::<tx::Commit>() {
            if let Err(error) = self.put(wire, &reject) {
                unreachable!("it is of fixed size: {error}");
            }
        } else {
            wire.tell(self.id.number, &reject);
        }
    }
}
