//! The short way of a delivery that lies whole in the read buffer: nearly all that comes on a busy
//! connection. It makes no event, for to move one costs as much as all else.

use super::input::Input;
use super::machine::Machine;
use crate::channel::{ChannelId, Lookahead, OnMessage, WholeContent, look_ahead};
use crate::protocol::{DecodeError, EncodeMethod, Frame, FrameKind, Reader, basic};

/// How a Deliver's payload begins.
const DELIVER: [u16; 2] = [basic::Deliver::CLASS_ID, basic::Deliver::METHOD_ID];

/// A delivery in the read buffer, and who is to have it.
pub(crate) struct Arrival<'b> {
    pub(crate) channel: ChannelId,
    pub(crate) on_message: OnMessage,
    pub(crate) method: Deliver<'b>,
    pub(crate) content: WholeContent<'b>,
}

/// A [`basic::Deliver`] as it lies in the read buffer. To decode that one here, whose strings may be
/// owned, makes a small delivery a third slower.
pub(crate) struct Deliver<'b> {
    consumer_tag: &'b [u8],
    delivery_tag: u64,
    redelivered: bool,
    exchange: &'b [u8],
    routing_key: &'b [u8],
}

impl<'b> Deliver<'b> {
    /// Reads a method frame's payload. None: it is another method.
    #[inline]
    fn read(payload: &'b [u8]) -> Result<Option<Self>, DecodeError> {
        let mut reader = Reader::new(payload);
        if [reader.u16()?, reader.u16()?] != DELIVER {
            return Ok(None);
        }
        Ok(Some(Self {
            consumer_tag: reader.short_bytes()?,
            delivery_tag: reader.u64()?,
            redelivered: reader.u8()? & 1 != 0,
            exchange: reader.short_bytes()?,
            routing_key: reader.short_bytes()?,
        }))
    }
}

impl<'b> From<Deliver<'b>> for basic::Deliver<'b> {
    #[inline]
    fn from(deliver: Deliver<'b>) -> Self {
        Self {
            consumer_tag: deliver.consumer_tag.into(),
            delivery_tag: deliver.delivery_tag,
            redelivered: deliver.redelivered,
            exchange: deliver.exchange.into(),
            routing_key: deliver.routing_key.into(),
        }
    }
}

impl Machine {
    /// What happened next, if it is a delivery that lies whole in `input`, to a consumer that waits
    /// for it. None: nothing has changed, and [`next`](Self::next) tells, whatever it is.
    #[inline]
    pub(crate) fn next_delivery<'b>(&mut self, input: &mut Input<'b>) -> Option<Arrival<'b>> {
        if self.has_events() || !self.is_open() || self.body_under_way.is_some() {
            return None;
        }
        let frame_max = self.wire.limits.frame_max;
        let (frame, size) = Frame::parse(input.rest(), frame_max).ok()??;
        if frame.kind != FrameKind::Method {
            return None;
        }
        let method = Deliver::read(frame.payload).ok()??;
        let channel = self.channels.at_mut(frame.channel)?;
        let consumer = channel.waiting_consumer(method.consumer_tag)?;
        let (on_message, no_ack) = (consumer.on_message()?, consumer.no_ack);
        let max_message_size = self.wire.max_message_size;
        let behind = look_ahead(input, size, frame.channel, frame_max, max_message_size);
        let Ok(Lookahead::Whole(content)) = behind else { return None };
        input.consume(size + content.len);
        self.frames += 1 + content.frames();
        channel.take_delivery(&mut self.wire, method.delivery_tag, no_ack);
        Some(Arrival { channel: channel.id, on_message, method, content })
    }
}

#[cfg(any(test, fuzzing))]
impl Machine {
    /// What happened next, whole deliveries by the short way or by that of everything else.
    pub(crate) fn next_by<'b>(
        &mut self,
        short_way: bool,
        input: &mut Input<'b>,
    ) -> Option<super::Event<'b>> {
        let arrival = if short_way { self.next_delivery(input) } else { None };
        let Some(Arrival { channel, on_message, method, content }) = arrival else {
            return self.next(input);
        };
        let delivery = content.of(input).with(method.into());
        Some(super::Event::Delivered { channel, on_message, delivery })
    }
}
