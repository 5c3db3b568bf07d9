//! The limit: bytes that were encoded before, and no client at all.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use haypile::protocol::{
    BasicProperties, EncodeMethod, FRAME_OVERHEAD, Frame, FrameKind, LongStr, Method,
    PROTOCOL_HEADER, basic, channel, connection, encode_body_frame, encode_content_header,
    encode_method, queue,
};

use super::endpoint::Endpoint;
use super::job::{Job, Work};
use crate::Result;
use crate::outcome::{Outcome, Samples, Timing};

const FRAME_MAX: u32 = 131_072;
const CHANNEL: u16 = 1;

/// Read at most.
const READ: usize = 256 * 1024;

/// Written at once: what TCP takes over loopback in one segment, a little less than 64 KiB. A write
/// that needs more of them costs twice as much for each byte.
const SEGMENT: usize = 60 * 1024;

/// Of messages that do not fit in there, so much that the ends which fill no segment are few.
const SEGMENTS: usize = 1024 * 1024;

pub fn run(work: &Work) -> Result<Option<Outcome>> {
    let mut raw = Raw::open(work)?;
    let outcome = match work.job {
        Job::Publish => raw.publish(work)?,
        Job::Consume => raw.consume(work)?,
        Job::Rpc | Job::LatencyRpc | Job::LatencyPublishDeliver => raw.rpc(work)?,
        // How fast a window moves on is up to how its two ends happen to interlock, and to
        // acknowledge without a look at what came is no limit of anything.
        Job::Confirm | Job::ConsumeAck => return Ok(None),
    };
    Ok(Some(outcome))
}

struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Received in the buffer, and not taken yet.
    received: usize,
}

impl Raw {
    fn open(work: &Work) -> Result<Self> {
        let at = Endpoint::parse(&work.url)?;
        let stream = TcpStream::connect((at.host.as_str(), at.port))?;
        stream.set_nodelay(true)?;
        let mut raw = Self { stream, buffer: vec![0; READ], received: 0 };
        raw.stream.write_all(&PROTOCOL_HEADER)?;
        raw.expect("connection.start")?;
        let response = LongStr::from(format!("\0{}\0{}", at.user, at.password));
        raw.say(
            0,
            &connection::StartOk {
                client_properties: Default::default(),
                mechanism: "PLAIN".into(),
                response,
                locale: "en_US".into(),
            },
        )?;
        raw.expect("connection.tune")?;
        let tune = connection::TuneOk { channel_max: 2047, frame_max: FRAME_MAX, heartbeat: 0 };
        raw.say(0, &tune)?;
        raw.say(0, &connection::Open { virtual_host: at.virtual_host.into() })?;
        raw.expect("connection.open-ok")?;
        raw.say(CHANNEL, &channel::Open {})?;
        raw.expect("channel.open-ok")?;
        Ok(raw)
    }

    fn publish(&mut self, work: &Work) -> Result<Outcome> {
        let message = message(work)?;
        let at_once = if message.len() > SEGMENT { SEGMENTS } else { SEGMENT };
        let per_chunk = (at_once / message.len()).max(1);
        let chunk = message.repeat(per_chunk);
        let timing = Timing::begin();
        let mut left = work.messages as usize;
        while left > 0 {
            let now = left.min(per_chunk);
            self.stream.write_all(&chunk[..now * message.len()])?;
            left -= now;
        }
        self.declare(work)?;
        Ok(timing.end(work.messages))
    }

    fn consume(&mut self, work: &Work) -> Result<Outcome> {
        let timing = Timing::begin();
        self.start_consumer(work)?;
        // All are as long as the first.
        let delivery = loop {
            match Frame::parse(&self.buffer[..self.received], 0)? {
                Some((_, size)) => break size,
                None => self.fill()?,
            }
        };
        let content = content(work.size)?.len();
        self.skip((delivery + content) * work.messages as usize)?;
        self.declare(work)?;
        Ok(timing.end(work.messages))
    }

    fn rpc(&mut self, work: &Work) -> Result<Outcome> {
        self.start_consumer(work)?;
        let message = message(work)?;
        let content = content(work.size)?.len();
        let mut trips = Samples::default();
        let timing = Timing::begin();
        for _ in 0..work.messages {
            if let Some(pause) = work.pause() {
                std::thread::sleep(pause);
            }
            let sent = Instant::now();
            self.stream.write_all(&message)?;
            self.expect("basic.deliver")?;
            self.skip(content)?;
            trips.add(sent);
        }
        Ok(trips.report(timing.end(work.messages), ""))
    }

    fn start_consumer(&mut self, work: &Work) -> Result<()> {
        let queue = work.queue.as_str().into();
        let consume = basic::Consume { queue, no_ack: true, ..Default::default() };
        self.say(CHANNEL, &consume)?;
        self.expect("basic.consume-ok")
    }

    fn declare(&mut self, work: &Work) -> Result<()> {
        let queue = work.queue.as_str().into();
        self.say(CHANNEL, &queue::Declare { queue, passive: true, ..Default::default() })?;
        self.expect("queue.declare-ok")
    }

    fn say<M: EncodeMethod>(&mut self, channel: u16, method: &M) -> Result<()> {
        let mut bytes = Vec::new();
        encode_method(&mut bytes, FRAME_MAX, channel, method)?;
        Ok(self.stream.write_all(&bytes)?)
    }

    fn expect(&mut self, name: &str) -> Result<()> {
        loop {
            if let Some((frame, size)) = Frame::parse(&self.buffer[..self.received], 0)? {
                let method = match frame.kind {
                    FrameKind::Method => Method::decode(frame.payload)?.name(),
                    _ => "something else",
                };
                if method != name {
                    return Err(format!("{method} came instead of {name}").into());
                }
                self.consume_bytes(size);
                return Ok(());
            }
            self.fill()?;
        }
    }

    fn skip(&mut self, mut bytes: usize) -> Result<()> {
        loop {
            let now = bytes.min(self.received);
            self.consume_bytes(now);
            bytes -= now;
            if bytes == 0 {
                return Ok(());
            }
            self.fill()?;
        }
    }

    fn consume_bytes(&mut self, bytes: usize) {
        self.buffer.copy_within(bytes..self.received, 0);
        self.received -= bytes;
    }

    fn fill(&mut self) -> Result<()> {
        match self.stream.read(&mut self.buffer[self.received..])? {
            0 => Err("the broker hung up".into()),
            size => {
                self.received += size;
                Ok(())
            }
        }
    }
}

fn message(work: &Work) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let routing_key = work.queue.as_str().into();
    let publish = basic::Publish { routing_key, ..Default::default() };
    encode_method(&mut bytes, FRAME_MAX, CHANNEL, &publish)?;
    bytes.extend(content(work.size)?);
    Ok(bytes)
}

fn content(size: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let properties = BasicProperties::default();
    encode_content_header(&mut bytes, FRAME_MAX, CHANNEL, size as u64, &properties)?;
    for part in vec![b'x'; size].chunks(FRAME_MAX as usize - FRAME_OVERHEAD) {
        encode_body_frame(&mut bytes, CHANNEL, part);
    }
    Ok(bytes)
}
