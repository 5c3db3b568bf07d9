//! What a broker sends, made by hand.

use crate::protocol::{BasicProperties, EncodeMethod, encode_content_header, encode_method};

/// A method frame.
pub(crate) fn method<M: EncodeMethod>(channel: u16, method: &M) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_method(&mut bytes, 0, channel, method).expect("it can be encoded");
    bytes
}

/// A frame of anything: well-formed but for what `kind` and `payload` are.
pub(crate) fn raw(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(channel.to_be_bytes());
    bytes.extend((payload.len() as u32).to_be_bytes());
    bytes.extend(payload);
    bytes.push(0xCE);
    bytes
}

/// A content header frame that claims this size, with no properties.
pub(crate) fn header(channel: u16, body_size: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let none = BasicProperties::default();
    encode_content_header(&mut bytes, 0, channel, body_size, &none).expect("it can be encoded");
    bytes
}
