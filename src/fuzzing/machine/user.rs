//! The user, as far as it is told: each completion once, and nothing that it has cancelled.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::peer::pattern;
use crate::channel::{
    Channel, ChannelId, Completion, Confirm, Delivery, OnConfirmed, OnMessage, PublishOutcome,
};
use crate::connection::Connection;
use crate::error::{Error, HandshakeError, Result};
use crate::fuzzing::wire::{method, raw};
use crate::protocol::{BasicProperties, Method, ShortStr, basic, encode_content_header};

/// What is asked for.
pub(super) enum For {
    Reply,
    Message,
    /// Which must not be called if the request fails.
    Consumer(Rc<Cell<bool>>),
}

/// Something that was told: what, on which channel, and what else tells it from others.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Note {
    pub(super) what: &'static str,
    pub(super) channel: u16,
    pub(super) detail: u64,
}

pub(super) struct Consumer {
    pub(super) channel: ChannelId,
    pub(super) tag: ShortStr<'static>,
    /// It must not be called any more.
    pub(super) stopped: Rc<Cell<bool>>,
}

/// A message that may come back.
pub(super) struct Published {
    pub(super) channel: ChannelId,
    pub(super) routing_key: &'static str,
    pub(super) app_id: &'static str,
    pub(super) size: usize,
}

impl Published {
    /// The frames by which it does.
    pub(super) fn came_back(&self, frame_max: u32) -> Vec<u8> {
        let (number, routing_key) = (self.channel.number, self.routing_key.into());
        let mut frames = method(number, &basic::Return { routing_key, ..Default::default() });
        let app_id = Some(self.app_id.into());
        let properties = BasicProperties { app_id, ..Default::default() };
        encode_content_header(&mut frames, 0, number, self.size as u64, &properties)
            .expect("it was published");
        for body in pattern(0, self.size).chunks(frame_max as usize - 8) {
            frames.extend(raw(3, number, body));
        }
        frames
    }
}

/// How often each publish of a channel was resolved, by its number.
pub(super) type Confirms = Rc<RefCell<BTreeMap<u64, u32>>>;

#[derive(Default)]
pub(super) struct User {
    pub(super) notes: Rc<RefCell<Vec<Note>>>,
    /// How often each completion that was taken has been called.
    completions: Vec<Rc<Cell<u32>>>,
    pub(super) consumers: Vec<Consumer>,
    /// Those that were asked for, and whether their end has been told.
    pub(super) channels: Vec<(ChannelId, bool)>,
    pub(super) opened: u32,
    pub(super) closed: u32,
    /// How many publishes were taken.
    pub(super) published: u64,
    /// No longer message is told.
    pub(super) message_max: usize,
    /// A publish was refused since too much waits to be sent, and the user waits to be told.
    pub(super) is_full: bool,
    /// How often that was, less how often the user was told.
    pub(super) refused: u32,
    pub(super) mandatory: Vec<Published>,
    /// Of each channel in confirm mode.
    pub(super) confirms: Vec<(ChannelId, Confirms)>,
}

pub(super) fn note(notes: &RefCell<Vec<Note>>, what: &'static str, channel: u16, detail: u64) {
    notes.borrow_mut().push(Note { what, channel, detail });
}

/// What of a result is noted.
pub(super) fn detail<T>(result: &Result<T>, ok: impl FnOnce(&T) -> u64) -> u64 {
    match result {
        Ok(value) => ok(value),
        Err(error) => digest(error),
    }
}

/// Which error it is. Of what a stranger said, as much as has come by then is told: that is as it
/// was cut.
pub(super) fn digest(error: &Error) -> u64 {
    if let Error::Handshake(HandshakeError::NotAmqp { .. }) = error {
        return 0;
    }
    struct Hash(u64);
    impl std::fmt::Write for Hash {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0 = hash(self.0, text.as_bytes());
            Ok(())
        }
    }
    let mut hash = Hash(1);
    std::fmt::write(&mut hash, format_args!("{error:?} {error}")).expect("it can be printed");
    hash.0
}

pub(super) fn hash(seed: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

impl User {
    pub(super) fn note(&self, what: &'static str, channel: u16, detail: u64) {
        note(&self.notes, what, channel, detail);
    }

    fn counted(&self) -> (Rc<Cell<u32>>, impl Fn() + use<>) {
        let calls = Rc::new(Cell::new(0));
        let counter = Rc::clone(&calls);
        (calls, move || counter.set(counter.get() + 1))
    }

    /// Lets `ask` have a completion; whether it was taken must be what the result says.
    pub(super) fn ask<T, E: std::fmt::Debug>(
        &mut self,
        what: For,
        ask: impl FnOnce(&mut Option<Completion>) -> Result<T, E>,
    ) -> Option<T> {
        let (calls, called) = self.counted();
        let notes = Rc::clone(&self.notes);
        let completion = match what {
            For::Message => Completion::Get(Box::new(move |channel, got| {
                called();
                let body = |got: &Option<_>| got.as_ref().map_or(0, |got| body(got));
                note(&notes, "got", channel.channel_number(), detail(&got, body));
            })),
            what => Completion::Reply(Box::new(move |channel, reply| {
                called();
                if let (For::Consumer(stopped), Err(_)) = (&what, &reply) {
                    stopped.set(true);
                }
                let ids =
                    |reply: &Method<'_>| u64::from(reply.ids().0) << 16 | u64::from(reply.ids().1);
                note(&notes, "replied", channel.channel_number(), detail(&reply, ids));
            })),
        };
        let mut completion = Some(completion);
        let asked = ask(&mut completion);
        assert_eq!(completion.is_none(), asked.is_ok(), "a completion is taken by what succeeds");
        if completion.is_none() {
            self.completions.push(calls);
        }
        asked.ok()
    }

    /// A closure for a consumer, and what stops it.
    pub(super) fn on_message(&self) -> (OnMessage, Rc<Cell<bool>>) {
        let stopped = Rc::new(Cell::new(false));
        let (notes, must_not_run) = (Rc::clone(&self.notes), Rc::clone(&stopped));
        let on_message = move |channel: &Channel, delivery: &Delivery<'_>| {
            assert!(!must_not_run.get(), "a consumer was called after its end");
            note(&notes, "delivered", channel.channel_number(), body(delivery));
        };
        (Rc::new(RefCell::new(on_message)), stopped)
    }

    pub(super) fn on_confirm(
        &self,
    ) -> (impl FnMut(&Channel, Confirm<'_>) + 'static + use<>, Confirms) {
        let confirms = Confirms::default();
        let (notes, resolved) = (Rc::clone(&self.notes), Rc::clone(&confirms));
        let on_confirm = move |channel: &Channel, confirm: Confirm<'_>| {
            let number = confirm.sequence_number;
            let mut resolved = resolved.borrow_mut();
            *resolved.get_mut(&number).expect("only what was published is resolved") += 1;
            let outcome = match confirm.outcome {
                PublishOutcome::Acked => 0,
                PublishOutcome::Nacked => 1,
                PublishOutcome::Returned => 2,
                PublishOutcome::Lost(_) => 3,
            };
            note(&notes, "confirmed", channel.channel_number(), number << 2 | outcome);
        };
        (on_confirm, confirms)
    }

    pub(super) fn on_confirmed(&self) -> (OnConfirmed, Rc<Cell<u32>>) {
        let (calls, called) = self.counted();
        let notes = Rc::clone(&self.notes);
        let on_confirmed = Box::new(move |channel: &Channel, result: Result<_>| {
            called();
            note(&notes, "all confirmed", channel.channel_number(), u64::from(result.is_ok()));
        });
        (on_confirmed, calls)
    }

    pub(super) fn on_updated(
        &self,
    ) -> (impl FnOnce(&Connection, Result<()>) + 'static + use<>, Rc<Cell<u32>>) {
        let (calls, called) = self.counted();
        let notes = Rc::clone(&self.notes);
        let on_updated = move |_: &Connection, result: Result<()>| {
            called();
            note(&notes, "secret", 0, u64::from(result.is_ok()));
        };
        (on_updated, calls)
    }

    pub(super) fn will_complete(&mut self, calls: Rc<Cell<u32>>) {
        self.completions.push(calls);
    }

    pub(super) fn published(&mut self, id: ChannelId, number: u64) {
        self.published += 1;
        if let Some((_, confirms)) = self.confirms.iter().find(|(channel, _)| *channel == id) {
            let before = confirms.borrow_mut().insert(number, 0);
            assert_eq!(before, None, "a number twice");
        }
    }

    /// Counts the calls of an observer of a channel's end, which is one completion more.
    pub(super) fn on_close(&mut self) -> impl FnOnce() + 'static + use<> {
        let (calls, called) = self.counted();
        self.completions.push(calls);
        called
    }

    /// The consumers that these are, of those that run, must not be called any more.
    pub(super) fn stop(&self, which: impl Fn(&Consumer) -> bool) {
        let running = self.consumers.iter().filter(|consumer| !consumer.stopped.get());
        running.filter(|consumer| which(consumer)).for_each(|consumer| consumer.stopped.set(true));
    }

    pub(super) fn channel_ended(&mut self, id: ChannelId) {
        let channel = self.channels.iter_mut().find(|(channel, _)| *channel == id);
        let (_, ended) = channel.expect("only what was asked for ends");
        assert!(!std::mem::replace(ended, true), "a channel ended twice");
        self.stop(|consumer| consumer.channel == id);
    }

    /// The connection has ended and all was told.
    pub(super) fn end(&self) {
        assert_eq!(self.closed, 1, "the connection's end is told once");
        assert!(self.opened <= 1);
        for calls in &self.completions {
            assert_eq!(calls.get(), 1, "each completion is called once");
            assert_eq!(Rc::strong_count(calls), 1, "no closure is kept");
        }
        for (_, confirms) in &self.confirms {
            let once = confirms.borrow().values().all(|count| *count == 1);
            assert!(once, "each publish is resolved once: {confirms:?}");
            assert_eq!(Rc::strong_count(confirms), 1, "no closure is kept");
        }
        assert!(self.channels.iter().all(|(_, ended)| *ended), "a channel's end was not told");
        let kept = self.consumers.iter().filter(|consumer| Rc::strong_count(&consumer.stopped) > 1);
        assert_eq!(kept.count(), 0, "a consumer's closure is kept");
        assert_eq!(Rc::strong_count(&self.notes), 1, "no closure is kept");
    }
}

/// What of a message is noted: its length, and how it begins and ends.
pub(super) fn body<M>(message: &crate::channel::Message<'_, M>) -> u64 {
    let properties = u64::from(message.properties().is_ok());
    let (kept, body) = (message.to_bytes(), message.body());
    assert_eq!(kept.len(), body.len());
    let ends = [&kept[..kept.len().min(64)], &body[body.len().saturating_sub(64)..]];
    hash(hash(properties ^ (kept.len() as u64) << 8, ends[0]), ends[1])
}
