//! Content: a method, a header and bodies become one message.
//!
//! A message that lies whole in the read buffer is delivered from there. One that a read has cut
//! stays unparsed if it is small, and is put together here, in its own memory, if it is large.

use bytes::Bytes;

use super::acker::Origin;
use super::message::{Message, Part};
use crate::connection::Input;
use crate::error::ProtocolError;
use crate::protocol::{ContentHeader, DecodeError, EncodeMethod, Frame, FrameKind, basic};

/// A message of more bytes than this, frames and all, is put together apart when a read cuts it:
/// leaving it unparsed would copy it once more per read, and the read buffer must have room for the
/// rest.
const LEAVE_UNPARSED: u64 = 32 * 1024;

/// A method that content follows.
pub(crate) enum ContentMethod<'a> {
    Deliver(basic::Deliver<'a>),
    GetOk(basic::GetOk<'a>),
    Return(basic::Return<'a>),
}

impl ContentMethod<'_> {
    pub(crate) fn into_owned(self) -> ContentMethod<'static> {
        match self {
            Self::Deliver(method) => ContentMethod::Deliver(method.into_owned()),
            Self::GetOk(method) => ContentMethod::GetOk(method.into_owned()),
            Self::Return(method) => ContentMethod::Return(method.into_owned()),
        }
    }
}

/// What follows a content method.
pub(crate) struct Content<'a> {
    properties: Part<'a>,
    body: Part<'a>,
}

impl<'a> Content<'a> {
    /// The message, before anybody says where its answer goes.
    pub(crate) fn with<M>(self, method: M) -> Message<'a, M> {
        self.with_origin(method, Origin::default())
    }

    /// The message. To say at once where its answer goes spares it a move.
    #[inline]
    pub(crate) fn with_origin<M>(self, method: M, origin: Origin<'a>) -> Message<'a, M> {
        Message::new(method, self.properties, self.body, origin)
    }
}

/// Content that lies whole in the read buffer.
pub(crate) struct WholeContent<'b> {
    properties: &'b [u8],
    body: &'b [u8],
    /// How many bytes of frames it takes.
    pub(crate) len: usize,
}

impl<'b> WholeContent<'b> {
    /// How many frames it takes.
    #[inline]
    pub(crate) fn frames(&self) -> u64 {
        1 + u64::from(!self.body.is_empty())
    }

    /// The content, as parts of `input`.
    #[inline]
    pub(crate) fn of(&self, input: &Input<'b>) -> Content<'b> {
        Content { properties: input.part(self.properties), body: input.part(self.body) }
    }
}

/// What lies behind a content method in the read buffer.
pub(crate) enum Lookahead<'b> {
    /// All of the content.
    Whole(WholeContent<'b>),
    /// A small message that the read has cut: try again with more bytes.
    Cut,
    /// Anything else: take it frame by frame.
    InParts,
}

/// Looks for the content that follows a content method: a header and at most one body frame.
#[inline]
pub(crate) fn look_ahead<'b>(
    input: &Input<'b>,
    skip: usize,
    channel: u16,
    frame_max: u32,
    max_message_size: u64,
) -> Result<Lookahead<'b>, DecodeError> {
    let rest = &input.rest()[skip..];
    let Some((frame, header_len)) = Frame::parse(rest, frame_max)? else {
        // A method that a peer has filled up to the size of a frame is not kept, with a header as
        // large behind it.
        return Ok(if skip as u64 <= LEAVE_UNPARSED { Lookahead::Cut } else { Lookahead::InParts });
    };
    if frame.kind != FrameKind::Header || frame.channel != channel {
        return Ok(Lookahead::InParts);
    }
    let header = ContentHeader::decode(frame.payload)?;
    if header.body_size > max_message_size {
        // It is refused there.
        return Ok(Lookahead::InParts);
    }
    let properties = header.properties;
    if header.body_size == 0 {
        return Ok(Lookahead::Whole(WholeContent { properties, body: &[], len: header_len }));
    }
    let Some((frame, body_len)) = Frame::parse(&rest[header_len..], frame_max)? else {
        let before = (skip + header_len) as u64;
        let small = before.saturating_add(header.body_size) <= LEAVE_UNPARSED;
        return Ok(if small { Lookahead::Cut } else { Lookahead::InParts });
    };
    let whole = frame.kind == FrameKind::Body
        && frame.channel == channel
        && frame.payload.len() as u64 == header.body_size;
    if !whole {
        return Ok(Lookahead::InParts);
    }
    let len = header_len + body_len;
    Ok(Lookahead::Whole(WholeContent { properties, body: frame.payload, len }))
}

/// A message that comes in parts.
pub(crate) struct Assembly {
    method: ContentMethod<'static>,
    header: Option<Header>,
    body: Vec<u8>,
}

struct Header {
    body_size: u64,
    properties: Bytes,
}

impl Assembly {
    pub(crate) fn new(method: ContentMethod<'_>) -> Self {
        Self { method: method.into_owned(), header: None, body: Vec::new() }
    }

    /// Takes the content header. `Err` if one has come before.
    pub(crate) fn header(&mut self, channel: u16, payload: &[u8]) -> Result<(), ProtocolError> {
        if self.header.is_some() {
            return Err(ProtocolError::UnexpectedFrame { channel, frame: "content header" });
        }
        let header = ContentHeader::decode(payload)?;
        let properties = Bytes::copy_from_slice(header.properties);
        self.header = Some(Header { body_size: header.body_size, properties });
        Ok(())
    }

    /// Takes a part of the body.
    pub(crate) fn body(&mut self, channel: u16, payload: &[u8]) -> Result<(), ProtocolError> {
        let Some(header) = &self.header else {
            return Err(ProtocolError::UnexpectedFrame { channel, frame: "content body" });
        };
        let declared = header.body_size;
        let received = self.body.len() as u64 + payload.len() as u64;
        if received > declared {
            return Err(ProtocolError::BodyTooLong { channel, declared, received });
        }
        self.append(payload);
        Ok(())
    }

    /// Whether so much of its body has still to come, at the least.
    pub(crate) fn lacks(&self, size: usize) -> bool {
        let received = self.body.len() as u64 + size as u64;
        self.header.as_ref().is_some_and(|header| received <= header.body_size)
    }

    /// Takes what it lacks of its body.
    pub(crate) fn append(&mut self, part: &[u8]) {
        let received = self.body.len() + part.len();
        if received > self.body.capacity() {
            // Memory follows what has come, doubling, and never what the peer claims will come.
            let wanted = (2 * received as u64).min(self.declared()) as usize;
            self.body.reserve_exact(wanted - self.body.len());
        }
        self.body.extend_from_slice(part);
    }

    /// How long it is to be; 0 before that is known.
    pub(crate) fn declared(&self) -> u64 {
        self.header.as_ref().map_or(0, |header| header.body_size)
    }

    /// How much of its body has come.
    pub(crate) fn received(&self) -> usize {
        self.body.len()
    }

    /// The class and method id of its method.
    pub(crate) fn method_ids(&self) -> (u16, u16) {
        match &self.method {
            ContentMethod::Deliver(_) => (basic::Deliver::CLASS_ID, basic::Deliver::METHOD_ID),
            ContentMethod::GetOk(_) => (basic::GetOk::CLASS_ID, basic::GetOk::METHOD_ID),
            ContentMethod::Return(_) => (basic::Return::CLASS_ID, basic::Return::METHOD_ID),
        }
    }

    /// Whether it is a message that comes back.
    pub(crate) fn is_return(&self) -> bool {
        matches!(self.method, ContentMethod::Return(_))
    }

    /// Whether all of it has come.
    pub(crate) fn is_complete(&self) -> bool {
        self.header.as_ref().is_some_and(|header| self.body.len() as u64 == header.body_size)
    }

    /// The message, once it is complete.
    pub(crate) fn finish(self) -> (ContentMethod<'static>, Content<'static>) {
        let properties = self.header.map(|header| header.properties).unwrap_or_default();
        let body = Part::Owned(self.body.into());
        (self.method, Content { properties: Part::Owned(properties), body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_follows_what_has_come_and_not_what_is_announced() {
        let mut assembly = Assembly::new(ContentMethod::Return(basic::Return::default()));
        let mut header = vec![0; 14];
        header[1] = 60;
        header[4..12].copy_from_slice(&100_000_u64.to_be_bytes());
        assembly.header(1, &header).unwrap();
        assert_eq!(assembly.body.capacity(), 0);
        while !assembly.is_complete() {
            let part = assembly.received() / 3 + 10;
            let part = part.min(100_000 - assembly.received());
            assembly.append(&vec![7; part]);
            assert!(assembly.body.capacity() <= 2 * assembly.received());
            assert!(assembly.lacks(100_000 - assembly.received()));
            assert!(!assembly.lacks(100_001 - assembly.received()));
        }
        assert_eq!(assembly.body.capacity(), 100_000);
    }
}
