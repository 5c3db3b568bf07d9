//! What the machine tells, as the driver of a real connection would pass it on.

use std::rc::Weak;

use super::Play;
use super::user::{Consumer, body, digest};
use crate::channel::Channel;
use crate::connection::{Challenge, Connection, Event};

impl Play<'_> {
    /// Calls the closures concerned.
    pub(super) fn tell(&mut self, event: Event<'_>) {
        let handle = |id| Channel::new(Weak::new(), id);
        match event {
            Event::Challenged(Challenge::Start) => {
                if self.machine.choose("PLAIN") {
                    self.machine.respond(b"\0guest\0guest".to_vec());
                }
            }
            Event::Challenged(Challenge::Secure(challenge)) => self.machine.respond(challenge),
            Event::Opened => {
                self.user.opened += 1;
                self.user.note("opened", 0, 0);
            }
            Event::Closed { error, was_open } => {
                self.user.closed += 1;
                assert_eq!(was_open, self.user.opened == 1);
                self.user.note("closed", 0, digest(&error));
            }
            Event::Replied { channel, callback, result } => callback(&handle(channel), result),
            Event::Got { channel, callback, result } => callback(&handle(channel), result),
            Event::Delivered { channel, on_message, delivery } => {
                assert!(delivery.body().len() <= self.user.message_max, "too long a message");
                (*on_message.borrow_mut())(&handle(channel), &delivery);
            }
            Event::Returned { channel, message } => {
                self.user.note("returned", channel.number, body(&message));
            }
            Event::Confirmed { channel } => {
                let on_confirm = self.machine.channel(channel).and_then(|c| c.on_confirm());
                let Some(on_confirm) = on_confirm else { return };
                while let Some(confirm) = self.machine.next_confirm(channel) {
                    (*on_confirm.borrow_mut())(&handle(channel), confirm);
                    self.act_inside();
                }
            }
            Event::AllConfirmed { channel, callback, result } => callback(&handle(channel), result),
            Event::Unconfirmed(mut unconfirmed) => {
                let channel = &handle(unconfirmed.channel);
                while let Some(tell) = unconfirmed.tell_next(channel) {
                    tell();
                    self.act_inside();
                }
            }
            Event::Writable { channel } => self.user.note("writable", channel.number, 0),
            Event::Cancelled { channel, consumer_tag } => {
                let is_it = |c: &Consumer| c.channel == channel && c.tag == consumer_tag;
                self.user.stop(is_it);
                self.user.note("cancelled", channel.number, 0);
            }
            Event::ChannelClosed { channel, callbacks, error, .. } => {
                for callback in callbacks {
                    callback(&handle(channel), error.clone());
                }
                self.user.channel_ended(channel);
                self.user.note("channel closed", channel.number, digest(&error));
            }
            Event::ConnectionWritable => {
                // One who is refused again before he hears of it hears of it twice.
                self.user.is_full = false;
                self.user.refused = self.user.refused.checked_sub(1).expect("one was refused");
                self.user.note("writable", 0, 0);
            }
            Event::Blocked { .. } => self.user.note("blocked", 0, 0),
            Event::Unblocked => self.user.note("unblocked", 0, 0),
            Event::SecretUpdated { callback, result } => {
                callback(&Connection::new(Weak::new()), result);
            }
            Event::Released(closures) => drop(closures),
        }
    }
}
