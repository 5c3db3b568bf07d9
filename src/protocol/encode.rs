//! Appending frames to an output buffer.
//!
//! A `frame_max` of 0 is no limit, as it is in the tuning of a connection.

use super::method::{METHOD_IDS_LEN, write_payload};
use super::properties::Measured;
use super::{
    BasicProperties, ContentHeader, EncodeError, EncodeMethod, FRAME_END, FRAME_OVERHEAD,
    FrameKind, Writer,
};

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
    let frame = MethodFrame::new(frame_max, channel, method)?;
    Writer::append(out, frame.size, |to| frame.write(to));
    Ok(())
}

/// Appends the header frame of a message. On an error `out` is as it was.
pub fn encode_content_header(
    out: &mut Vec<u8>,
    frame_max: u32,
    channel: u16,
    body_size: u64,
    properties: &BasicProperties<'_>,
) -> Result<(), EncodeError> {
    let frame = HeaderFrame::new(frame_max, channel, body_size, properties)?;
    Writer::append(out, frame.size, |to| frame.write(to));
    Ok(())
}

/// Appends the method and header frames of a message, and what comes before the `first` bytes of
/// the body, if there are any. Behind them belongs [`end_frame`]. On an error `out` is as it was.
#[inline]
pub(crate) fn encode_message_head<M: EncodeMethod>(
    out: &mut Vec<u8>,
    frame_max: u32,
    channel: u16,
    method: &M,
    properties: &BasicProperties<'_>,
    body_size: u64,
    first: u32,
) -> Result<(), EncodeError> {
    let method = MethodFrame::new(frame_max, channel, method)?;
    let header = HeaderFrame::new(frame_max, channel, body_size, properties)?;
    let body = frame_header(FrameKind::Body, channel, first);
    let of_body = if first > 0 { body.len() } else { 0 };
    Writer::append(out, method.size + header.size + of_body, |to| {
        method.write(to);
        header.write(to);
        if first > 0 {
            to.array(body);
        }
    });
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
    begin_body_frame(out, channel, length);
    out.extend_from_slice(body);
    end_frame(out);
}

/// Appends what comes before the `length` bytes of a body that is sent by reference. Behind them
/// belongs [`end_frame`].
#[inline]
pub fn begin_body_frame(out: &mut Vec<u8>, channel: u16, length: u32) {
    out.extend_from_slice(&frame_header(FrameKind::Body, channel, length));
}

/// Appends the end of a frame.
#[inline]
pub fn end_frame(out: &mut Vec<u8>) {
    out.push(FRAME_END);
}

/// Appends a heartbeat frame.
pub fn encode_heartbeat(out: &mut Vec<u8>) {
    out.extend_from_slice(&frame_header(FrameKind::Heartbeat, 0, 0));
    end_frame(out);
}

/// A method frame that can be written: every value in it is checked.
struct MethodFrame<'m, M> {
    channel: u16,
    method: &'m M,
    size: usize,
    payload: u32,
}

impl<'m, M: EncodeMethod> MethodFrame<'m, M> {
    #[inline]
    fn new(frame_max: u32, channel: u16, method: &'m M) -> Result<Self, EncodeError> {
        let size = method_frame_len(method)?;
        Ok(Self { channel, method, size, payload: payload_len(size, frame_max)? })
    }

    #[inline(always)]
    fn write(&self, to: &mut Writer<'_>) {
        to.array(frame_header(FrameKind::Method, self.channel, self.payload));
        write_payload(self.method, to);
        to.array([FRAME_END]);
    }
}

/// A content header frame that can be written: every value in it is checked.
struct HeaderFrame<'p> {
    channel: u16,
    body_size: u64,
    properties: &'p BasicProperties<'p>,
    measured: Measured,
    size: usize,
    payload: u32,
}

impl<'p> HeaderFrame<'p> {
    #[inline]
    fn new(
        frame_max: u32,
        channel: u16,
        body_size: u64,
        properties: &'p BasicProperties<'_>,
    ) -> Result<Self, EncodeError> {
        let measured = properties.measure()?;
        let size = FRAME_OVERHEAD + CONTENT_HEADER_LEN + measured.len;
        let payload = payload_len(size, frame_max)?;
        Ok(Self { channel, body_size, properties, measured, size, payload })
    }

    #[inline]
    fn write(&self, to: &mut Writer<'_>) {
        to.array(frame_header(FrameKind::Header, self.channel, self.payload));
        let [c0, c1] = ContentHeader::CLASS_ID.to_be_bytes();
        to.array([c0, c1, 0, 0]); // the weight is not used
        to.array(self.body_size.to_be_bytes());
        self.properties.write(self.measured, to);
        to.array([FRAME_END]);
    }
}

#[inline]
fn frame_header(kind: FrameKind, channel: u16, payload: u32) -> [u8; 7] {
    let (channel, payload) = (channel.to_be_bytes(), payload.to_be_bytes());
    [kind as u8, channel[0], channel[1], payload[0], payload[1], payload[2], payload[3]]
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
