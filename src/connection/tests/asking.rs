//! What a test has the user of a [`Pair`] do.

use std::cell::RefCell;
use std::rc::Rc;

use super::broker;
use super::pair::{Happened, Pair, digest, replied};
use crate::channel::{
    Body, Channel, ChannelId, ChannelState, Completion, Confirm, Delivery, OnConfirmed, OnMessage,
    PublishOutcome,
};
use crate::connection::{Connection, Wire};
use crate::error::{Misuse, PublishError};
use crate::protocol::connection::UpdateSecret;
use crate::protocol::{BasicProperties, EncodeMethod, Request, ShortStr, basic};

impl Pair {
    /// Opens a channel, and the broker does so too.
    pub(super) fn open_channel(&mut self) -> ChannelId {
        let id = self.ask_channel(None, "open").unwrap();
        self.feed(&broker::method(id.number, &crate::protocol::channel::OpenOk {}));
        assert_eq!(self.happened(), [replied("open", "channel.open-ok")]);
        self.sent();
        id
    }

    pub(super) fn ask_channel(
        &mut self,
        number: Option<u16>,
        label: &str,
    ) -> Result<ChannelId, Misuse> {
        let mut completion = Some(self.on_reply(label));
        self.machine.open_channel(self.now, number, &mut completion)
    }

    /// A completion that notes what it is called with.
    pub(super) fn on_reply(&self, label: &str) -> Completion {
        let (log, label) = (Rc::clone(&self.log), label.to_owned());
        Completion::Reply(Box::new(move |_, reply| {
            let reply = reply.map(|method| method.name());
            log.borrow_mut().push(Happened::Replied(label, reply));
        }))
    }

    /// Works on the channel, as its handle does.
    pub(super) fn work<R, E: From<Misuse>>(
        &mut self,
        channel: ChannelId,
        work: impl FnOnce(&mut ChannelState, &mut Wire) -> Result<R, E>,
    ) -> Result<R, E> {
        let (state, wire) = self.machine.open_channel_mut(channel)?;
        work(state, wire)
    }

    /// Makes a request of the channel, as its handle does.
    pub(super) fn ask<R>(
        &mut self,
        channel: ChannelId,
        ask: impl FnOnce(&mut ChannelState, &mut Wire) -> Result<R, Misuse>,
    ) -> Result<R, Misuse> {
        let now = self.now;
        self.work(channel, |state, wire| {
            let asked = ask(state, wire)?;
            state.limit_last_request(wire, now);
            Ok(asked)
        })
    }

    pub(super) fn request<M: Request>(
        &mut self,
        channel: ChannelId,
        label: &str,
        method: &M,
    ) -> Result<(), Misuse> {
        let mut completion = Some(self.on_reply(label));
        self.ask(channel, |state, wire| state.request(wire, method, &mut completion))
    }

    /// Declares a queue named like the request's label.
    pub(super) fn declare(&mut self, channel: ChannelId, label: &str) {
        let queue = label.into();
        let declare = crate::protocol::queue::Declare { queue, ..Default::default() };
        self.request(channel, label, &declare).unwrap();
    }

    pub(super) fn get(&mut self, channel: ChannelId, label: &str) -> Result<(), Misuse> {
        self.get_with(channel, label, false)
    }

    pub(super) fn get_with(
        &mut self,
        channel: ChannelId,
        label: &str,
        no_ack: bool,
    ) -> Result<(), Misuse> {
        let (log, name) = (Rc::clone(&self.log), label.to_owned());
        let mut completion = Some(Completion::Get(Box::new(move |_, got| {
            let got = got.map(|message| message.map(|message| digest(message.body())));
            log.borrow_mut().push(Happened::Got(name, got));
        })));
        let get = basic::Get { queue: label.into(), no_ack };
        self.ask(channel, |state, wire| state.get(wire, &get, &mut completion))
    }

    pub(super) fn tell<M: EncodeMethod>(
        &mut self,
        channel: ChannelId,
        method: &M,
    ) -> Result<(), Misuse> {
        self.work(channel, |state, wire| state.tell(wire, method))
    }

    pub(super) fn publish<'b>(
        &mut self,
        channel: ChannelId,
        body: impl Into<Body<'b>>,
    ) -> Result<u64, PublishError> {
        let properties = BasicProperties::default();
        let method = basic::Publish { routing_key: "key".into(), ..Default::default() };
        let mut body = body.into();
        self.work(channel, |state, wire| state.publish(wire, &method, &properties, &mut body))
    }

    /// Publishes to a queue of that name, to have it back if there is none.
    pub(super) fn publish_mandatory(
        &mut self,
        channel: ChannelId,
        key: &str,
        body: &str,
    ) -> Result<u64, PublishError> {
        let properties = BasicProperties::default();
        let method =
            basic::Publish { routing_key: key.into(), mandatory: true, ..Default::default() };
        let mut body = body.into();
        self.work(channel, |state, wire| state.publish(wire, &method, &properties, &mut body))
    }

    /// Asks for confirm mode.
    pub(super) fn ask_confirms(&mut self, channel: ChannelId) -> Result<(), Misuse> {
        let log = Rc::clone(&self.log);
        let on_confirm = move |channel: &Channel, confirm: Confirm<'_>| {
            let outcome = match confirm.outcome {
                PublishOutcome::Acked => "acked",
                PublishOutcome::Nacked => "nacked",
                PublishOutcome::Returned => "returned",
                PublishOutcome::Lost(_) => "lost",
            };
            let number = confirm.sequence_number;
            log.borrow_mut().push(Happened::Confirmed(channel.channel_number(), number, outcome));
        };
        let mut on_confirm = Some(Rc::new(RefCell::new(on_confirm)) as _);
        let mut completion = Some(self.on_reply("select"));
        self.ask(channel, |state, wire| {
            state.confirm_delivery(wire, &mut on_confirm, &mut completion)
        })
    }

    /// Open, with one channel in confirm mode.
    pub(super) fn confirming() -> (Self, ChannelId) {
        let (mut pair, channel) = Self::with_channel();
        pair.ask_confirms(channel).unwrap();
        pair.feed(&broker::method(1, &crate::protocol::confirm::SelectOk {}));
        assert_eq!(pair.happened(), [replied("select", "confirm.select-ok")]);
        pair.sent();
        (pair, channel)
    }

    pub(super) fn when_confirmed(&mut self, channel: ChannelId, label: &str) -> Result<(), Misuse> {
        let (log, label) = (Rc::clone(&self.log), label.to_owned());
        let on_confirmed = move |_: &Channel, summary| {
            log.borrow_mut().push(Happened::AllConfirmed(label, summary));
        };
        let mut on_confirmed: Option<OnConfirmed> = Some(Box::new(on_confirmed));
        let now = self.now;
        self.work(channel, |state, wire| state.when_confirmed(wire, now, &mut on_confirmed))
    }

    pub(super) fn set_max_unconfirmed(&mut self, channel: ChannelId, limit: usize) {
        let set = |state: &mut ChannelState, wire: &mut Wire| {
            state.set_max_unconfirmed(wire, limit);
            Ok::<_, Misuse>(())
        };
        self.work(channel, set).unwrap();
    }

    pub(super) fn unconfirmed(&self, channel: ChannelId) -> usize {
        self.machine.channel(channel).map_or(0, |state| state.unconfirmed())
    }

    /// A consumer that notes what it is called with.
    pub(super) fn on_message(&self, label: &str) -> OnMessage {
        let (log, label) = (Rc::clone(&self.log), label.to_owned());
        Rc::new(RefCell::new(move |channel: &Channel, delivery: &Delivery<'_>| {
            log.borrow_mut().push(Happened::Delivered(
                channel.channel_number(),
                label.clone(),
                delivery.delivery_tag(),
                digest(delivery.body()),
            ));
        }))
    }

    /// Starts a consumer, labelled by its tag, or "own" if it has none. Gives its tag.
    pub(super) fn consume(
        &mut self,
        channel: ChannelId,
        consume: basic::Consume<'_>,
    ) -> Result<String, Misuse> {
        let tag = consume.consumer_tag.to_string();
        let label = if tag.is_empty() { "own" } else { &tag };
        let mut on_message = Some(self.on_message(label));
        let mut completion = Some(self.on_reply(&format!("consume {label}")));
        let tag = self.ask(channel, |state, wire| {
            state.consume(wire, consume, &mut on_message, &mut completion)
        })?;
        Ok(tag.to_string())
    }

    /// A consumer of that tag that runs.
    pub(super) fn consumer(&mut self, channel: ChannelId, tag: &str, no_ack: bool) -> String {
        let consume = basic::Consume { consumer_tag: tag.into(), no_ack, ..Default::default() };
        let tag = self.consume(channel, consume).unwrap();
        let consumer_tag = ShortStr::from(&tag);
        self.feed(&broker::method(channel.number, &basic::ConsumeOk { consumer_tag }));
        assert_eq!(self.happened().len(), 1);
        self.sent();
        tag
    }

    pub(super) fn cancel(&mut self, channel: ChannelId, tag: &str) -> Result<(), Misuse> {
        let mut completion = Some(self.on_reply(&format!("cancel {tag}")));
        let cancel = basic::Cancel { consumer_tag: tag.into() };
        self.ask(channel, |state, wire| state.cancel(wire, &cancel, &mut completion))
    }

    pub(super) fn close_channel(&mut self, channel: ChannelId, text: &str) -> Result<(), Misuse> {
        self.ask(channel, |state, wire| state.close(wire, 200, text.into()))
    }

    pub(super) fn close(&mut self, text: &str) -> Result<(), Misuse> {
        self.machine.close(self.now, 200, text.into())
    }

    pub(super) fn update_secret(&mut self, label: &str, reason: &str) -> Result<(), Misuse> {
        let (log, name) = (Rc::clone(&self.log), label.to_owned());
        let mut on_updated = Some(Box::new(move |_: &Connection, result| {
            log.borrow_mut().push(Happened::SecretUpdated(name, result));
        }) as _);
        let method = UpdateSecret { new_secret: label.into(), reason: reason.into() };
        self.machine.update_secret(self.now, &method, &mut on_updated)
    }
}
