//! The broker's side of the wire: what it sends, and how it reads what the machine wrote.

pub(super) use crate::fuzzing::wire::{header, method, raw};
use crate::protocol::{
    FieldTable, Frame, FrameKind, LongStr, Method, PROTOCOL_HEADER, basic, channel, connection,
    encode_body_frame, encode_heartbeat,
};

pub(super) fn heartbeat() -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_heartbeat(&mut bytes);
    bytes
}

/// One body frame.
pub(super) fn body(channel: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_body_frame(&mut bytes, channel, body);
    bytes
}

/// A header and as many body frames as `frame_max` asks for.
pub(super) fn content(channel: u16, content: &[u8], frame_max: u32) -> Vec<u8> {
    let mut bytes = header(channel, content.len() as u64);
    for part in content.chunks(frame_max as usize - 8) {
        bytes.extend(body(channel, part));
    }
    bytes
}

pub(super) fn deliver_method(channel: u16, consumer_tag: &str, delivery_tag: u64) -> Vec<u8> {
    let deliver = basic::Deliver {
        consumer_tag: consumer_tag.into(),
        delivery_tag,
        exchange: "amq.direct".into(),
        routing_key: "key".into(),
        ..Default::default()
    };
    method(channel, &deliver)
}

/// A whole delivery, cut by the largest frame there is.
pub(super) fn deliver(channel: u16, consumer_tag: &str, delivery_tag: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = deliver_method(channel, consumer_tag, delivery_tag);
    bytes.extend(content(channel, body, 131_072));
    bytes
}

pub(super) fn get_ok(channel: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = method(channel, &basic::GetOk { delivery_tag: 1, ..Default::default() });
    bytes.extend(content(channel, body, 131_072));
    bytes
}

pub(super) fn start() -> Vec<u8> {
    start_offering("AMQPLAIN PLAIN")
}

pub(super) fn start_offering(mechanisms: &str) -> Vec<u8> {
    let server_properties = FieldTable::new().with("product", "fake").unwrap();
    let mechanisms = LongStr::from(mechanisms);
    let (version_major, version_minor, locales) = (0, 9, "en_US".into());
    let start =
        connection::Start { version_major, version_minor, server_properties, mechanisms, locales };
    method(0, &start)
}

/// Without heartbeats: their deadlines are for the tests of heartbeats.
pub(super) fn tune(channel_max: u16, frame_max: u32) -> Vec<u8> {
    method(0, &connection::Tune { channel_max, frame_max, heartbeat: 0 })
}

pub(super) fn open_ok() -> Vec<u8> {
    method(0, &connection::OpenOk {})
}

pub(super) fn close(reply_code: u16, reply_text: &str) -> Vec<u8> {
    let reply_text = reply_text.into();
    method(0, &connection::Close { reply_code, reply_text, class_id: 0, method_id: 0 })
}

pub(super) fn close_ok() -> Vec<u8> {
    method(0, &connection::CloseOk {})
}

pub(super) fn channel_close(channel: u16, reply_code: u16, reply_text: &str) -> Vec<u8> {
    let reply_text = reply_text.into();
    method(channel, &channel::Close { reply_code, reply_text, class_id: 50, method_id: 10 })
}

pub(super) fn channel_close_ok(channel: u16) -> Vec<u8> {
    method(channel, &channel::CloseOk {})
}

/// What the machine wrote, frame by frame: "AMQP", "1 queue.declare", "1 header(5)", "1 body(5)",
/// "heartbeat". Whatever is malformed or cut fails the test.
pub(super) fn names(mut bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    if let Some(rest) = bytes.strip_prefix(&PROTOCOL_HEADER) {
        names.push("AMQP".to_owned());
        bytes = rest;
    }
    for frame in frames(bytes) {
        let channel = frame.channel;
        names.push(match frame.kind {
            FrameKind::Method => {
                format!("{channel} {}", Method::decode(frame.payload).unwrap().name())
            }
            FrameKind::Header => {
                let size = crate::protocol::ContentHeader::decode(frame.payload).unwrap().body_size;
                format!("{channel} header({size})")
            }
            FrameKind::Body => format!("{channel} body({})", frame.payload.len()),
            FrameKind::Heartbeat => "heartbeat".to_owned(),
        });
    }
    names
}

fn frames(mut bytes: &[u8]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (frame, size) = Frame::parse(bytes, 0).unwrap().expect("no frame is cut");
        frames.push(frame);
        bytes = &bytes[size..];
    }
    frames
}

/// The codes and texts of every connection.close the machine wrote.
pub(super) fn closes(bytes: &[u8]) -> Vec<(u16, String)> {
    let methods = frames(bytes).into_iter().filter(|frame| frame.kind == FrameKind::Method);
    let closes = methods.filter_map(|frame| match Method::decode(frame.payload).unwrap() {
        Method::Connection(connection::Method::Close(close)) => {
            Some((close.reply_code, close.reply_text.to_string()))
        }
        _ => None,
    });
    closes.collect()
}
