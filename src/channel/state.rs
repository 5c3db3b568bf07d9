//! One channel as a state machine without I/O: methods and content in, events out.

use std::collections::VecDeque;
use std::time::Duration;

use super::callbacks::{Completion, OnCancel, OnClose, OnReturn, OnWritable};
use super::confirms::Confirms;
use super::consumers::Consumers;
use super::content::{Assembly, Content, ContentMethod};
use super::message::Body;
use super::publish::encode_publish;
use super::requests::{Requests, Unanswered, Undo};
use super::unacked::Unacked;
use crate::connection::{Event, OnEnding, Room, Undelivered, Wire};
use crate::error::{Closed, Error, Misuse, ProtocolError, PublishError};
use crate::protocol::{
    BasicProperties, EncodeError, EncodeMethod, Method, basic, channel, confirm, encode_method,
};

/// A channel's number, and which of those that had the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChannelId {
    pub(crate) number: u16,
    pub(crate) generation: u32,
}

pub(super) enum State {
    /// Open is on the wire.
    Opening,
    Open,
    /// The user has closed it: Close is on the wire, or waits behind requests.
    Closing(Box<Closed>),
}

/// What came of a frame of content.
#[expect(clippy::large_enum_variant, reason = "returned and taken apart at once, never kept")]
pub(crate) enum Taken {
    /// There is more to come.
    Part,
    /// It completes a message: something to tell, if anybody wants it.
    Whole(Option<Event<'static>>),
    /// The message is too large: the channel is to [refuse](ChannelState::refuse_content) it.
    TooLarge,
}

/// What a method did to its channel.
pub(crate) enum Outcome<'b> {
    /// Nothing to tell at once; perhaps events were queued.
    Nothing,
    /// Something to tell, before the events that were queued.
    Event(Event<'b>),
    /// The channel has ended, with this reason: it is to be removed and `end`ed.
    Ended(Error),
    /// Content follows this method.
    Content(ContentMethod<'b>),
}

/// The closures that are called for the channel as a whole.
#[derive(Default)]
pub(crate) struct Observers {
    pub(crate) on_close: Vec<OnClose>,
    /// Called before those of `on_close`.
    pub(crate) on_ending: Option<OnEnding>,
    pub(crate) on_return: Vec<OnReturn>,
    pub(crate) on_cancel: Vec<OnCancel>,
    pub(crate) on_writable: Vec<OnWritable>,
}

/// In the order of how often it is looked at: of thousands of channels that are served in turn, each
/// line of the cache that one takes costs as much as a tenth of a message. A publish takes one.
#[repr(C, align(64))]
pub(crate) struct ChannelState {
    pub(crate) id: ChannelId,
    pub(super) state: State,
    pub(super) assembly: Option<Box<Assembly>>,
    /// From confirm.select on.
    pub(super) confirms: Option<Box<Confirms>>,
    /// How many messages were published; in confirm mode, before that.
    published: u64,
    /// The broker has asked for no more publishes for now.
    is_paused: bool,
    /// A publish was refused for that, or since too much waits to be sent on the connection.
    wants_room: bool,
    /// It has ended for its user: only its number is in use, until the broker answers Close.
    pub(super) is_abandoned: bool,
    pub(super) requests: Requests,
    pub(super) unacked: Unacked,
    pub(crate) consumers: Consumers,
    /// What may be unconfirmed.
    pub(super) room: Room,
    /// Of requests that are made from now on.
    pub(super) request_timeout: Option<Duration>,
    pub(crate) observers: Observers,
}

impl ChannelState {
    /// A channel whose Open is sent.
    pub(crate) fn open(
        id: ChannelId,
        wire: &mut Wire,
        on_open: &mut Option<Completion>,
    ) -> Result<Self, Misuse> {
        let mut channel = Self {
            id,
            state: State::Opening,
            requests: Requests::default(),
            consumers: Consumers::default(),
            observers: Observers::default(),
            assembly: None,
            confirms: None,
            unacked: Unacked::default(),
            room: Room::of(usize::MAX),
            is_paused: false,
            wants_room: false,
            published: 0,
            request_timeout: None,
            is_abandoned: false,
        };
        channel.send(wire, &channel::Open {}, on_open)?;
        channel.requests.undo_last_by(Undo::Close);
        Ok(channel)
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing(_))
    }

    /// Whether nothing of it waits for the broker.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_abandoned || !self.requests.is_awaited()
    }

    pub(super) fn ensure_open(&self) -> Result<(), Misuse> {
        if self.is_open() { Ok(()) } else { Err(Misuse::ChannelNotOpen) }
    }

    pub(super) fn send<M: EncodeMethod>(
        &mut self,
        wire: &mut Wire,
        method: &M,
        completion: &mut Option<Completion>,
    ) -> Result<(), Misuse> {
        Ok(self.requests.push(wire, self.id.number, method, completion)?)
    }

    /// Sends a synchronous method, now or in its turn. `completion` is taken only on success.
    pub(crate) fn request<M: EncodeMethod>(
        &mut self,
        wire: &mut Wire,
        method: &M,
        completion: &mut Option<Completion>,
    ) -> Result<(), Misuse> {
        self.ensure_open()?;
        self.send(wire, method, completion)
    }

    /// Fetches a message. `completion` is taken only on success.
    pub(crate) fn get(
        &mut self,
        wire: &mut Wire,
        method: &basic::Get<'_>,
        completion: &mut Option<Completion>,
    ) -> Result<(), Misuse> {
        self.request(wire, method, completion)?;
        if !method.no_ack {
            self.requests.undo_last_by(Undo::Requeue);
        }
        Ok(())
    }

    /// Sends a method that has no reply, in its place behind waiting requests.
    #[inline]
    pub(crate) fn tell<M: EncodeMethod>(
        &mut self,
        wire: &mut Wire,
        method: &M,
    ) -> Result<(), Misuse> {
        self.ensure_open()?;
        Ok(self.put(wire, method)?)
    }

    /// Sends an acknowledgement or refusal of a delivery, or with `multiple` of all up to it.
    #[inline]
    pub(crate) fn settle<M: EncodeMethod>(
        &mut self,
        wire: &mut Wire,
        method: &M,
        delivery_tag: u64,
        multiple: bool,
    ) -> Result<(), Misuse> {
        self.tell(wire, method)?;
        self.unacked.settle(delivery_tag, multiple);
        Ok(())
    }

    /// How many deliveries are not settled.
    pub(crate) fn unacked(&self) -> u64 {
        self.unacked.len()
    }

    #[inline]
    pub(super) fn put<M: EncodeMethod>(
        &mut self,
        wire: &mut Wire,
        method: &M,
    ) -> Result<(), EncodeError> {
        let number = self.id.number;
        self.requests.put(wire, Unanswered::Acknowledgement, |output, frame_max| {
            encode_method(output.encoded(), frame_max, number, method)?;
            Ok(1)
        })
    }

    /// Refuses what [`publish`](Self::publish) would refuse for want of room. Whoever is refused is
    /// told when there is some.
    #[inline]
    pub(super) fn ensure_room(&mut self, wire: &mut Wire) -> Result<(), PublishError> {
        self.ensure_open()?;
        let has_room = wire.has_room();
        if self.is_paused || !has_room {
            self.wants_room = true;
            return Err(PublishError::Full);
        }
        self.ensure_few_unconfirmed()
    }

    /// Sends a message, in its place behind waiting requests; gives its sequence number.
    #[inline]
    pub(crate) fn publish(
        &mut self,
        wire: &mut Wire,
        method: &basic::Publish<'_>,
        properties: &BasicProperties<'_>,
        body: &mut Body<'_>,
    ) -> Result<u64, PublishError> {
        self.ensure_room(wire)?;
        let fingerprint = self.fingerprint(method, properties, body);
        let number = self.id.number;
        self.requests.put(wire, Unanswered::Publish, |output, frame_max| {
            encode_publish(output, number, frame_max, method, properties, body)
        })?;
        wire.published += 1;
        Ok(match &mut self.confirms {
            Some(confirms) => confirms.published(fingerprint),
            None => {
                self.published += 1;
                self.published
            }
        })
    }

    /// Whether our Close has been sent, and not been answered.
    pub(crate) fn awaits_close_ok(&self) -> bool {
        self.requests.awaits::<channel::Close<'_>>()
    }

    /// Takes a method that the broker sent on this channel.
    pub(crate) fn on_method<'b>(
        &mut self,
        wire: &mut Wire,
        method: Method<'b>,
    ) -> Result<Outcome<'b>, ProtocolError> {
        let channel = self.id.number;
        let is_close = matches!(method, Method::Channel(channel::Method::Close(_)));
        if self.assembly.is_some() && !is_close {
            return Err(ProtocolError::UnexpectedFrame { channel, frame: "method in a content" });
        }
        let close_is_sent = self.awaits_close_ok();
        match method {
            Method::Channel(channel::Method::Close(close)) => {
                Ok(self.closed_by_broker(wire, &close))
            }
            Method::Channel(channel::Method::CloseOk(_)) if close_is_sent => {
                self.requests.complete(method.ids(), wire);
                match &self.state {
                    State::Closing(reason) => {
                        Ok(Outcome::Ended(Error::ChannelClosed((**reason).clone())))
                    }
                    _ => Ok(Outcome::Nothing),
                }
            }
            // It answers a Close that crossed the broker's, on the channel that had this number
            // before, since no other was free.
            Method::Channel(channel::Method::CloseOk(_))
                if self.requests.awaits::<channel::Open>() =>
            {
                Ok(Outcome::Nothing)
            }
            Method::Basic(basic::Method::Ack(_) | basic::Method::Nack(_)) if self.is_abandoned => {
                Ok(Outcome::Nothing)
            }
            // What became of a publish is told until the channel's end.
            Method::Basic(basic::Method::Ack(basic::Ack { delivery_tag, multiple })) => {
                self.on_acknowledgement("basic.ack", true, delivery_tag, multiple)
            }
            Method::Basic(basic::Method::Nack(basic::Nack { delivery_tag, multiple, .. })) => {
                self.on_acknowledgement("basic.nack", false, delivery_tag, multiple)
            }
            Method::Basic(basic::Method::Return(method)) => {
                Ok(Outcome::Content(ContentMethod::Return(method)))
            }
            // What was under way when Close was sent. Content frames are dropped for want of a
            // method before them.
            _ if close_is_sent => Ok(Outcome::Nothing),
            Method::Channel(channel::Method::Flow(channel::Flow { active })) => {
                // At once: behind a Close that waits it would come when the channel has gone.
                let reply = channel::FlowOk { active };
                wire.tell(channel, &reply);
                self.is_paused = !active;
                self.tell_of_connection_room(&mut wire.events);
                Ok(Outcome::Nothing)
            }
            Method::Basic(basic::Method::Deliver(method)) => {
                Ok(Outcome::Content(ContentMethod::Deliver(method)))
            }
            Method::Basic(basic::Method::GetOk(method))
                if self.requests.awaits::<basic::Get<'_>>() =>
            {
                Ok(Outcome::Content(ContentMethod::GetOk(method)))
            }
            Method::Basic(basic::Method::Cancel(cancel)) => Ok(self.cancelled(wire, cancel)),
            reply => self.replied(wire, reply),
        }
    }

    fn replied<'b>(
        &mut self,
        wire: &mut Wire,
        reply: Method<'b>,
    ) -> Result<Outcome<'b>, ProtocolError> {
        let unexpected =
            ProtocolError::UnexpectedMethod { channel: self.id.number, method: reply.name() };
        let Some(pending) = self.requests.complete(reply.ids(), wire) else {
            return Err(unexpected);
        };
        let channel = self.id;
        match &reply {
            Method::Channel(channel::Method::OpenOk(_)) if !self.is_closing() => {
                self.state = State::Open;
            }
            Method::Basic(basic::Method::CancelOk(ok)) => {
                let on_message = self.consumers.remove_cancelled(ok.consumer_tag.as_bytes());
                wire.events.push_back(Event::Released(Box::new(on_message)));
            }
            Method::Confirm(confirm::Method::SelectOk(_)) => self.confirms_selected(),
            Method::Basic(basic::Method::RecoverOk(_)) => self.unacked.clear(),
            _ => {}
        }
        let event = match pending.completion {
            None => return Ok(Outcome::Nothing),
            Some(Completion::Reply(callback)) => {
                let closed = match (&reply, &self.state) {
                    (Method::Channel(channel::Method::OpenOk(_)), State::Closing(reason)) => {
                        Some(Error::ChannelClosed((**reason).clone()))
                    }
                    _ => None,
                };
                Event::Replied { channel, callback, result: closed.map_or(Ok(reply), Err) }
            }
            Some(Completion::Get(callback)) => Event::Got { channel, callback, result: Ok(None) },
            Some(Completion::Close) => return Err(unexpected),
        };
        Ok(Outcome::Event(event))
    }

    /// Takes a message that has come whole.
    #[inline]
    pub(crate) fn on_content<'b>(
        &mut self,
        wire: &mut Wire,
        method: ContentMethod<'b>,
        content: Content<'b>,
    ) -> Option<Event<'b>> {
        wire.received += 1;
        let channel = self.id;
        match method {
            ContentMethod::Deliver(method) => self.delivered(wire, method, content),
            ContentMethod::GetOk(method) => {
                let ids = (basic::GetOk::CLASS_ID, basic::GetOk::METHOD_ID);
                let pending = self.requests.complete(ids, wire)?;
                let no_ack = !matches!(pending.undo, Undo::Requeue);
                self.unacked.delivered(method.delivery_tag, no_ack);
                let Some(Completion::Get(callback)) = pending.completion else {
                    match pending.undo {
                        Undo::Requeue => self.requeue(wire, method.delivery_tag),
                        _ => log::warn!("lost the message of a basic.get that was answered late"),
                    }
                    return None;
                };
                Some(Event::Got { channel, callback, result: Ok(Some(content.with(method))) })
            }
            ContentMethod::Return(method) => {
                let message = content.with(method);
                self.note_return(&message);
                Some(Event::Returned { channel, message })
            }
        }
    }

    /// What was published here and is not known to have arrived.
    pub(crate) fn undelivered(&self) -> Undelivered {
        let unconfirmed = self.unconfirmed() as u64;
        Undelivered { unconfirmed, ..self.requests.undelivered() }
    }

    /// There is room on the connection again, or the broker lets publishes through again.
    pub(crate) fn tell_of_connection_room(&mut self, events: &mut VecDeque<Event<'static>>) {
        if !self.is_paused && std::mem::take(&mut self.wants_room) {
            events.push_back(Event::Writable { channel: self.id });
        }
    }

    /// Starts to put a message together.
    pub(crate) fn begin_content(&mut self, method: ContentMethod<'_>) {
        self.assembly = Some(Box::new(Assembly::new(method)));
    }

    /// Takes a content header or body frame; the message, if it completes one.
    pub(crate) fn on_content_frame(
        &mut self,
        wire: &mut Wire,
        is_header: bool,
        payload: &[u8],
    ) -> Result<Taken, ProtocolError> {
        let channel = self.id.number;
        let Some(assembly) = &mut self.assembly else {
            if self.requests.awaits::<channel::Close<'_>>() {
                return Ok(Taken::Part);
            }
            let frame = if is_header { "content header" } else { "content body" };
            return Err(ProtocolError::UnexpectedFrame { channel, frame });
        };
        if is_header {
            assembly.header(channel, payload)?;
        } else {
            assembly.body(channel, payload)?;
            wire.incomplete += payload.len();
        }
        if assembly.declared() > wire.max_message_size || wire.incomplete > wire.max_incomplete {
            return Ok(Taken::TooLarge);
        }
        let Some(assembly) = self.assembly.take_if(|assembly| assembly.is_complete()) else {
            return Ok(Taken::Part);
        };
        wire.incomplete -= assembly.received();
        let (method, content) = assembly.finish();
        Ok(Taken::Whole(self.on_content(wire, method, content)))
    }

    /// Whether what has come of a body frame of so many bytes may go to its message before the rest
    /// is there: a message waits for it, and is not refused for its length.
    pub(crate) fn takes_body(&self, wire: &Wire, size: usize) -> bool {
        let has_room = wire.incomplete.saturating_add(size) <= wire.max_incomplete;
        has_room && self.assembly.as_ref().is_some_and(|assembly| assembly.lacks(size))
    }

    /// Takes what has come of such a frame. Its end follows as an empty one.
    pub(crate) fn on_part_of_body(&mut self, wire: &mut Wire, part: &[u8]) {
        if let Some(assembly) = &mut self.assembly {
            assembly.append(part);
            wire.incomplete += part.len();
        }
    }

    /// Whether a message has begun to come.
    pub(crate) fn is_assembling(&self) -> bool {
        self.assembly.is_some()
    }

    /// Gives up a delivery that has begun to come: nobody will be told of it.
    pub(crate) fn forget_delivery_in_parts(&mut self, wire: &mut Wire) {
        if self.assembly.as_ref().is_some_and(|assembly| !assembly.is_return()) {
            self.forget_content(wire);
        }
    }
}
