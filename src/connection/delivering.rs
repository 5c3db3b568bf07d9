//! What happened is told to the user's closures, with nothing borrowed.

use std::rc::Rc;

use super::arriving::Arrival;
use super::callbacks::{ConnectionCallbacks, OnEnding};
use super::event::Event;
use super::handle::Connection;
use super::input::Input;
use super::lent::{Home, LentList, OfChannel, OfConnection};
use super::session::Session;
use crate::channel::{Channel, ChannelId, Delivery, Observers, OnMessage, Origin};
use crate::error::{Closed, Error, Party};
use crate::io_services::{Services, Workflow};
use crate::ioloop::{LoopCore, call_each};

impl Session {
    pub(super) fn deliver(&self, core: &Rc<LoopCore>, event: Event<'_>) {
        match event {
            Event::Delivered { channel, on_message, delivery } => {
                let delivery = delivery.with_origin(Origin::new(self.inbox(), channel));
                self.call_consumer(core, channel, on_message, &delivery);
            }
            Event::Replied { channel, callback, result } => {
                let channel = self.channel(channel);
                self.call(core, || callback(&channel, result));
            }
            Event::Got { channel, callback, result } => {
                let origin = Origin::new(self.inbox(), channel);
                let result = result.map(|got| got.map(|message| message.with_origin(origin)));
                let channel = self.channel(channel);
                self.call(core, || callback(&channel, result));
            }
            Event::Returned { channel, message } => {
                let told = self.observe(core, channel, |o| &mut o.on_return, |f, c| f(c, &message));
                if !told {
                    let method = message.method();
                    log::warn!(
                        "a message came back: ({}) {}",
                        method.reply_code,
                        method.reply_text
                    );
                }
            }
            Event::Confirmed { channel } => self.confirmed(core, channel),
            Event::AllConfirmed { channel, callback, result } => {
                let channel = self.channel(channel);
                self.call(core, || callback(&channel, result));
            }
            Event::Unconfirmed(unconfirmed) => self.unconfirmed(core, unconfirmed),
            Event::Writable { channel } => {
                self.observe(core, channel, |o| &mut o.on_writable, |f, c| f(c));
            }
            Event::Cancelled { channel, consumer_tag } => {
                let told =
                    self.observe(core, channel, |o| &mut o.on_cancel, |f, c| f(c, &consumer_tag));
                if !told {
                    log::warn!("the broker cancelled the consumer {consumer_tag}");
                }
            }
            Event::ChannelClosed { channel, on_ending, callbacks, error } => {
                let is_told = self.tell_of_ending(core, on_ending, &error);
                if callbacks.is_empty() && !is_told && error_of_the_broker(&error) {
                    log::warn!("channel {}: {error}", channel.number);
                }
                let (channel, error) = (&self.channel(channel), &error);
                let calls = callbacks.into_iter().map(|call| || call(channel, error.clone()));
                self.call_each(core, calls);
            }
            Event::Challenged(challenge) => self.challenged(core, challenge),
            Event::Opened => {
                let (workflow, on_challenge) = (self.workflow.take(), self.take_on_challenge());
                let on_open = std::mem::take(&mut self.callbacks.borrow_mut().on_open);
                let connection = &self.connection();
                self.call_each(core, on_open.into_iter().map(|call| || call(connection)));
                self.call(core, || drop((workflow, on_challenge)));
            }
            Event::Blocked { reason } => {
                let told =
                    self.observe_connection(core, |o| &mut o.on_blocked, |f, c| f(c, &reason));
                if !told {
                    log::warn!("the broker takes no messages for now: {reason}");
                }
            }
            Event::Unblocked => {
                self.observe_connection(core, |o| &mut o.on_unblocked, |f, c| f(c));
            }
            Event::SecretUpdated { callback, result } => {
                self.call(core, || callback(&self.connection(), result));
            }
            Event::ConnectionWritable => {
                self.observe_connection(core, |o| &mut o.on_writable, |f, c| f(c));
            }
            Event::Closed { error, was_open } => self.closed(core, error, was_open),
            Event::Released(closures) => self.call(core, || drop(closures)),
        }
    }

    /// Gives a consumer its message, if that was [found](Machine::next_delivery) in the input.
    #[inline]
    pub(super) fn arrived(&self, core: &LoopCore, input: &Input<'_>, arrival: Arrival<'_>) {
        let Arrival { channel, on_message, method, content } = arrival;
        let origin = Origin::new(self.inbox(), channel);
        let delivery = content.of(input).with_origin(method.into(), origin);
        self.call_consumer(core, channel, on_message, &delivery);
    }

    /// The closure is let go of inside: its consumer may have ended meanwhile.
    #[inline]
    fn call_consumer(
        &self,
        core: &LoopCore,
        channel: ChannelId,
        on_message: OnMessage,
        delivery: &Delivery<'_>,
    ) {
        let handle = self.channel(channel);
        self.call(core, move || (*on_message.borrow_mut())(&handle, delivery));
    }

    /// Calls a user's closure. On a loop that must not unwind, a panic ends the connection.
    #[inline]
    pub(super) fn call(&self, core: &LoopCore, call: impl FnOnce()) {
        debug_assert!(
            self.machine.try_borrow_mut().is_ok(),
            "a callback with the machine borrowed"
        );
        if let Err(message) = core.call_user(call) {
            self.machine.borrow_mut().panicked(message);
        }
    }

    /// Calls user's closures, each.
    fn call_each(&self, core: &LoopCore, calls: impl Iterator<Item = impl FnOnce()>) {
        call_each(calls.map(|call| || self.call(core, call)));
    }

    /// Calls every closure of a list that the channel keeps. Returns whether there was one.
    fn observe<F: 'static>(
        &self,
        core: &LoopCore,
        channel: ChannelId,
        list: fn(&mut Observers) -> &mut Vec<F>,
        call: impl Fn(&mut F, &Channel),
    ) -> bool {
        let handle = self.channel(channel);
        self.call_list(core, OfChannel(channel, list), |closure| call(closure, &handle))
    }

    /// Calls every closure of a list that the connection keeps. Returns whether there was one.
    fn observe_connection<F: 'static>(
        &self,
        core: &LoopCore,
        list: fn(&mut ConnectionCallbacks) -> &mut Vec<F>,
        call: impl Fn(&mut F, &Connection),
    ) -> bool {
        let handle = self.connection();
        self.call_list(core, OfConnection(list), |closure| call(closure, &handle))
    }

    /// Calls every closure of a list; they go back to their place, before those that came
    /// meanwhile. Returns whether there was one.
    fn call_list<F: 'static>(
        &self,
        core: &LoopCore,
        home: impl Home<F>,
        call: impl Fn(&mut F),
    ) -> bool {
        let mut lent = LentList::take(self, home);
        let call = &call;
        self.call_each(core, lent.closures.iter_mut().map(|closure| || call(closure)));
        !lent.closures.is_empty()
    }

    /// Gives whether somebody was told.
    fn tell_of_ending(&self, core: &LoopCore, on_ending: Option<OnEnding>, error: &Error) -> bool {
        let mut is_told = false;
        if let Some(on_ending) = on_ending {
            self.call(core, || is_told = on_ending(error));
        }
        is_told
    }

    /// The connection has ended: the stream goes first, then the user is told, then everything is
    /// released.
    fn closed(&self, core: &LoopCore, mut error: Error, was_open: bool) {
        self.write();
        self.take_down();
        let on_challenge = self.take_on_challenge();
        if !was_open {
            match self.try_next(error) {
                Ok(()) => return self.call(core, || drop(on_challenge)),
                Err(last) => error = last,
            }
        }
        self.end_inbox();
        let workflow = self.workflow.take();
        workflow.iter().for_each(Workflow::abandon);
        let services = self.services.upgrade();
        let released = services.as_ref().zip(self.key.take()).map(|(s, key)| s.release(key));
        let mut callbacks = self.callbacks.take();
        let told = if was_open { &mut callbacks.on_close } else { &mut callbacks.on_open_error };
        let told = std::mem::take(told);
        let is_told = self.tell_of_ending(core, callbacks.on_ending.take(), &error);
        if !told.is_empty() {
            let (connection, error) = (&self.connection(), &error);
            let calls = told.into_iter().map(|call| || call(connection, error.clone()));
            self.call_each(core, calls);
        } else if !is_told {
            unhandled(services, error, was_open);
        }
        // Their credentials are the user's too.
        let parameters = std::mem::take(&mut self.machine.borrow_mut().parameters);
        self.call(core, || drop((callbacks, workflow, on_challenge, parameters)));
        drop(released);
    }
}

/// Nobody was told of the end of a connection.
fn unhandled(services: Option<Services>, error: Error, was_open: bool) {
    if !was_open {
        if let Some(services) = services {
            services.unhandled_error(error);
        }
    } else if !matches!(error, Error::ConnectionClosed(Closed { by: Party::Client, .. })) {
        log::error!("{error}");
    }
}

fn error_of_the_broker(error: &Error) -> bool {
    matches!(error, Error::ChannelClosed(Closed { by: Party::Broker, .. }))
}
