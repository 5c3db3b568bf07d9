//! A machine, a broker played by the test, and a clock that moves when told.

use std::cell::RefCell;
use std::io::IoSlice;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::broker;
use crate::channel::{
    Body, Channel, ChannelId, ChannelState, Completion, Confirm, ConfirmSummary, Delivery,
    OnConfirmed, OnMessage, PublishOutcome,
};
use crate::connection::machine::{Limit, Machine};
use crate::connection::sasl::{OnChallenge, answered_at_once};
use crate::connection::{Challenge, Connection, ConnectionParameters, Event, Input, Wire};
use crate::error::{Error, Misuse, PublishError, StreamLost};
use crate::protocol::connection::UpdateSecret;
use crate::protocol::{BasicProperties, EncodeMethod, Request, ShortStr, basic};

/// What a loop reads into. What stays unparsed must fit it, with room for more.
pub(super) const READ_BUFFER: usize = 256 * 1024;

/// What the user was told.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Happened {
    Opened,
    Closed {
        error: Error,
        was_open: bool,
    },
    /// The request of that label, and the name of its reply.
    Replied(String, Result<&'static str, Error>),
    Got(String, Result<Option<String>, Error>),
    /// Channel, the consumer's label, delivery tag, body.
    Delivered(u16, String, u64, String),
    Returned(u16, String),
    Cancelled(u16, String),
    /// Channel, sequence number, outcome; the cause of a loss is told by `ChannelClosed`.
    Confirmed(u16, u64, &'static str),
    AllConfirmed(String, Result<ConfirmSummary, Error>),
    Writable(u16),
    ChannelClosed(u16, Error),
    ConnectionWritable,
    Blocked(String),
    Unblocked,
    SecretUpdated(String, Result<(), Error>),
}

type Log = Rc<RefCell<Vec<Happened>>>;

pub(super) struct Pair {
    pub(super) machine: Machine,
    pub(super) now: Instant,
    /// What has come and is not parsed.
    pub(super) unparsed: Vec<u8>,
    log: Log,
    /// The credentials take their time: the test answers for them.
    pub(super) patient: bool,
    on_challenge: Option<OnChallenge>,
    /// Deliveries that come whole take the short way, as the driver has it.
    pub(super) short_way: bool,
}

impl Pair {
    /// Nothing is connected yet.
    pub(super) fn with(parameters: ConnectionParameters) -> Self {
        Self {
            machine: Machine::new(parameters),
            now: Instant::now(),
            unparsed: Vec::new(),
            log: Log::default(),
            patient: false,
            on_challenge: None,
            short_way: true,
        }
    }

    pub(super) fn connect(&mut self) {
        let limit = Limit::starting(self.now, self.machine.parameters.stack_timeout());
        self.machine.connected(limit);
    }

    /// The stream is connected, and the header written.
    pub(super) fn connected() -> Self {
        let mut pair = Self::with(ConnectionParameters::default());
        pair.connect();
        pair
    }

    /// Open, with everything so far read and seen.
    pub(super) fn open() -> Self {
        Self::tuned(2047, 131_072)
    }

    /// Open, with these limits of the broker's.
    pub(super) fn tuned(channel_max: u16, frame_max: u32) -> Self {
        Self::opened(ConnectionParameters::default(), channel_max, frame_max)
    }

    /// Open, by these parameters.
    pub(super) fn open_with(parameters: ConnectionParameters) -> Self {
        Self::opened(parameters, 2047, 131_072)
    }

    fn opened(parameters: ConnectionParameters, channel_max: u16, frame_max: u32) -> Self {
        let mut pair = Self::with(parameters);
        pair.connect();
        pair.feed(&broker::start());
        pair.feed(&broker::tune(channel_max, frame_max));
        pair.feed(&broker::open_ok());
        assert_eq!(pair.happened(), [Happened::Opened]);
        pair.sent();
        pair
    }

    /// Open, with one open channel, everything so far read and seen.
    pub(super) fn with_channel() -> (Self, ChannelId) {
        let mut pair = Self::open();
        let channel = pair.open_channel();
        (pair, channel)
    }

    // The broker's side.

    /// Bytes come, in one read.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.machine.received(self.now);
        }
        self.unparsed.extend_from_slice(bytes);
        let buffer: Arc<[u8]> = Arc::from(std::mem::take(&mut self.unparsed));
        let mut input = Input::new(&buffer, buffer.len());
        while let Some(event) = self.machine.next_by(self.short_way, &mut input) {
            self.deliver(event);
        }
        if !self.machine.is_closed() {
            self.unparsed.extend_from_slice(input.rest());
        }
        assert!(self.unparsed.len() < READ_BUFFER, "nothing more could ever be read");
    }

    /// Bytes come in reads of that size.
    pub(super) fn dribble(&mut self, bytes: &[u8], size: usize) {
        for read in bytes.chunks(size) {
            self.feed(read);
        }
    }

    /// Nothing comes, but what happened is told, as the loop would.
    pub(super) fn settle(&mut self) {
        self.feed(&[]);
    }

    pub(super) fn lose(&mut self) {
        self.machine.lost(StreamLost::EndOfStream);
        self.settle();
    }

    /// Everything that was written since the last time.
    pub(super) fn sent(&mut self) -> Vec<u8> {
        let output = self.machine.output();
        let mut sent = Vec::new();
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); 4];
            let used = output.slices(&mut slices);
            let before = sent.len();
            slices[..used].iter().for_each(|slice| sent.extend_from_slice(slice));
            let count = sent.len() - before;
            output.advance(count);
        }
        if !sent.is_empty() {
            self.machine.sent();
        }
        sent
    }

    /// The names of all frames that were written since the last time.
    pub(super) fn sent_names(&mut self) -> Vec<String> {
        broker::names(&self.sent())
    }

    // The clock.

    /// Lets time pass, and tells the machine so, as the loop would: never before its deadline.
    pub(super) fn wait(&mut self, time: Duration) {
        self.now += time;
        if self.machine.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.machine.deadline_passed(self.now);
        }
        self.settle();
    }

    // The user's side.

    /// What the user was told since the last time.
    pub(super) fn happened(&mut self) -> Vec<Happened> {
        self.log.take()
    }

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

    /// Has the credentials answer, as the loop would.
    pub(super) fn answer(&mut self, challenge: Challenge) {
        let answered = match challenge {
            Challenge::Start => {
                let credentials = self.machine.credentials();
                if !self.machine.choose(credentials.mechanism()) {
                    return;
                }
                answered_at_once(|answer| credentials.start(answer))
            }
            Challenge::Secure(challenge) => {
                let on_challenge = self.on_challenge.take().expect("they had more to say");
                answered_at_once(|answer| on_challenge(&challenge, answer))
            }
        };
        let response = answered.expect("an answer at once").expect("a response");
        self.on_challenge = response.on_challenge;
        self.machine.respond(response.octets);
    }

    pub(super) fn update_secret(&mut self, label: &str, reason: &str) -> Result<(), Misuse> {
        let (log, name) = (Rc::clone(&self.log), label.to_owned());
        let mut on_updated = Some(Box::new(move |_: &Connection, result| {
            log.borrow_mut().push(Happened::SecretUpdated(name, result));
        }) as _);
        let method = UpdateSecret { new_secret: label.into(), reason: reason.into() };
        self.machine.update_secret(self.now, &method, &mut on_updated)
    }

    fn deliver(&mut self, event: Event<'_>) {
        let handle = |id| Channel::new(Weak::new(), id);
        let happened = match event {
            Event::Challenged(challenge) => {
                if !self.patient {
                    self.answer(challenge);
                }
                return;
            }
            Event::Opened => Happened::Opened,
            Event::Blocked { reason } => Happened::Blocked(reason.to_string()),
            Event::Unblocked => Happened::Unblocked,
            Event::SecretUpdated { callback, result } => {
                return callback(&Connection::new(Weak::new()), result);
            }
            Event::ConnectionWritable => Happened::ConnectionWritable,
            Event::Closed { error, was_open } => Happened::Closed { error, was_open },
            Event::Replied { channel, callback, result } => {
                return callback(&handle(channel), result);
            }
            Event::Got { channel, callback, result } => return callback(&handle(channel), result),
            Event::Delivered { channel, on_message, delivery } => {
                return (*on_message.borrow_mut())(&handle(channel), &delivery);
            }
            Event::Returned { channel, message } => {
                Happened::Returned(channel.number, digest(message.body()))
            }
            Event::Confirmed { channel } => {
                let on_confirm = self.machine.channel(channel).unwrap().on_confirm().unwrap();
                while let Some(confirm) = self.machine.next_confirm(channel) {
                    (*on_confirm.borrow_mut())(&handle(channel), confirm);
                }
                return;
            }
            Event::AllConfirmed { channel, callback, result } => {
                return callback(&handle(channel), result);
            }
            Event::Unconfirmed(mut unconfirmed) => {
                let channel = &handle(unconfirmed.channel);
                while let Some(tell) = unconfirmed.tell_next(channel) {
                    tell();
                }
                return;
            }
            Event::Writable { channel } => Happened::Writable(channel.number),
            Event::Cancelled { channel, consumer_tag } => {
                Happened::Cancelled(channel.number, consumer_tag.to_string())
            }
            Event::ChannelClosed { channel, callbacks, error } => {
                for callback in callbacks {
                    callback(&handle(channel), error.clone());
                }
                Happened::ChannelClosed(channel.number, error)
            }
            Event::Released(closures) => return drop(closures),
        };
        self.log.borrow_mut().push(happened);
    }
}

/// A body as a text that can be compared and printed.
pub(super) fn digest(body: &[u8]) -> String {
    if body.len() <= 32 {
        return body.escape_ascii().to_string();
    }
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{} bytes, hash {hash:x}", body.len())
}

/// Bytes of which no two neighbours are alike, so that none can go missing unseen.
pub(super) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

pub(super) fn replied(label: &str, reply: &'static str) -> Happened {
    Happened::Replied(label.to_owned(), Ok(reply))
}

pub(super) fn failed(label: &str, error: &Error) -> Happened {
    Happened::Replied(label.to_owned(), Err(error.clone()))
}

pub(super) fn delivered(channel: u16, label: &str, tag: u64, body: &[u8]) -> Happened {
    Happened::Delivered(channel, label.to_owned(), tag, digest(body))
}
