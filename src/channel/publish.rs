//! A publish becomes frames.

use super::message::{Body, BodyBytes};
use crate::connection::{BY_REFERENCE, Output};
use crate::error::PublishError;
use crate::protocol::{
    BasicProperties, FRAME_OVERHEAD, basic, begin_body_frame, encode_body_frame,
    encode_content_header, encode_method, end_frame,
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
    let encoded = output.encoded();
    let start = encoded.len();
    encode_method(encoded, frame_max, channel, method)?;
    let header = encode_content_header(encoded, frame_max, channel, length as u64, properties);
    if let Err(error) = header {
        encoded.truncate(start);
        return Err(error.into());
    }
    let chunk = frame_max as usize - FRAME_OVERHEAD;
    match &mut body.0 {
        BodyBytes::Shared(bytes) if length > BY_REFERENCE => {
            let mut rest = std::mem::take(bytes);
            let mut frames = 2;
            while !rest.is_empty() {
                let part = rest.split_to(rest.len().min(chunk));
                begin_body_frame(output.encoded(), channel, part.len() as u32);
                output.push_body(part);
                end_frame(output.encoded());
                frames += 1;
            }
            Ok(frames)
        }
        BodyBytes::Shared(bytes) => Ok(2 + encode_bodies(output.encoded(), channel, chunk, bytes)),
        BodyBytes::Borrowed(bytes) => {
            Ok(2 + encode_bodies(output.encoded(), channel, chunk, bytes))
        }
    }
}

#[inline]
fn encode_bodies(encoded: &mut Vec<u8>, channel: u16, chunk: usize, body: &[u8]) -> u64 {
    let frames = body.len().div_ceil(chunk);
    encoded.reserve(body.len() + frames * FRAME_OVERHEAD);
    for part in body.chunks(chunk) {
        encode_body_frame(encoded, channel, part);
    }
    frames as u64
}
