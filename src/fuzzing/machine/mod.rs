//! The whole state machine: a script has the broker send, the user ask, the loop write and time
//! pass, in any order and with the bytes cut anywhere.
//!
//! Each script is played twice, with the bytes as they are sent and cut into small reads: what the
//! user is told and what the machine writes must be the same.

mod asking;
mod peer;
pub(super) mod script;
mod telling;
mod user;

use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::peer::{BODY_MAX, Peer, pattern};
use self::script::{Op, Script};
use self::user::{Consumer, Note, User};
use super::memory::Watch;
use super::wire::{header, method, raw};
use crate::connection::{ConnectionParameters, Input, Limit, Machine};
use crate::error::StreamLost;
use crate::protocol::{FieldTable, basic, channel, connection, encode_heartbeat};

/// What a loop reads into. What stays unparsed must fit it, with room for more.
const READ_BUFFER: usize = 256 * 1024;

/// Memory that is taken whatever comes: the machine, the player, and what they begin with.
const AT_REST: usize = 64 * 1024;
/// Memory for each byte that comes or that the user asks to be sent: it lies in the read buffer, in
/// what is unparsed, in a message that is being put together and in the output, and vectors double.
const PER_BYTE: usize = 24;

/// Narrow bounds on what comes.
const MESSAGE_MAX: usize = 10_000;
const INCOMPLETE_MAX: usize = 12_000;

const WATER_MARKS: [(usize, usize); 4] =
    [(4 << 20, 16 << 20), (0, 1), (1000, 2000), (500, 200_000)];

/// Six octets of settings, then what is done.
pub fn run(data: &[u8]) {
    pattern(0, 0);
    let watch = Watch::start();
    let (whole, weight) = Play::new(data, false).run();
    assert!(watch.most() <= AT_REST + PER_BYTE * weight, "{} bytes for {weight}", watch.most());
    let (cut, _) = Play::new(data, true).run();
    assert_eq!(whole, cut, "cut reads make a difference");
}

struct Play<'d> {
    script: Script<'d>,
    machine: Machine,
    now: Instant,
    peer: Peer,
    user: User,
    /// The most bytes that a read gives.
    read_size: usize,
    unparsed: Vec<u8>,
    low_water_mark: usize,
    high_water_mark: usize,
    frame_max: u32,
    heartbeat: Option<Duration>,
    heard: Instant,
    /// The loop slept for too long since something was heard.
    overslept: bool,
    /// How many events have the user act from inside.
    inside: u8,
    is_cut: bool,
    /// Deliveries that come whole take the short way.
    short_way: bool,
    /// What the machine may make memory of: bytes that came, and those that the user handed over.
    weight: usize,
}

impl<'d> Play<'d> {
    fn new(data: &'d [u8], cut: bool) -> Self {
        let mut script = Script::new(data);
        let read_size = usize::from(script.octet()).max(1);
        let greeted = script.octet() & 15 != 0;
        let channel_max = script.pick(&[2047, 1, 3, 0]);
        let frame_max = script.pick(&[4096, 131_072, 8192, 0]);
        let heartbeat = script.pick(&[0, 1, 60, u16::MAX]);
        let bounds = script.octet();
        let mut parameters = ConnectionParameters::default();
        if bounds & 1 == 1 {
            parameters.set_stack_timeout(None).expect("it can be none");
        }
        if bounds & 8 == 8 {
            parameters.set_blocked_connection_timeout(Some(Duration::from_secs(5)));
        }
        let is_narrow = bounds & 16 == 16;
        let (message_max, incomplete_max) =
            if is_narrow { (MESSAGE_MAX, INCOMPLETE_MAX) } else { (usize::MAX, usize::MAX) };
        parameters.set_max_message_size(message_max).set_max_incomplete_size(incomplete_max);
        let (low, high) = WATER_MARKS[usize::from(bounds >> 1 & 3)];
        parameters.set_water_marks(low, high).expect("the one is lower");
        let now = Instant::now();
        let limit = Limit::starting(now, parameters.stack_timeout());
        let mut play = Self {
            script,
            machine: Machine::new(parameters),
            now,
            peer: Peer::default(),
            user: User::default(),
            read_size: if cut { read_size } else { usize::MAX },
            unparsed: Vec::new(),
            is_cut: cut,
            short_way: false,
            low_water_mark: low,
            high_water_mark: high,
            frame_max: 131_072,
            heartbeat: None,
            heard: now,
            overslept: false,
            inside: 0,
            weight: 0,
        };
        play.peer.is_hurried = is_narrow;
        play.user.message_max = message_max;
        play.machine.connected(limit);
        if greeted {
            play.greet(channel_max, frame_max, heartbeat);
            play.write(usize::MAX);
        }
        play
    }

    fn run(mut self) -> (Vec<Note>, usize) {
        while !self.script.is_over() {
            if let Some(op) = Op::read(&mut self.script) {
                self.step(op);
                self.settle();
                if let Op::Write = op {
                    self.is_consistent();
                }
            }
        }
        self.end()
    }

    /// What it says of itself is so.
    fn is_consistent(&self) {
        let (counters, undelivered) = (self.machine.counters(), self.machine.undelivered());
        assert_eq!(counters.messages_published, self.user.published);
        let unsent = self.user.published - self.peer.messages;
        assert_eq!(undelivered.unsent_messages, unsent, "messages that have not left");
        if self.machine.is_open() {
            // Channels that have ended are remembered by the one alone.
            let any_ended = self.user.channels.iter().any(|(_, ended)| *ended);
            let (unsent, buffered) = (undelivered.unsent_bytes, counters.buffered_out as u64);
            assert!(unsent == buffered || any_ended && unsent > buffered, "{unsent} {buffered}");
            let is_due = self.user.is_full && counters.buffered_out <= self.low_water_mark;
            assert!(!is_due, "there is room, and nobody is told");
        }
    }

    fn greet(&mut self, channel_max: u16, frame_max: u32, heartbeat: u16) {
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: FieldTable::default(),
            mechanisms: "AMQPLAIN PLAIN".into(),
            locales: "en_US".into(),
        };
        self.receive(&method(0, &start));
        self.receive(&method(0, &connection::Tune { channel_max, frame_max, heartbeat }));
        self.receive(&method(0, &connection::OpenOk {}));
        assert!(self.machine.is_open());
        self.frame_max = self.machine.limits().frame_max;
        self.heartbeat = (heartbeat > 0).then(|| Duration::from_secs(heartbeat.into()));
    }

    fn end(mut self) -> (Vec<Note>, usize) {
        if !self.machine.is_closed() {
            self.machine.lost(StreamLost::EndOfStream);
        }
        self.settle();
        self.is_consistent();
        self.is_over();
        self.write(usize::MAX);
        self.peer.end();
        self.user.note("written", 0, self.peer.hash);
        self.user.end();
        (self.user.notes.take(), self.weight)
    }

    /// Nothing happens after the end.
    fn is_over(&mut self) {
        assert!(self.machine.is_closed() && !self.machine.has_events());
        assert_eq!(self.machine.deadline(), None);
        let waiting = self.machine.output().len();
        let told = self.user.notes.borrow().len();
        self.script = Script::new(&[]);
        let all = (0..64).filter_map(|octet| Op::read(&mut Script::new(&[octet])));
        for op in all {
            self.step(op);
            self.settle();
        }
        assert_eq!(self.user.notes.borrow().len(), told, "something was told after the end");
        assert!(self.machine.output().len() <= waiting, "something is to be sent after the end");
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Bytes => {
                self.peer.is_dishonest = true;
                let count = self.script.octet().into();
                let bytes = self.script.bytes(count);
                self.receive(bytes);
            }
            Op::Frame => {
                self.peer.is_dishonest = true;
                let (kind, channel) = (self.script.pick(&[1, 2, 3, 8]), self.number());
                let count = self.script.octet().into();
                let payload = self.script.bytes(count);
                self.receive(&raw(kind, channel, payload));
            }
            Op::Method => {
                self.peer.is_dishonest = true;
                let channel = self.number();
                let class = self.script.pick(&[10, 20, 40, 50, 60, 85, 90]);
                let mut payload = vec![0, class, 0, self.script.octet()];
                let count = self.script.octet().into();
                payload.extend(self.script.bytes(count));
                payload.extend([0; 24]);
                self.receive(&raw(1, channel, &payload));
            }
            Op::Greet => match self.script.octet() % 6 {
                0 => self.receive(&method(0, &connection::Start::default())),
                1 => {
                    let (channel_max, heartbeat) = (self.script.number(), self.script.number());
                    let frame_max = self.script.pick(&[0, 1, 7, 4095, 4096, 8191, 9000, u32::MAX]);
                    let tune = connection::Tune { channel_max, frame_max, heartbeat };
                    self.receive(&method(0, &tune));
                }
                2 => self.receive(&method(0, &connection::OpenOk {})),
                3 => self.receive(&method(0, &connection::Blocked { reason: "memory".into() })),
                4 => self.receive(&method(0, &connection::Unblocked {})),
                _ => {
                    let mut heartbeat = Vec::new();
                    encode_heartbeat(&mut heartbeat);
                    self.receive(&heartbeat);
                }
            },
            Op::Answer => self.answer(),
            Op::Deliver => {
                let index: usize = self.script.octet().into();
                let (number, consumer_tag) = match self.user.consumers.get(index) {
                    Some(consumer) => (consumer.channel.number, consumer.tag.clone()),
                    None => (self.number(), "nobody".into()),
                };
                let delivery_tag = self.script.octet().into();
                let deliver = basic::Deliver { consumer_tag, delivery_tag, ..Default::default() };
                self.receive_message(number, &method(number, &deliver));
            }
            Op::ContentHeader => {
                let (channel, size) = (self.number(), self.size());
                self.receive(&header(channel, size as u64));
            }
            Op::Body => {
                let (channel, size) = (self.number(), self.size());
                self.receive(&raw(3, channel, pattern(0, size.min(BODY_MAX))));
            }
            Op::Return => {
                let channel = self.number();
                self.receive_message(channel, &method(channel, &basic::Return::default()));
            }
            Op::Ack => {
                let (channel, sort) = (self.number(), self.script.octet());
                let (delivery_tag, multiple) = (u64::from(self.script.octet()), sort & 1 == 1);
                let ack = basic::Ack { delivery_tag, multiple };
                let nack = basic::Nack { delivery_tag, multiple, requeue: false };
                let bytes =
                    if sort & 2 == 0 { method(channel, &ack) } else { method(channel, &nack) };
                self.receive(&bytes);
            }
            Op::CancelConsumer => {
                let index: usize = self.script.octet().into();
                if let Some(Consumer { channel, tag, .. }) = self.user.consumers.get(index) {
                    let cancel = basic::Cancel { consumer_tag: tag.clone() };
                    let bytes = method(channel.number, &cancel);
                    self.receive(&bytes);
                }
            }
            Op::CloseChannel => {
                self.peer.is_dishonest = true;
                let (channel, ok) = (self.number(), self.script.flag());
                let close = channel::Close { reply_code: 404, ..Default::default() };
                let bytes = if ok {
                    method(channel, &channel::CloseOk {})
                } else {
                    method(channel, &close)
                };
                self.receive(&bytes);
            }
            Op::CloseConnection => {
                let ok = self.script.flag();
                let close = connection::Close { reply_code: 320, ..Default::default() };
                self.receive(&if ok {
                    method(0, &connection::CloseOk {})
                } else {
                    method(0, &close)
                });
            }
            Op::Wait => {
                let until = self.now + self.duration();
                self.wait(until);
            }
            Op::Oversleep => {
                let time = self.duration();
                self.now += time;
                self.overslept = true;
                self.machine.deadline_passed(self.now);
            }
            Op::Write => {
                let count = self.script.number().into();
                self.write(if count == 0 { usize::MAX } else { count });
            }
            Op::Lose => {
                let reset = std::io::Error::from_raw_os_error(104);
                let reset = StreamLost::Io(reset.into());
                let cause = if self.script.flag() { reset } else { StreamLost::EndOfStream };
                self.machine.lost(cause);
            }
            Op::ReturnPublished => {
                let index: usize = self.script.octet().into();
                if let Some(published) = self.user.mandatory.get(index) {
                    let frames = published.came_back(self.frame_max);
                    self.receive(&frames);
                }
            }
            Op::Inside => self.inside = self.script.octet(),
            asked => self.ask(asked),
        }
    }

    // The broker.

    fn number(&mut self) -> u16 {
        match self.script.octet() {
            255 => self.script.number(),
            number => number.into(),
        }
    }

    fn size(&mut self) -> usize {
        let largest = self.frame_max as usize - 8;
        match self.script.octet() {
            octet @ 0..=199 => octet.into(),
            200..=209 => largest,
            210..=219 => largest + 1,
            220..=229 => 20_000,
            230..=239 => 40_000,
            240..=249 => 2 * largest,
            _ => usize::from(self.script.number()) << 8,
        }
    }

    /// The broker answers one of those that it was asked first.
    fn answer(&mut self) {
        self.write(usize::MAX);
        let index = usize::from(self.script.octet()) % self.peer.asked.len().clamp(1, 4);
        let Some(asked) = self.peer.take_asked(index) else { return };
        match asked.message() {
            Some((number, get_ok)) if self.script.flag() => self.receive_message(number, &get_ok),
            _ => self.receive(&asked.answer()),
        }
    }

    /// A method, and as much of the content behind it as the script says.
    fn receive_message(&mut self, channel: u16, method: &[u8]) {
        let (parts, size) = (self.script.octet(), self.size());
        let mut bytes = method.to_vec();
        if parts & 1 == 0 {
            bytes.extend(header(channel, size as u64));
        }
        if parts & 2 == 0 {
            let chunk = self.frame_max as usize - 8;
            for body in pattern(0, size.min(BODY_MAX)).chunks(chunk) {
                bytes.extend(raw(3, channel, body));
            }
        }
        self.receive(&bytes);
    }

    // The loop.

    fn receive(&mut self, bytes: &[u8]) {
        // Small reads of a lot would only take long: what is unparsed is copied by each.
        let size = self.read_size.max(bytes.len() / 32).max(1);
        let now = self.now;
        for read in bytes.chunks(size) {
            // When the user has slept inside of an event, the rest was there before, cut or not.
            if self.now == now && !self.machine.is_closed() {
                self.machine.received(self.now);
                (self.heard, self.overslept) = (self.now, false);
            }
            self.read(read);
        }
    }

    /// Nothing comes, but what happened is told.
    fn settle(&mut self) {
        self.read(&[]);
    }

    fn read(&mut self, bytes: &[u8]) {
        self.weight += bytes.len();
        self.unparsed.extend_from_slice(bytes);
        let buffer: Arc<[u8]> = Arc::from(std::mem::take(&mut self.unparsed));
        let mut input = Input::new(&buffer, buffer.len());
        // In the one play all that can, in the other in every other read.
        self.short_way = !self.is_cut || !self.short_way;
        while let Some(event) = self.machine.next_by(self.short_way, &mut input) {
            self.tell(event);
            self.act_inside();
        }
        if !self.machine.is_closed() {
            self.unparsed.extend_from_slice(input.rest());
        }
        assert!(self.unparsed.len() < READ_BUFFER, "nothing more could ever be read");
    }

    /// What a closure of the user may do while events are delivered.
    fn act_inside(&mut self) {
        if self.inside == 0 {
            return;
        }
        self.inside -= 1;
        match Op::read(&mut self.script) {
            Some(op @ (Op::Write | Op::Oversleep | Op::Inside)) => self.step(op),
            Some(op) => self.ask(op),
            None => {}
        }
    }

    fn duration(&mut self) -> Duration {
        let milliseconds = u64::from(self.script.number());
        Duration::from_millis(if self.script.flag() { milliseconds * 1000 } else { milliseconds })
    }

    /// Time passes, and the machine is told of every deadline.
    fn wait(&mut self, until: Instant) {
        while let Some(deadline) = self.machine.deadline().filter(|deadline| *deadline <= until) {
            self.now = self.now.max(deadline);
            self.machine.deadline_passed(self.now);
            let next = self.machine.deadline();
            assert!(next.is_none_or(|next| next > self.now), "a deadline that never passes");
            self.settle();
        }
        self.now = until;
        let silent = self.now - self.heard;
        if self.heartbeat.is_some_and(|interval| silent > 2 * interval) && !self.overslept {
            assert!(self.machine.is_closed(), "a peer that was silent for {silent:?} lives");
        }
    }

    /// The socket takes so many bytes.
    fn write(&mut self, mut room: usize) {
        let output = self.machine.output();
        let mut any = false;
        while room > 0 && !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); 3];
            let used = output.slices(&mut slices);
            assert!(used > 0, "bytes wait that no slice shows");
            let mut taken = 0;
            for slice in &slices[..used] {
                let count = slice.len().min(room - taken);
                self.peer.read(&slice[..count]);
                taken += count;
            }
            room -= taken;
            output.advance(taken);
            any = true;
        }
        drop(output.take_spent());
        if any {
            self.machine.sent();
        }
    }
}
