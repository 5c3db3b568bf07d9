//! A publish becomes frames.

use bytes::Bytes;

use super::message::{Body, BodyBytes};
use crate::connection::{BY_REFERENCE, Output};
use crate::error::PublishError;
use crate::protocol::{
    BasicProperties, FRAME_OVERHEAD, basic, begin_body_frame, encode_body_frame,
    encode_message_head, end_frame,
};

/// Encodes method, header and bodies behind what is in `output`, or nothing on `Err`. A body that
/// goes by reference is taken, others are the caller's to drop. Gives how many frames it took.
#[inline]
pub(crate) fn encode_publish(
    output: &mut Output,
    channel: u16,
    frame_max: u32,
    method: &basic::Publish<'_>,
    properties: &BasicProperties<'_>,
    body: &mut Body<'_>,
) -> Result<u64, PublishError> {
    let length = body.as_slice().len();
    let chunk = frame_max as usize - FRAME_OVERHEAD;
    let first = length.min(chunk);
    let encoded = output.encoded();
    let (size, begun) = (length as u64, first as u32);
    encode_message_head(encoded, frame_max, channel, method, properties, size, begun)?;
    let copied = match &mut body.0 {
        BodyBytes::Shared(bytes) if length > BY_REFERENCE => {
            let body = std::mem::take(bytes);
            return Ok(2 + put_by_reference(output, channel, chunk, body));
        }
        BodyBytes::Shared(bytes) => &**bytes,
        BodyBytes::Borrowed(bytes) => bytes,
    };
    if length == 0 {
        return Ok(2);
    }
    let (begun, rest) = copied.split_at(first);
    encoded.extend_from_slice(begun);
    end_frame(encoded);
    Ok(3 + if rest.is_empty() { 0 } else { encode_rest(encoded, channel, chunk, rest) })
}

/// Puts a body into its frames, of which the first is begun. Gives how many these are.
#[inline(never)]
fn put_by_reference(output: &mut Output, channel: u16, chunk: usize, mut body: Bytes) -> u64 {
    let mut frames = 1;
    output.push_body(body.split_to(body.len().min(chunk)));
    while !body.is_empty() {
        let part = body.split_to(body.len().min(chunk));
        end_frame(output.encoded());
        begin_body_frame(output.encoded(), channel, part.len() as u32);
        output.push_body(part);
        frames += 1;
    }
    end_frame(output.encoded());
    frames
}

/// Encodes what the first body frame has no room for. Gives how many frames it takes.
#[inline(never)]
fn encode_rest(encoded: &mut Vec<u8>, channel: u16, chunk: usize, rest: &[u8]) -> u64 {
    let parts = rest.chunks(chunk);
    let frames = parts.len();
    encoded.reserve(rest.len() + frames * FRAME_OVERHEAD);
    parts.for_each(|part| encode_body_frame(encoded, channel, part));
    frames as u64
}
