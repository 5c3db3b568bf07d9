//! The user, as far as it acts: it asks for whatever the script says, and what is refused changes
//! nothing.

use std::cell::RefCell;
use std::rc::Rc;

use super::Play;
use super::peer::{BODY_MAX, pattern};
use super::script::Op;
use super::user::{Consumer, For, Published};
use crate::channel::{Body, ChannelId, ChannelState, Completion};
use crate::connection::Wire;
use crate::error::{Misuse, PublishError};
use crate::protocol::{
    BasicProperties, EncodeMethod, basic, channel, confirm, connection, exchange, queue, tx,
};

impl Play<'_> {
    pub(super) fn ask(&mut self, op: Op) {
        let waiting = self.machine.output().len();
        self.weight += 512;
        let asked = match op {
            Op::AskChannel => self.ask_channel(),
            Op::AskClose => {
                let text = self.name();
                let closed = self.machine.close(self.now, 200, text.into()).is_ok();
                if closed {
                    self.user.stop(|_| true);
                }
                closed
            }
            Op::Panic => {
                self.machine.panicked("by script".to_owned());
                true
            }
            Op::AskSecret => {
                let (new_secret, reason) = ("secret".into(), self.name().into());
                let method = connection::UpdateSecret { new_secret, reason };
                let (on_updated, calls) = self.user.on_updated();
                let mut on_updated = Some(Box::new(on_updated) as _);
                let asked = self.machine.update_secret(self.now, &method, &mut on_updated).is_ok();
                assert_eq!(on_updated.is_none(), asked, "a closure is taken by what succeeds");
                if asked {
                    self.user.will_complete(calls);
                }
                asked
            }
            Op::LimitTime => {
                let limit = Some(self.duration()).filter(|limit| !limit.is_zero());
                self.peer.is_hurried = true;
                self.machine.set_request_timeout(limit);
                if let Some(id) = self.channel() {
                    let set = |channel: &mut ChannelState, _: &mut Wire| {
                        channel.set_request_timeout(limit);
                        Ok::<_, Misuse>(())
                    };
                    drop(self.work(id, set));
                }
                true
            }
            _ => match self.channel() {
                Some(channel) => self.ask_on(channel, op),
                None => true,
            },
        };
        if !asked {
            assert_eq!(self.machine.output().len(), waiting, "a refused call sends nothing");
        }
    }

    /// One of the channels that were ever asked for.
    fn channel(&mut self) -> Option<ChannelId> {
        let index = usize::from(self.script.octet()) % self.user.channels.len().max(1);
        self.user.channels.get(index).map(|(channel, _)| *channel)
    }

    fn name(&mut self) -> &'static str {
        const LONG: &str = match std::str::from_utf8(&[b'n'; 256]) {
            Ok(long) => long,
            Err(_) => "",
        };
        self.script.pick(&["", "a", "b", "name", "ctag1.0.0", &LONG[1..], LONG])
    }

    fn ask_channel(&mut self) -> bool {
        let number = match self.script.octet() {
            0..=127 => None,
            255 => Some(self.script.number()),
            number => Some(u16::from(number - 128)),
        };
        let now = self.now;
        let asked = self
            .user
            .ask(For::Reply, |completion| self.machine.open_channel(now, number, completion));
        if let Some(id) = asked {
            // The table of channels reaches to the highest number.
            self.weight += usize::from(id.number);
            self.will_come::<channel::Open>(id, 0);
            self.user.channels.push((id, false));
        }
        asked.is_some()
    }

    fn ask_on(&mut self, id: ChannelId, op: Op) -> bool {
        match op {
            Op::AskRequest => self.request_any(id),
            Op::AskConfirms => self.confirm(id),
            Op::AwaitConfirms => self.await_confirms(id),
            Op::LimitUnconfirmed => {
                let limit = self.script.octet().into();
                let set = |channel: &mut ChannelState, wire: &mut Wire| {
                    channel.set_max_unconfirmed(wire, limit);
                    Ok::<_, Misuse>(())
                };
                self.work(id, set).is_ok()
            }
            Op::AskConsumer => self.consume(id),
            Op::AskCancel => self.cancel(id),
            Op::AskGet => {
                let get = basic::Get { queue: self.name().into(), ..Default::default() };
                let asked = self.ask_for(id, For::Message, |channel, wire, completion| {
                    channel.get(wire, &get, completion)
                });
                self.expect_if::<basic::Get<'_>>(asked.is_some(), id)
            }
            Op::Publish => self.publish(id),
            Op::Settle => {
                let (sort, tag) = (self.script.octet(), self.script.octet().into());
                let ack = basic::Ack { delivery_tag: tag, multiple: sort & 4 != 0 };
                let nack = basic::Nack { delivery_tag: tag, ..Default::default() };
                let reject = basic::Reject { delivery_tag: tag, requeue: false };
                match sort % 3 {
                    0 => self.tell_broker(id, &ack),
                    1 => self.tell_broker(id, &nack),
                    _ => self.tell_broker(id, &reject),
                }
            }
            Op::Observe => {
                let Some(channel) = self.machine.channel_mut(id) else { return false };
                let called = self.user.on_close();
                channel.observers.on_close.push(Box::new(move |_, _| called()));
                true
            }
            Op::AskChannelClose => {
                let text = self.name();
                let now = self.now;
                let closed = self.work(id, |channel, wire| {
                    channel.close(wire, 200, text.into())?;
                    channel.limit_last_request(wire, now);
                    Ok::<_, Misuse>(())
                });
                if closed.is_ok() {
                    self.user.stop(|consumer| consumer.channel == id);
                }
                self.expect_if::<channel::Close<'_>>(closed.is_ok(), id)
            }
            _ => true,
        }
    }

    fn work<R, E: From<Misuse>>(
        &mut self,
        id: ChannelId,
        work: impl FnOnce(&mut ChannelState, &mut Wire) -> Result<R, E>,
    ) -> Result<R, E> {
        let (channel, wire) = self.machine.open_channel_mut(id)?;
        work(channel, wire)
    }

    /// Asks on a channel for what completes, within the time that was set.
    fn ask_for<R>(
        &mut self,
        id: ChannelId,
        what: For,
        ask: impl FnOnce(&mut ChannelState, &mut Wire, &mut Option<Completion>) -> Result<R, Misuse>,
    ) -> Option<R> {
        let (machine, now) = (&mut self.machine, self.now);
        self.user.ask(what, |completion| {
            let (channel, wire) = machine.open_channel_mut(id)?;
            let asked = ask(channel, wire, completion)?;
            channel.limit_last_request(wire, now);
            Ok::<_, Misuse>(asked)
        })
    }

    fn expect_if<M: EncodeMethod>(&mut self, asked: bool, id: ChannelId) -> bool {
        if asked {
            self.will_come::<M>(id, 0);
        }
        asked
    }

    fn request<M: EncodeMethod>(&mut self, id: ChannelId, request: &M) -> bool {
        let asked = self.ask_for(id, For::Reply, |channel, wire, completion| {
            channel.request(wire, request, completion)
        });
        self.expect_if::<M>(asked.is_some(), id)
    }

    fn tell_broker<M: EncodeMethod>(&mut self, id: ChannelId, method: &M) -> bool {
        let told = self.work(id, |channel, wire| channel.tell(wire, method)).is_ok();
        self.expect_if::<M>(told, id)
    }

    fn will_come<M: EncodeMethod>(&mut self, id: ChannelId, size: u64) {
        self.peer.will_come(id.number, (M::CLASS_ID, M::METHOD_ID), size);
    }

    fn request_any(&mut self, id: ChannelId) -> bool {
        let (sort, name) = (self.script.octet(), self.name());
        match sort % 10 {
            0 => {
                let declare = queue::Declare { queue: name.into(), ..Default::default() };
                self.request(id, &declare)
            }
            1 => {
                let delete = queue::Delete { queue: name.into(), ..Default::default() };
                self.request(id, &delete)
            }
            2 => {
                let unbind = exchange::Unbind { source: name.into(), ..Default::default() };
                self.request(id, &unbind)
            }
            3 => self.request(id, &basic::Qos::default()),
            4 => self.request(id, &basic::Recover { requeue: true }),
            5 => self.request(id, &channel::Flow { active: true }),
            6 => self.request(id, &tx::Select),
            7 => self.request(id, &tx::Rollback),
            _ => self.request(id, &tx::Commit),
        }
    }

    fn consume(&mut self, id: ChannelId) -> bool {
        let (consumer_tag, no_ack) = (self.name().into(), self.script.flag());
        let consume = basic::Consume { consumer_tag, no_ack, ..Default::default() };
        let (on_message, stopped) = self.user.on_message();
        let mut on_message = Some(on_message);
        let what = For::Consumer(Rc::clone(&stopped));
        let tag = self.ask_for(id, what, |channel, wire, completion| {
            channel.consume(wire, consume, &mut on_message, completion)
        });
        assert_eq!(on_message.is_none(), tag.is_some(), "a closure is taken by what succeeds");
        let asked = tag.is_some();
        self.user.consumers.extend(tag.map(|tag| Consumer { channel: id, tag, stopped }));
        self.expect_if::<basic::Consume<'_>>(asked, id)
    }

    fn cancel(&mut self, id: ChannelId) -> bool {
        let index: usize = self.script.octet().into();
        let consumer_tag = match self.user.consumers.get(index) {
            Some(consumer) => consumer.tag.clone(),
            None => self.name().into(),
        };
        let cancel = basic::Cancel { consumer_tag };
        let asked = self.ask_for(id, For::Reply, |channel, wire, completion| {
            channel.cancel(wire, &cancel, completion)
        });
        if asked.is_some() {
            self.user.stop(|c| c.channel == id && c.tag == cancel.consumer_tag);
        }
        self.expect_if::<basic::Cancel<'_>>(asked.is_some(), id)
    }

    fn publish(&mut self, id: ChannelId) -> bool {
        let (routing_key, sort) = (self.name(), self.script.octet());
        let (shared, mandatory) = (sort & 1 == 1, sort & 2 == 2);
        let publish =
            basic::Publish { routing_key: routing_key.into(), mandatory, ..Default::default() };
        let pattern = pattern(0, self.size().min(BODY_MAX));
        let app_id = self.name();
        let properties = BasicProperties { app_id: Some(app_id.into()), ..Default::default() };
        self.weight += pattern.len();
        let has_room = self.machine.counters().buffered_out < self.high_water_mark;
        let mut body = if shared { Body::from(pattern.to_vec()) } else { Body::from(pattern) };
        let published: Result<u64, PublishError> =
            self.work(id, |channel, wire| channel.publish(wire, &publish, &properties, &mut body));
        match published {
            Ok(number) => {
                self.will_come::<basic::Publish<'_>>(id, pattern.len() as u64);
                self.user.published(id, number);
                if mandatory {
                    let size = pattern.len();
                    self.user.mandatory.push(Published { channel: id, routing_key, app_id, size });
                }
            }
            Err(PublishError::Full) if !has_room => {
                self.user.is_full = true;
                self.user.refused += 1;
            }
            // The broker has paused the channel, which nobody but a stranger does.
            Err(PublishError::Full) => assert!(self.peer.is_dishonest, "there was room"),
            Err(_) => {}
        }
        published.is_ok()
    }

    fn confirm(&mut self, id: ChannelId) -> bool {
        let (on_confirm, confirms) = self.user.on_confirm();
        let mut on_confirm = Some(Rc::new(RefCell::new(on_confirm)) as _);
        let asked = self.ask_for(id, For::Reply, |channel, wire, completion| {
            channel.confirm_delivery(wire, &mut on_confirm, completion)
        });
        assert_eq!(on_confirm.is_none(), asked.is_some(), "a closure is taken by what succeeds");
        if asked.is_some() {
            self.user.confirms.push((id, confirms));
        }
        self.expect_if::<confirm::Select>(asked.is_some(), id)
    }

    fn await_confirms(&mut self, id: ChannelId) -> bool {
        let (on_confirmed, calls) = self.user.on_confirmed();
        let mut on_confirmed = Some(on_confirmed);
        let now = self.now;
        let asked = self
            .work(id, |channel, wire| channel.when_confirmed(wire, now, &mut on_confirmed))
            .is_ok();
        assert_eq!(on_confirmed.is_none(), asked, "a closure is taken by what succeeds");
        if asked {
            self.user.will_complete(calls);
        }
        asked
    }
}
