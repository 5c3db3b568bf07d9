//! One client of the stand-in broker.

use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use haypile::protocol::{
    FRAME_OVERHEAD, FieldTable, Method, PROTOCOL_HEADER, basic, channel, confirm, connection,
    encode_heartbeat, encode_method, exchange, queue, tx,
};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use super::flood::{Consumer, deliver};
use crate::Result;

/// As RabbitMQ's.
const FRAME_MAX: u32 = 131_072;

/// No more deliveries are made while so much waits to be sent.
const ENOUGH: usize = 60 * 1024;

/// So often large messages may leave before another client's turn.
const LARGE_AT_ONCE: usize = 4;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;

const PUBLISH: [u8; 4] = [0, 60, 0, 40];
const ACK: [u8; 4] = [0, 60, 0, 80];

#[derive(Default)]
struct Channel {
    confirms: bool,
    published: u64,
    confirmed: u64,
    /// Of unacknowledged deliveries; 0: no limit.
    prefetch: u64,
    delivered: u64,
    acknowledged: u64,
    /// A message that is to come back, as far as it has come.
    echo: Option<Echo>,
}

struct Echo {
    frames: Vec<u8>,
    left: Option<u64>,
}

pub struct Client {
    socket: TcpStream,
    greeted: bool,
    gone: bool,
    /// The start of a frame that has not come whole.
    cut: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
    /// The consumer whose large messages are leaving, and how much of them has left.
    large: Option<(usize, usize)>,
    blocked: bool,
    interest: EventFlags,
    /// By number.
    channels: Vec<Channel>,
    /// Those that have something to confirm.
    unconfirmed: Vec<u16>,
    consumers: Vec<Consumer>,
    /// Whose turn it is.
    next: usize,
    /// No consumer gets anything before there are so many.
    quorum: usize,
    frame_max: u32,
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Client {
    pub fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            greeted: false,
            gone: false,
            cut: Vec::new(),
            output: Vec::new(),
            sent: 0,
            large: None,
            blocked: false,
            interest: EventFlags::IN,
            channels: Vec::new(),
            unconfirmed: Vec::new(),
            consumers: Vec::new(),
            next: 0,
            quorum: 0,
            frame_max: FRAME_MAX,
        }
    }

    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Whether there is something to send that the socket would take.
    pub fn has_more(&self) -> bool {
        !self.blocked && self.may_deliver()
    }

    /// What to watch for from now on, if that is something else than before.
    pub fn new_interest(&mut self) -> Option<EventFlags> {
        let mut interest = EventFlags::IN;
        interest.set(EventFlags::OUT, self.blocked);
        let changed = interest != self.interest;
        self.interest = interest;
        changed.then_some(interest)
    }

    pub fn read(&mut self, buffer: &mut [u8]) {
        self.blocked = false;
        let cut = self.cut.len();
        buffer[..cut].copy_from_slice(&self.cut);
        let size = match rustix::io::read(&self.socket, &mut buffer[cut..]) {
            Ok(0) => return self.gone = true,
            Ok(size) => size,
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) => return self.gone = true,
        };
        let received = &buffer[..cut + size];
        match self.take(received) {
            Ok(taken) => {
                self.cut.clear();
                self.cut.extend_from_slice(&received[taken..]);
            }
            Err(error) => {
                eprintln!("broker: {error}");
                self.gone = true;
            }
        }
        self.confirm();
    }

    /// Makes deliveries and writes.
    pub fn write(&mut self) {
        for _ in 0..LARGE_AT_ONCE {
            self.deliver();
            let is_large = self.large.is_some();
            self.flush();
            if !is_large || self.blocked || self.gone {
                break;
            }
        }
    }

    /// Large messages that have begun to leave go before the output, others after it.
    fn flush(&mut self) {
        if self.large.is_some_and(|(_, sent)| sent > 0) {
            self.flush_large();
        }
        if self.is_stuck() {
            return;
        }
        let rest = &self.output[self.sent..];
        if !rest.is_empty() {
            let size = send(&self.socket, rest, &mut self.blocked, &mut self.gone);
            self.sent += size;
        }
        if self.sent == self.output.len() || self.sent >= ENOUGH {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
        if !self.is_stuck() {
            self.flush_large();
        }
    }

    fn flush_large(&mut self) {
        let Some((index, sent)) = self.large else { return };
        let rest = &self.consumers[index].current()[sent..];
        let size = send(&self.socket, rest, &mut self.blocked, &mut self.gone);
        self.large = (size < rest.len()).then_some((index, sent + size));
    }

    /// What is left of large messages is output as any other: their consumer goes.
    fn settle(&mut self) {
        let Some((index, sent)) = self.large.take() else { return };
        let rest = &self.consumers[index].current()[sent..];
        match sent {
            0 => self.output.extend_from_slice(rest),
            _ => drop(self.output.splice(self.sent..self.sent, rest.iter().copied())),
        }
    }

    fn is_stuck(&self) -> bool {
        self.blocked || self.gone
    }

    /// Takes all whole frames. Gives how many bytes they are.
    fn take(&mut self, received: &[u8]) -> Result<usize> {
        let mut at = 0;
        if !self.greeted {
            if received.len() < PROTOCOL_HEADER.len() {
                return Ok(0);
            }
            at = PROTOCOL_HEADER.len();
            self.greeted = true;
            self.say(0, &start())?;
        }
        while let Some(head) = received.get(at..at + 7) {
            let number = u16::from_be_bytes([head[1], head[2]]);
            let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
            let Some(frame) = received.get(at..at + size + FRAME_OVERHEAD) else { break };
            let payload = &frame[7..7 + size];
            match head[0] {
                METHOD if payload.starts_with(&PUBLISH) => self.on_publish(number, payload),
                METHOD if payload.starts_with(&ACK) => self.on_ack(number, payload),
                METHOD => self.on_method(number, Method::decode(payload)?)?,
                HEADER | BODY if self.consumers.is_empty() => {}
                HEADER | BODY => self.on_content(number, frame)?,
                HEARTBEAT => encode_heartbeat(&mut self.output),
                other => return Err(format!("a frame of type {other}").into()),
            }
            at += frame.len();
        }
        Ok(at)
    }

    fn on_publish(&mut self, number: u16, payload: &[u8]) {
        let Some(channel) = self.channels.get_mut(usize::from(number)) else { return };
        channel.published += 1;
        if channel.confirms && channel.published == channel.confirmed + 1 {
            self.unconfirmed.push(number);
        }
        // The ids and a reserved number, the exchange's length, the routing key's.
        if !self.consumers.is_empty() && payload[6] == 0 && payload[8..].starts_with(b"echo") {
            channel.echo = Some(Echo { frames: Vec::new(), left: None });
        }
    }

    fn on_ack(&mut self, number: u16, payload: &[u8]) {
        let Some(channel) = self.channels.get_mut(usize::from(number)) else { return };
        let mut tag = [0; 8];
        tag.copy_from_slice(&payload[4..12]);
        let multiple = payload[12] != 0;
        channel.acknowledged = match multiple {
            true => channel.acknowledged.max(u64::from_be_bytes(tag)),
            false => channel.acknowledged + 1,
        };
    }

    fn on_content(&mut self, number: u16, frame: &[u8]) -> Result<()> {
        let Some(channel) = self.channels.get_mut(usize::from(number)) else { return Ok(()) };
        let Some(echo) = &mut channel.echo else { return Ok(()) };
        echo.frames.extend_from_slice(frame);
        let left = match echo.left {
            None => {
                let mut size = [0; 8];
                size.copy_from_slice(&frame[11..19]);
                u64::from_be_bytes(size)
            }
            Some(left) => left - (frame.len() - FRAME_OVERHEAD) as u64,
        };
        echo.left = Some(left);
        if left > 0 {
            return Ok(());
        }
        let Some(Echo { frames, .. }) = channel.echo.take() else { return Ok(()) };
        let Some(consumer) = self.consumers.iter().find(|one| one.channel == number) else {
            return Ok(());
        };
        channel.delivered += 1;
        let method = deliver(&consumer.tag, channel.delivered);
        encode_method(&mut self.output, self.frame_max, number, &method)?;
        self.output.extend_from_slice(&frames);
        Ok(())
    }

    fn on_method(&mut self, number: u16, method: Method<'_>) -> Result<()> {
        match method {
            Method::Connection(connection::Method::StartOk(_)) => self.say(
                0,
                &connection::Tune { channel_max: 2047, frame_max: FRAME_MAX, heartbeat: 60 },
            ),
            Method::Connection(connection::Method::TuneOk(tune)) => {
                self.frame_max = tune.frame_max.min(FRAME_MAX);
                Ok(())
            }
            Method::Connection(connection::Method::Open(_)) => self.say(0, &connection::OpenOk {}),
            Method::Connection(connection::Method::Close(_)) => {
                self.say(0, &connection::CloseOk {})
            }
            Method::Channel(channel::Method::Open(_)) => {
                self.reset(number);
                self.say(number, &channel::OpenOk {})
            }
            Method::Channel(channel::Method::Close(_)) => {
                self.reset(number);
                self.settle();
                self.consumers.retain(|consumer| consumer.channel != number);
                self.say(number, &channel::CloseOk {})
            }
            Method::Confirm(confirm::Method::Select(_)) => {
                self.channel(number).confirms = true;
                self.say(number, &confirm::SelectOk {})
            }
            Method::Exchange(exchange::Method::Declare(_)) => {
                self.say(number, &exchange::DeclareOk {})
            }
            Method::Queue(queue::Method::Declare(declare)) => {
                let queue = declare.queue;
                let declared = queue::DeclareOk { queue, message_count: 0, consumer_count: 0 };
                self.say(number, &declared)
            }
            Method::Basic(basic::Method::Qos(qos)) => {
                self.channel(number).prefetch = qos.prefetch_count.into();
                self.say(number, &basic::QosOk {})
            }
            Method::Basic(basic::Method::Consume(consume)) => {
                let tag = match consume.consumer_tag.to_string() {
                    none if none.is_empty() => format!("ctag{}", self.consumers.len()),
                    tag => tag,
                };
                let consumer_tag = tag.clone().into();
                let queue = consume.queue.to_string();
                let consumer = Consumer::new(number, tag, &queue, self.frame_max)?;
                self.quorum = self.quorum.max(consumer.quorum);
                self.consumers.push(consumer);
                self.say(number, &basic::ConsumeOk { consumer_tag })
            }
            Method::Basic(basic::Method::Cancel(cancel)) => {
                let tag = cancel.consumer_tag.to_string();
                self.settle();
                self.consumers.retain(|consumer| consumer.tag != tag);
                self.say(number, &basic::CancelOk { consumer_tag: cancel.consumer_tag })
            }
            Method::Tx(tx::Method::Select(_)) => self.say(number, &tx::SelectOk {}),
            other => Err(format!("does not know {}", other.name()).into()),
        }
    }

    fn channel(&mut self, number: u16) -> &mut Channel {
        let index = usize::from(number);
        if self.channels.len() <= index {
            self.channels.resize_with(index + 1, Channel::default);
        }
        &mut self.channels[index]
    }

    fn reset(&mut self, number: u16) {
        *self.channel(number) = Channel::default();
    }

    fn say<M: haypile::protocol::EncodeMethod>(&mut self, number: u16, method: &M) -> Result<()> {
        Ok(encode_method(&mut self.output, self.frame_max, number, method)?)
    }

    fn confirm(&mut self) {
        for number in std::mem::take(&mut self.unconfirmed) {
            let Some(channel) = self.channels.get_mut(usize::from(number)) else { continue };
            channel.confirmed = channel.published;
            let ack = basic::Ack { delivery_tag: channel.published, multiple: true };
            if let Err(error) = self.say(number, &ack) {
                eprintln!("broker: {error}");
            }
        }
    }

    /// Whether a consumer is left that may get a message.
    fn may_deliver(&self) -> bool {
        self.consumers.len() >= self.quorum
            && self.consumers.iter().any(|one| {
                one.has_more()
                    && self.channels.get(usize::from(one.channel)).is_some_and(Channel::takes_more)
            })
    }

    /// Serves the consumers in turn, as long as it does not pile up.
    fn deliver(&mut self) {
        if self.consumers.len() < self.quorum {
            return;
        }
        let mut passed = 0;
        while passed < self.consumers.len()
            && self.large.is_none()
            && self.output.len() - self.sent < ENOUGH
        {
            self.next = if self.next + 1 < self.consumers.len() { self.next + 1 } else { 0 };
            let consumer = &mut self.consumers[self.next];
            let channel = self.channels.get_mut(usize::from(consumer.channel));
            match channel.filter(|channel| channel.takes_more() && consumer.has_more()) {
                Some(channel) => {
                    let first = channel.delivered + 1;
                    channel.delivered += consumer.advance(first, channel.room());
                    match consumer.is_large() {
                        true => self.large = Some((self.next, 0)),
                        false => self.output.extend_from_slice(consumer.current()),
                    }
                    passed = 0;
                }
                None => passed += 1,
            }
        }
    }
}

/// Gives how much the socket has taken.
fn send(socket: &TcpStream, bytes: &[u8], blocked: &mut bool, gone: &mut bool) -> usize {
    match rustix::io::write(socket, bytes) {
        Ok(size) => {
            *blocked = size < bytes.len();
            return size;
        }
        Err(Errno::AGAIN) => *blocked = true,
        Err(Errno::INTR) => {}
        Err(_) => *gone = true,
    }
    0
}

impl Channel {
    fn takes_more(&self) -> bool {
        self.room() > 0
    }

    /// For how many messages its prefetch has room.
    fn room(&self) -> u64 {
        match self.prefetch {
            0 => u64::MAX,
            prefetch => prefetch.saturating_sub(self.delivered - self.acknowledged),
        }
    }
}

fn start() -> connection::Start<'static> {
    connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties: capabilities().unwrap_or_default(),
        mechanisms: "PLAIN AMQPLAIN".into(),
        locales: "en_US".into(),
    }
}

/// Some clients refuse to do what a broker does not say that it can.
fn capabilities() -> Result<FieldTable<'static>> {
    let names = ["publisher_confirms", "basic.nack", "consumer_cancel_notify"];
    let mut known = FieldTable::new();
    for name in names {
        known.insert(name, true)?;
    }
    let mut properties = FieldTable::new();
    properties.insert("product", "stand-in")?;
    properties.insert("capabilities", known)?;
    Ok(properties)
}
