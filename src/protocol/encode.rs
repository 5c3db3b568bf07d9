//! Appending frames to an output buffer.
//!
//! A `frame_max` of 0 is no limit, as it is in the tuning of a connection.

use super::{
    BasicProperties, ContentHeader, EncodeError, EncodeMethod, FRAME_END, FRAME_OVERHEAD, FrameKind,
};

/// Class id and method id, before a method's arguments.
const METHOD_IDS_LEN: usize = 4;
/// Class id, weight and body size, before a message's properties.
const CONTENT_HEADER_LEN: usize = 12;

/// The size of the frame that `method` makes, after checking every value in it.
#[inline]
pub fn method_frame_len<M: EncodeMethod>(method: &M) -> Result<usize, EncodeError> {
    Ok(FRAME_OVERHEAD + METHOD_IDS_LEN + method.encoded_len()?)
}

/// Appends a method frame. On an error `out` is as it was.
#[inline]
pub fn encode_method<M: EncodeMethod>(
    out: &mut Vec<u8>,
    frame_max: u32,
    channel: u16,
    method: &M,
) -> Result<(), EncodeError> {
    let size = method_frame_len(method)?;
    let payload = payload_len(size, frame_max)?;
    out.reserve(size);
    let start = out.len();
    begin_frame(out, FrameKind::Method, channel, payload);
    out.extend_from_slice(&M::CLASS_ID.to_be_bytes());
    out.extend_from_slice(&M::METHOD_ID.to_be_bytes());
    method.encode(out);
    end_frame(out);
    debug_assert_eq!(out.len() - start, size, "{}", M::NAME);
    Ok(())
}

/// Appends the header frame of a message. On an error `out` is as it was.
#[inline]
pub fn encode_content_header(
    out: &mut Vec<u8>,
    frame_max: u32,
    channel: u16,
    body_size: u64,
    properties: &BasicProperties<'_>,
) -> Result<(), EncodeError> {
    let size = FRAME_OVERHEAD + CONTENT_HEADER_LEN + properties.encoded_len()?;
    let payload = payload_len(size, frame_max)?;
    out.reserve(size);
    let start = out.len();
    begin_frame(out, FrameKind::Header, channel, payload);
    out.extend_from_slice(&ContentHeader::CLASS_ID.to_be_bytes());
    out.extend_from_slice(&[0, 0]); // the weight, which is not used
    out.extend_from_slice(&body_size.to_be_bytes());
    properties.encode(out);
    end_frame(out);
    debug_assert_eq!(out.len() - start, size, "content header");
    Ok(())
}

/// Appends a body frame. The caller has cut the body to what `frame_max` allows.
///
/// # Panics
///
/// If `body` is longer than a frame can ever be, 4 GiB.
#[inline]
pub fn encode_body_frame(out: &mut Vec<u8>, channel: u16, body: &[u8]) {
    let length = u32::try_from(body.len()).expect("a body frame has at most u32::MAX bytes");
    out.reserve(FRAME_OVERHEAD + body.len());
    begin_body_frame(out, channel, length);
    out.extend_from_slice(body);
    end_frame(out);
}

/// Appends what comes before the `length` bytes of a body that is sent by reference. Behind them
/// belongs [`end_frame`].
#[inline]
pub fn begin_body_frame(out: &mut Vec<u8>, channel: u16, length: u32) {
    begin_frame(out, FrameKind::Body, channel, length);
}

/// Appends the end of a frame.
#[inline]
pub fn end_frame(out: &mut Vec<u8>) {
    out.push(FRAME_END);
}

/// Appends a heartbeat frame.
pub fn encode_heartbeat(out: &mut Vec<u8>) {
    begin_frame(out, FrameKind::Heartbeat, 0, 0);
    end_frame(out);
}

#[inline]
fn begin_frame(out: &mut Vec<u8>, kind: FrameKind, channel: u16, payload: u32) {
    let (channel, payload) = (channel.to_be_bytes(), payload.to_be_bytes());
    out.extend_from_slice(&[
        kind as u8, channel[0], channel[1], payload[0], payload[1], payload[2], payload[3],
    ]);
}

/// What the header of a frame of `size` bytes says, if there may be such a frame.
#[inline]
fn payload_len(size: usize, frame_max: u32) -> Result<u32, EncodeError> {
    let frame_max = if frame_max == 0 { u32::MAX } else { frame_max };
    match u32::try_from(size) {
        Ok(fits) if fits <= frame_max => Ok(fits - FRAME_OVERHEAD as u32),
        _ => Err(EncodeError::FrameTooLarge { size, frame_max }),
    }
}
