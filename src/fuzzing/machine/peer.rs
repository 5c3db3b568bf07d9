//! The broker, as far as it reads: it sees that what the machine writes is AMQP, and remembers
//! what it has been asked.

use std::collections::{HashMap, VecDeque};
use std::sync::LazyLock;

use super::user::hash;
use crate::fuzzing::wire::{method, raw};
use crate::protocol::{
    ContentHeader, Frame, FrameKind, Method, PROTOCOL_HEADER, basic, channel, connection,
};

/// The ids of a class and a method.
type Ids = (u16, u16);

const CONNECTION_CLOSE: Ids = (10, 50);
const CHANNEL_OPEN: Ids = (20, 10);
const CHANNEL_CLOSE: Ids = (20, 40);
const BASIC_CANCEL: Ids = (60, 30);
const TX_COMMIT: Ids = (90, 20);

/// A synchronous method that has come and has no answer yet.
pub(super) struct Asked {
    channel: u16,
    ids: Ids,
    consumer_tag: Vec<u8>,
}

/// What is still to come of a message on a channel.
enum Content {
    Header { expected: u64 },
    Body { expected: u64, seen: u64 },
}

#[derive(Default)]
pub(super) struct Peer {
    unread: Vec<u8>,
    greeted: bool,
    /// From TuneOk on.
    frame_max: u32,
    contents: HashMap<u16, Content>,
    /// What the user has asked to be sent on each channel, in order; of a message its size too.
    expected: HashMap<u16, VecDeque<(Ids, u64)>>,
    pub(super) asked: VecDeque<Asked>,
    /// It has said something that it was not asked for, so that `asked` may hold what is answered.
    pub(super) is_dishonest: bool,
    /// The user does not wait for ever, nor takes messages of any size: what waits may not be sent
    /// at all, and the machine cancels and closes by itself.
    pub(super) is_hurried: bool,
    /// Close has come, or CloseOk.
    ends: u8,
    /// Messages that have come whole.
    pub(super) messages: u64,
    /// Of all frames that have come.
    pub(super) hash: u64,
}

/// The longest body that anybody sends.
pub(super) const BODY_MAX: usize = 300_000;

/// What bodies are made of, whoever sends them.
pub(super) fn pattern(start: u64, length: usize) -> &'static [u8] {
    static PATTERN: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..BODY_MAX + 251).map(|index| (index % 251) as u8).collect());
    &PATTERN[(start % 251) as usize..][..length]
}

impl Peer {
    pub(super) fn read(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        let unread = std::mem::take(&mut self.unread);
        let mut rest = &unread[..];
        if !self.greeted && rest.len() >= PROTOCOL_HEADER.len() {
            rest = rest.strip_prefix(&PROTOCOL_HEADER).expect("a protocol header comes first");
            self.greeted = true;
        }
        while self.greeted
            && let Some((frame, size)) = Frame::parse(rest, 0).expect("only frames are written")
        {
            self.frame(&frame, size);
            rest = &rest[size..];
        }
        self.unread = rest.to_vec();
    }

    /// Nothing more comes: whatever came was whole.
    pub(super) fn end(&self) {
        assert!(self.unread.is_empty(), "a frame was cut: {:?}", self.unread);
    }

    fn frame(&mut self, frame: &Frame<'_>, size: usize) {
        assert!(frame.channel == 0 || size <= self.frame_max as usize, "{size} bytes");
        let head = if frame.kind == FrameKind::Body { &[] } else { frame.payload };
        self.hash = hash(self.hash ^ size as u64 ^ u64::from(frame.channel) << 32, head);
        let content = self.contents.remove(&frame.channel);
        match (frame.kind, content) {
            (FrameKind::Heartbeat, content) => {
                assert_eq!((frame.channel, frame.payload), (0, &b""[..]));
                // Who waits for CloseOk still lives.
                assert!(self.ends < 2, "a heartbeat after CloseOk");
                assert!(content.is_none());
            }
            (FrameKind::Method, None) => {
                let method = Method::decode(frame.payload).expect("only methods are written");
                self.method(frame.channel, &method);
            }
            (FrameKind::Header, Some(Content::Header { expected })) => {
                let header = ContentHeader::decode(frame.payload).expect("a header");
                assert_eq!(header.body_size, expected, "another message");
                header.decode_properties().expect("properties");
                self.expect_body(frame.channel, header.body_size, 0);
            }
            (FrameKind::Body, Some(Content::Body { expected, seen })) => {
                assert!(!frame.payload.is_empty(), "an empty body frame");
                assert!(frame.payload == pattern(seen, frame.payload.len()), "another body");
                self.expect_body(frame.channel, expected, seen + frame.payload.len() as u64);
            }
            (kind, _) => panic!("{kind:?} out of place on channel {}", frame.channel),
        }
    }

    fn expect_body(&mut self, channel: u16, expected: u64, seen: u64) {
        assert!(seen <= expected, "a body of {seen} bytes where {expected} were announced");
        if seen == expected {
            self.messages += 1;
        } else {
            self.contents.insert(channel, Content::Body { expected, seen });
        }
    }

    /// Takes a request to answer: of its channel the first, whichever of that was meant.
    pub(super) fn take_asked(&mut self, index: usize) -> Option<Asked> {
        let channel = self.asked.get(index)?.channel;
        let first = self.asked.iter().position(|asked| asked.channel == channel)?;
        self.asked.remove(first)
    }

    /// The user has asked for this to be sent. A message's size, or 0.
    pub(super) fn will_come(&mut self, channel: u16, ids: Ids, size: u64) {
        self.expected.entry(channel).or_default().push_back((ids, size));
    }

    /// Sees that a method comes in its turn. Gives the size of the message that it brings.
    fn expect(&mut self, channel: u16, method: &Method<'_>) -> u64 {
        if channel == 0 {
            return 0;
        }
        let name = method.name();
        let is_committing = |asked: &Asked| asked.channel == channel && asked.ids == TX_COMMIT;
        let answers = matches!(method, Method::Channel(_));
        let may_come = answers || self.is_dishonest || !self.asked.iter().any(is_committing);
        assert!(may_come, "{name} while a transaction is committed");
        if is_own(method) {
            return 0;
        }
        let expected = self.expected.entry(channel).or_default();
        let is_next = expected.front().is_some_and(|(ids, _)| *ids == method.ids());
        if self.is_hurried && !is_next && matches!(method.ids(), CHANNEL_CLOSE | BASIC_CANCEL) {
            return 0;
        }
        // What waited on the channel that had the number before never came.
        if method.ids() == CHANNEL_OPEN || self.is_hurried {
            while expected.front().is_some_and(|(ids, _)| *ids != method.ids()) {
                expected.pop_front();
            }
        }
        let (ids, size) = expected.pop_front().expect("only what was asked for is sent");
        assert_eq!(ids, method.ids(), "{name} out of turn");
        size
    }

    fn method(&mut self, channel: u16, method: &Method<'_>) {
        match (self.ends, method) {
            (0, _) => {}
            (1, Method::Connection(connection::Method::CloseOk(_))) => {}
            (ends, method) => panic!("{} after {ends} ends", method.name()),
        }
        let size = self.expect(channel, method);
        let mut consumer_tag = Vec::new();
        match method {
            Method::Connection(connection::Method::TuneOk(tune)) => self.frame_max = tune.frame_max,
            Method::Connection(connection::Method::Close(_)) => self.ends = 1,
            Method::Connection(connection::Method::CloseOk(_)) => self.ends = 2,
            Method::Basic(basic::Method::Publish(_)) => {
                self.contents.insert(channel, Content::Header { expected: size });
            }
            Method::Basic(basic::Method::Consume(consume)) => {
                consumer_tag = consume.consumer_tag.as_bytes().to_vec();
            }
            Method::Basic(basic::Method::Cancel(cancel)) => {
                consumer_tag = cancel.consumer_tag.as_bytes().to_vec();
            }
            _ => {}
        }
        if !is_told(method) {
            let waits = |asked: &Asked| asked.channel == channel;
            let is_alone = method.ids() == CONNECTION_CLOSE || !self.asked.iter().any(waits);
            // Secrets that are not answered in time hold nothing, for RabbitMQ may never answer; and
            // a channel is closed at once for what is too large.
            let cannot_wait = channel == 0 || method.ids() == CHANNEL_CLOSE;
            let may_crowd = self.is_dishonest || self.is_hurried && cannot_wait;
            assert!(is_alone || may_crowd, "two requests at a time");
            self.asked.push_back(Asked { channel, ids: method.ids(), consumer_tag });
        }
    }
}

/// Whether the machine says it by itself. The user never requeues what it rejects.
fn is_own(method: &Method<'_>) -> bool {
    match method {
        Method::Channel(method) => {
            matches!(method, channel::Method::CloseOk(_) | channel::Method::FlowOk(_))
        }
        Method::Basic(basic::Method::Reject(reject)) => reject.requeue,
        _ => false,
    }
}

/// Whether no answer is due.
fn is_told(method: &Method<'_>) -> bool {
    match method {
        Method::Connection(method) => {
            !matches!(method, connection::Method::Close(_) | connection::Method::UpdateSecret(_))
        }
        Method::Channel(method) => {
            matches!(method, channel::Method::CloseOk(_) | channel::Method::FlowOk(_))
        }
        Method::Basic(method) => matches!(
            method,
            basic::Method::Publish(_)
                | basic::Method::Ack(_)
                | basic::Method::Nack(_)
                | basic::Method::Reject(_)
        ),
        _ => false,
    }
}

impl Asked {
    /// The answer, with zeros for values. Of a get: that there is nothing.
    pub(super) fn answer(self) -> Vec<u8> {
        let consumer_tag = self.consumer_tag.as_slice().into();
        match self.ids {
            (60, 20) => method(self.channel, &basic::ConsumeOk { consumer_tag }),
            (60, 30) => method(self.channel, &basic::CancelOk { consumer_tag }),
            (60, 70) => method(self.channel, &basic::GetEmpty {}),
            (40, 40) => raw(1, self.channel, &[0, 40, 0, 51]),
            (class, id) => {
                let mut payload = vec![0; 32];
                payload[..2].copy_from_slice(&class.to_be_bytes());
                payload[2..4].copy_from_slice(&(id + 1).to_be_bytes());
                raw(1, self.channel, &payload)
            }
        }
    }

    /// For a get: the method of a message, without its content.
    pub(super) fn message(&self) -> Option<(u16, Vec<u8>)> {
        let get_ok = basic::GetOk { delivery_tag: 1, ..Default::default() };
        (self.ids == (60, 70)).then(|| (self.channel, method(self.channel, &get_ok)))
    }
}
