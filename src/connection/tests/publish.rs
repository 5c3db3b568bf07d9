//! What a publish puts on the wire, and that one which cannot be encoded leaves no trace.

use std::io::IoSlice;

use bytes::Bytes;

use super::broker;
use super::pair::{Pair, pattern};
use crate::channel::ChannelId;
use crate::error::{Misuse, PublishError};
use crate::protocol::{BasicProperties, EncodeError, FieldTable, basic, queue};

fn publish(
    pair: &mut Pair,
    channel: ChannelId,
    method: &basic::Publish<'_>,
    properties: &BasicProperties<'_>,
    body: Vec<u8>,
) -> Result<u64, PublishError> {
    pair.work(channel, |state, wire| state.publish(wire, method, properties, &mut body.into()))
}

fn too_large(pair: &Pair, headers: FieldTable<'static>) -> (BasicProperties<'static>, EncodeError) {
    let size = 8 + 12 + 2 + 4 + headers.encoded().len();
    let frame_max = pair.machine.limits().frame_max;
    let properties = BasicProperties { headers: Some(headers), ..Default::default() };
    (properties, EncodeError::FrameTooLarge { size, frame_max })
}

#[test]
fn bodies_are_cut_to_frame_max_and_carry_every_byte() {
    let mut pair = Pair::tuned(0, 4096);
    let channel = pair.open_channel();
    for size in [0, 1, 4087, 4088, 4089, 3 * 4088, 8192, 8193, 100_000] {
        let body = pattern(size);
        // Borrowed, and handed over: by reference when it is long.
        for handed_over in [false, true] {
            let sequence = if handed_over {
                pair.publish(channel, body.clone())
            } else {
                pair.publish(channel, &body)
            };
            assert!(sequence.is_ok());
            let mut expected = broker::method(
                1,
                &basic::Publish { routing_key: "key".into(), ..Default::default() },
            );
            expected.extend(broker::content(1, &body, 4096));
            assert!(pair.sent() == expected, "{size} bytes, handed over: {handed_over}");
        }
    }
}

#[test]
fn a_string_of_300_bytes_is_an_error_and_leaves_nothing() {
    let (mut pair, channel) = Pair::with_channel();
    let long = "k".repeat(300);
    let error = EncodeError::ShortStringTooLong { length: 300 };
    let refused = Err(PublishError::Misuse(Misuse::Encode(error)));
    let none = BasicProperties::default();

    let method = basic::Publish { routing_key: (&long).into(), ..Default::default() };
    assert_eq!(publish(&mut pair, channel, &method, &none, vec![1; 10]), refused);
    let expiration = Some((&long).into());
    let properties = BasicProperties { expiration, ..Default::default() };
    let method = basic::Publish::default();
    assert_eq!(publish(&mut pair, channel, &method, &properties, vec![1; 10]), refused);
    assert!(pair.sent().is_empty());
    assert_eq!(pair.publish(channel, "x"), Ok(1), "what was refused is not counted");
}

#[test]
fn headers_past_frame_max_are_an_error_and_leave_nothing() {
    let mut pair = Pair::tuned(0, 4096);
    let channel = pair.open_channel();
    let fits = FieldTable::new().with("h", "x".repeat(4096 - 8 - 12 - 2 - 4 - 7)).unwrap();
    let properties = BasicProperties { headers: Some(fits), ..Default::default() };
    let method = basic::Publish::default();
    assert_eq!(publish(&mut pair, channel, &method, &properties, vec![]), Ok(1));
    let before = pair.machine.output().len();
    let headers = FieldTable::new().with("h", "x".repeat(4096 - 8 - 12 - 2 - 4 - 6)).unwrap();
    let (properties, error) = too_large(&pair, headers);
    let refused = Err(PublishError::Misuse(Misuse::Encode(error)));
    for size in [0, 1, 10_000] {
        assert_eq!(publish(&mut pair, channel, &method, &properties, vec![1; size]), refused);
        assert_eq!(pair.machine.output().len(), before);
    }
    assert_eq!(pair.sent_names(), ["1 basic.publish", "1 header(0)"]);
}

#[test]
fn a_publish_refused_behind_waiting_requests_leaves_nothing_there() {
    let (mut pair, channel) = Pair::with_channel();
    pair.declare(channel, "a");
    pair.declare(channel, "b");
    assert_eq!(pair.publish(channel, "kept"), Ok(1));
    let headers = FieldTable::new().with("h", "x".repeat(200_000)).unwrap();
    let (properties, error) = too_large(&pair, headers);
    let refused = Err(PublishError::Misuse(Misuse::Encode(error)));
    let method = basic::Publish::default();
    assert_eq!(publish(&mut pair, channel, &method, &properties, vec![1; 10_000]), refused);
    pair.declare(channel, "c");
    assert_eq!(publish(&mut pair, channel, &method, &properties, vec![1; 10]), refused);
    pair.sent();
    pair.feed(&broker::method(1, &queue::DeclareOk::default()));
    let kept = ["1 queue.declare", "1 basic.publish", "1 header(4)", "1 body(4)"];
    assert_eq!(pair.sent_names(), kept);
    pair.feed(&broker::method(1, &queue::DeclareOk::default()));
    assert_eq!(pair.sent_names(), ["1 queue.declare"]);
    pair.feed(&broker::method(1, &queue::DeclareOk::default()));
    assert!(pair.sent().is_empty());
    assert_eq!(pair.happened().len(), 3);
}

#[test]
fn nothing_is_published_on_a_channel_that_is_not_open() {
    let mut pair = Pair::open();
    let refused = Err(PublishError::Misuse(Misuse::ChannelNotOpen));
    let channel = pair.ask_channel(None, "open").unwrap();
    pair.sent();
    assert_eq!(pair.publish(channel, "x"), refused, "still opening");
    pair.feed(&broker::method(1, &crate::protocol::channel::OpenOk {}));
    assert_eq!(pair.publish(channel, ""), Ok(1));
    pair.close_channel(channel, "bye").unwrap();
    assert_eq!(pair.publish(channel, "x"), refused, "closing");
    pair.feed(&broker::channel_close_ok(1));
    assert_eq!(pair.publish(channel, "x"), refused, "closed");
    assert_eq!(pair.sent_names(), ["1 basic.publish", "1 header(0)", "1 channel.close"]);
}

/// What a write would be given.
fn slices(pair: &mut Pair) -> Vec<(*const u8, usize)> {
    let mut slices = [IoSlice::new(&[]); 64];
    let used = pair.machine.output().slices(&mut slices);
    slices[..used].iter().map(|slice| (slice.as_ptr(), slice.len())).collect()
}

#[test]
fn a_long_body_that_is_handed_over_is_written_from_where_it_lies() {
    const FRAME_MAX: usize = 131_072;
    for size in [8 * 1024 + 1, 64 * 1024, FRAME_MAX - 8, 300_000] {
        let mut pair = Pair::tuned(0, FRAME_MAX as u32);
        let channel = pair.open_channel();
        let body = Bytes::from(pattern(size));
        pair.publish(channel, body.clone()).unwrap();
        let all = slices(&mut pair);
        let within = body.as_ptr_range();
        let parts: Vec<_> = all.into_iter().filter(|(at, _)| within.contains(at)).collect();
        // In frames, one behind the other, and all of it.
        let frames = body.chunks(FRAME_MAX - 8).map(|part| (part.as_ptr(), part.len()));
        assert_eq!(parts, Vec::from_iter(frames), "{size} bytes");
    }
}

#[test]
fn a_body_that_is_short_or_borrowed_is_copied_so_that_one_slice_has_all() {
    let (mut pair, channel) = Pair::with_channel();
    pair.publish(channel, Bytes::from(pattern(8 * 1024))).unwrap();
    pair.publish(channel, &pattern(20_000)[..]).unwrap();
    assert_eq!(slices(&mut pair).len(), 1);
}
