//! A machine, a broker played by the test, and a clock that moves when told. What its user asks is
//! in `asking`.

use std::cell::RefCell;
use std::io::IoSlice;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::broker;
use crate::channel::{Channel, ChannelId, ConfirmSummary};
use crate::connection::machine::{Limit, Machine};
use crate::connection::sasl::{OnChallenge, answered_at_once};
use crate::connection::{Challenge, Connection, ConnectionParameters, Event, Input};
use crate::error::{Error, StreamLost};

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

pub(super) type Log = Rc<RefCell<Vec<Happened>>>;

pub(super) struct Pair {
    pub(super) machine: Machine,
    pub(super) now: Instant,
    /// What has come and is not parsed.
    pub(super) unparsed: Vec<u8>,
    pub(super) log: Log,
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

    /// What the user was told since the last time.
    pub(super) fn happened(&mut self) -> Vec<Happened> {
        self.log.take()
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
            Event::ChannelClosed { channel, callbacks, error, .. } => {
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
