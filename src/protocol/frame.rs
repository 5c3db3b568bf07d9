//! Frames: cutting them from received bytes.

use super::DecodeError;

/// What a client sends first: AMQP, version 0-9-1.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";

/// The octet behind every frame's payload.
pub const FRAME_END: u8 = 0xCE;

/// What a frame has around its payload: type, channel and size before, [`FRAME_END`] behind.
pub const FRAME_OVERHEAD: usize = FRAME_HEADER + 1;

/// The frame size that every peer takes, and the limit until another is agreed on.
pub const FRAME_MIN_SIZE: u32 = 4096;

/// What lies before a frame's payload: its type, channel and size.
pub(crate) const FRAME_HEADER: usize = 7;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// A [`Method`](super::Method).
    Method = 1,
    /// A [`ContentHeader`](super::ContentHeader).
    Header = 2,
    /// Some or all of a message's body.
    Body = 3,
    /// Nothing: a sign of life.
    Heartbeat = 8,
}

impl FrameKind {
    #[inline]
    fn from_octet(octet: u8) -> Result<Self, DecodeError> {
        match octet {
            1 => Ok(Self::Method),
            2 => Ok(Self::Header),
            3 => Ok(Self::Body),
            8 => Ok(Self::Heartbeat),
            unknown => Err(DecodeError::UnknownFrameKind(unknown)),
        }
    }
}

/// A frame in the bytes it was received in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub kind: FrameKind,
    /// The channel it is for; 0 is the connection itself.
    pub channel: u16,
    /// What is between its header and its end.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Cuts the frame at the front of `input` and says how long it is, payload and overhead.
    /// None: more bytes are needed.
    ///
    /// A `frame_max` of 0 is no limit. Errors are found as early as the bytes show them: a type that
    /// does not exist from the first one, a size beyond `frame_max` from the header's seven.
    #[inline]
    pub fn parse(input: &'a [u8], frame_max: u32) -> Result<Option<(Self, usize)>, DecodeError> {
        let Some(&kind) = input.first() else { return Ok(None) };
        let kind = FrameKind::from_octet(kind)?;
        let Some(size) = Self::needed(input) else { return Ok(None) };
        if frame_max != 0 && size > u64::from(frame_max) {
            return Err(DecodeError::FrameTooLarge { size, frame_max });
        }
        // A frame larger than the address space is never complete.
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let Some(frame) = input.get(..size) else { return Ok(None) };
        let channel = u16::from_be_bytes([frame[1], frame[2]]);
        let (payload, end) = (&frame[FRAME_HEADER..size - 1], frame[size - 1]);
        if end != FRAME_END {
            return Err(DecodeError::FrameEnd(end));
        }
        Ok(Some((Self { kind, channel, payload }, size)))
    }

    /// Of a body frame at the front of `input`, as soon as its header is there: its channel, and how
    /// long its payload is. Nothing about it has been checked: see [`parse`](Self::parse).
    pub(crate) fn begun_body(input: &[u8]) -> Option<(u16, usize)> {
        let &[kind, c0, c1, s0, s1, s2, s3] = input.first_chunk::<FRAME_HEADER>()?;
        let size = u32::from_be_bytes([s0, s1, s2, s3]) as usize;
        (kind == FrameKind::Body as u8).then_some((u16::from_be_bytes([c0, c1]), size))
    }

    /// How long the frame at the front of `input` is in all, as soon as its header is there.
    /// Nothing about it has been checked: see [`parse`](Self::parse).
    #[inline]
    pub fn needed(input: &[u8]) -> Option<u64> {
        let &[_, _, _, s0, s1, s2, s3] = input.first_chunk::<FRAME_HEADER>()?;
        Some(u64::from(u32::from_be_bytes([s0, s1, s2, s3])) + FRAME_OVERHEAD as u64)
    }
}
