//! Messages for consumers.

use haypile::protocol::{
    BasicProperties, FRAME_OVERHEAD, basic, encode_body_frame, encode_content_header, encode_method,
};

use crate::Result;

/// A consumer, and what it has still to get.
pub struct Consumer {
    pub channel: u16,
    pub tag: String,
    left: u64,
    /// It gets nothing while its connection has less consumers than that.
    pub quorum: usize,
    /// Deliveries as they are on the wire, as many as leave at once, each as long as the others.
    deliveries: Vec<u8>,
    /// How long they are.
    length: usize,
    /// Where in each the delivery tag is.
    tag_at: usize,
    /// The bytes of those that leave now.
    current: usize,
}

/// A delivery of so many bytes is not copied to the output.
const LARGE: usize = 8 * 1024;

/// So many bytes of large ones leave at once.
const AT_ONCE: usize = 256 * 1024;

impl Consumer {
    /// Of `flood.N.SIZE` and `flood.N.SIZE.CONSUMERS`, that many messages; of any other queue, none
    /// but echoes.
    pub fn new(channel: u16, tag: String, queue: &str, frame_max: u32) -> Result<Self> {
        let flood = queue.strip_prefix("flood.").unwrap_or_default();
        let (left, size, quorum) = match flood.split('.').collect::<Vec<_>>()[..] {
            [left, size] => (left.parse()?, size.parse()?, 0),
            [left, size, quorum] => (left.parse()?, size.parse()?, quorum.parse()?),
            _ => (0, 0, 0),
        };
        let mut delivery = Vec::new();
        encode_method(&mut delivery, frame_max, channel, &deliver(&tag, 0))?;
        // The type, channel and length, the ids, and the consumer tag with its length.
        let tag_at = 7 + 4 + 1 + tag.len();
        content(&mut delivery, frame_max, channel, &vec![b'x'; size])?;
        let length = delivery.len();
        let copies = if length < LARGE { 1 } else { (AT_ONCE / length).max(1) };
        let deliveries = delivery.repeat(copies);
        Ok(Self { channel, tag, left, quorum, deliveries, length, tag_at, current: 0 })
    }

    pub fn has_more(&self) -> bool {
        self.left > 0
    }

    /// Goes on to the next message, or the next few large ones, of which there is room for so many.
    /// Gives how many they are.
    pub fn advance(&mut self, first_tag: u64, room: u64) -> u64 {
        let copies = (self.deliveries.len() / self.length) as u64;
        let count = copies.min(room).min(self.left);
        let mut tags = first_tag..first_tag + count;
        for delivery in self.deliveries.chunks_mut(self.length) {
            let Some(tag) = tags.next() else { break };
            delivery[self.tag_at..self.tag_at + 8].copy_from_slice(&tag.to_be_bytes());
        }
        self.left -= count;
        self.current = count as usize * self.length;
        count
    }

    /// These, as they are on the wire.
    pub fn current(&self) -> &[u8] {
        &self.deliveries[..self.current]
    }

    pub fn is_large(&self) -> bool {
        self.length >= LARGE
    }
}

pub fn deliver(tag: &str, delivery_tag: u64) -> basic::Deliver<'_> {
    basic::Deliver {
        consumer_tag: tag.into(),
        delivery_tag,
        redelivered: false,
        exchange: "".into(),
        routing_key: "queue".into(),
    }
}

fn content(output: &mut Vec<u8>, frame_max: u32, channel: u16, body: &[u8]) -> Result<()> {
    let properties = BasicProperties::default();
    encode_content_header(output, frame_max, channel, body.len() as u64, &properties)?;
    for part in body.chunks(frame_max as usize - FRAME_OVERHEAD) {
        encode_body_frame(output, channel, part);
    }
    Ok(())
}
