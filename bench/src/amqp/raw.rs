//! The limit: bytes that were encoded before, and no client at all.

use std::io::{Read, Write};
use std::net::TcpStream;

use haypile::protocol::{
    BasicProperties, EncodeMethod, FRAME_OVERHEAD, Frame, FrameKind, LongStr, Method,
    PROTOCOL_HEADER, basic, channel, confirm, connection, encode_body_frame, encode_content_header,
    encode_method, queue,
};

use super::job::{Job, Work};
use crate::Result;
use crate::outcome::{Outcome, Timing};

const FRAME_MAX: u32 = 131_072;
const CHANNEL: u16 = 1;

/// Written at once.
const CHUNK: usize = 256 * 1024;

pub fn run(work: &Work) -> Result<Option<Outcome>> {
    let mut raw = Raw::open(work)?;
    let outcome = match work.job {
        Job::Publish => raw.publish(work)?,
        Job::Confirm => raw.confirm(work)?,
        Job::Consume => raw.consume(work)?,
        Job::Rpc => raw.rpc(work)?,
        // To acknowledge without looking at what came is no limit of anything.
        Job::ConsumeAck => return Ok(None),
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
        let stream = TcpStream::connect((work.host.as_str(), work.port))?;
        stream.set_nodelay(true)?;
        let mut raw = Self { stream, buffer: vec![0; 1024 * 1024], received: 0 };
        raw.stream.write_all(&PROTOCOL_HEADER)?;
        raw.expect("connection.start")?;
        let response = LongStr::from("\0guest\0guest");
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
        raw.say(0, &connection::Open { virtual_host: "/".into() })?;
        raw.expect("connection.open-ok")?;
        raw.say(CHANNEL, &channel::Open {})?;
        raw.expect("channel.open-ok")?;
        Ok(raw)
    }

    fn publish(&mut self, work: &Work) -> Result<Outcome> {
        let message = message("sink", work.size)?;
        let per_chunk = (CHUNK / message.len()).max(1);
        let chunk = message.repeat(per_chunk);
        let timing = Timing::begin();
        let mut left = work.messages as usize;
        while left > 0 {
            let now = left.min(per_chunk);
            self.stream.write_all(&chunk[..now * message.len()])?;
            left -= now;
        }
        self.declare()?;
        Ok(timing.end(work.messages))
    }

    /// The next message of the window leaves when the broker has confirmed one.
    fn confirm(&mut self, work: &Work) -> Result<Outcome> {
        self.say(CHANNEL, &confirm::Select {})?;
        self.expect("confirm.select-ok")?;
        let message = message("sink", work.size)?;
        let chunk = message.repeat(work.window as usize);
        let timing = Timing::begin();
        let (mut sent, mut confirmed) = (0, 0);
        while confirmed < work.messages {
            let room = (work.window - (sent - confirmed)).min(work.messages - sent);
            self.stream.write_all(&chunk[..room as usize * message.len()])?;
            sent += room;
            confirmed = self.confirmed()?;
        }
        self.declare()?;
        Ok(timing.end(work.messages))
    }

    fn consume(&mut self, work: &Work) -> Result<Outcome> {
        let queue = work.flood();
        let timing = Timing::begin();
        self.start_consumer(&queue)?;
        let tag_len = 4;
        let delivery = FRAME_OVERHEAD + 4 + 1 + tag_len + 8 + 1 + 1 + 1 + "queue".len();
        let content = content(work.size)?.len();
        self.skip((delivery + content) * work.messages as usize)?;
        self.declare()?;
        Ok(timing.end(work.messages))
    }

    fn rpc(&mut self, work: &Work) -> Result<Outcome> {
        self.start_consumer("echo")?;
        let message = message("echo", work.size)?;
        let timing = Timing::begin();
        for _ in 0..work.messages {
            self.stream.write_all(&message)?;
            self.expect("basic.deliver")?;
            self.skip(content(work.size)?.len())?;
        }
        Ok(timing.end(work.messages))
    }

    fn start_consumer(&mut self, queue: &str) -> Result<()> {
        let consume = basic::Consume {
            queue: queue.into(),
            consumer_tag: "ctag".into(),
            no_ack: true,
            ..Default::default()
        };
        self.say(CHANNEL, &consume)?;
        self.expect("basic.consume-ok")
    }

    fn declare(&mut self) -> Result<()> {
        self.say(CHANNEL, &queue::Declare { queue: "last".into(), ..Default::default() })?;
        self.expect("queue.declare-ok")
    }

    fn say<M: EncodeMethod>(&mut self, channel: u16, method: &M) -> Result<()> {
        let mut bytes = Vec::new();
        encode_method(&mut bytes, FRAME_MAX, channel, method)?;
        Ok(self.stream.write_all(&bytes)?)
    }

    /// The highest number confirmed, by what has come.
    fn confirmed(&mut self) -> Result<u64> {
        self.fill()?;
        let (mut at, mut highest) = (0, 0);
        while let Some((frame, size)) = Frame::parse(&self.buffer[at..self.received], 0)? {
            if let Method::Basic(basic::Method::Ack(ack)) = Method::decode(frame.payload)? {
                highest = ack.delivery_tag;
            }
            at += size;
        }
        self.consume_bytes(at);
        Ok(highest)
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

fn message(routing_key: &str, size: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let publish = basic::Publish { routing_key: routing_key.into(), ..Default::default() };
    encode_method(&mut bytes, FRAME_MAX, CHANNEL, &publish)?;
    bytes.extend(content(size)?);
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
