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
    /// A delivery as it is on the wire.
    delivery: Vec<u8>,
    /// Where in it the delivery tag is.
    tag_at: usize,
}

impl Consumer {
    /// Of `flood.N.SIZE`, that many messages; of any other queue, none but echoes.
    pub fn new(channel: u16, tag: String, queue: &str, frame_max: u32) -> Result<Self> {
        let (left, size) = match queue.strip_prefix("flood.").and_then(|rest| rest.split_once('.'))
        {
            Some((left, size)) => (left.parse()?, size.parse()?),
            None => (0, 0),
        };
        let mut delivery = Vec::new();
        encode_method(&mut delivery, frame_max, channel, &deliver(&tag, 0))?;
        // The type, channel and length, the ids, and the consumer tag with its length.
        let tag_at = 7 + 4 + 1 + tag.len();
        content(&mut delivery, frame_max, channel, &vec![b'x'; size])?;
        Ok(Self { channel, tag, left, delivery, tag_at })
    }

    pub fn has_more(&self) -> bool {
        self.left > 0
    }

    /// Appends the next message.
    pub fn deliver(&mut self, output: &mut Vec<u8>, delivery_tag: u64) {
        let start = output.len();
        output.extend_from_slice(&self.delivery);
        let tag_at = start + self.tag_at;
        output[tag_at..tag_at + 8].copy_from_slice(&delivery_tag.to_be_bytes());
        self.left -= 1;
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
