//! A publish becomes frames.

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
    let encoded = output.encoded();
    encode_message_head(encoded, frame_max, channel, method, length as u64, properties)?;
    let chunk = frame_max as usize - FRAME_OVERHEAD;
    let copied = match &mut body.0 {
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
            return Ok(frames);
        }
        BodyBytes::Shared(bytes) => &**bytes,
        BodyBytes::Borrowed(bytes) => bytes,
    };
    if (1..=chunk).contains(&length) {
        encode_body_frame(encoded, channel, copied);
        return Ok(3);
    }
    let frames = length.div_ceil(chunk);
    encoded.reserve(length + frames * FRAME_OVERHEAD);
    copied.chunks(chunk).for_each(|part| encode_body_frame(encoded, channel, part));
    Ok(2 + frames as u64)
}
