//! Messages in every shape and cut. Hazards 4 to 6, 8 and 11.

use std::cell::RefCell;
use std::rc::Rc;

use super::broker;
use super::pair::{Happened, Pair, delivered, digest, pattern, replied};
use crate::channel::{Channel, ChannelId, Delivery, OnMessage};
use crate::error::{Error, ProtocolError};
use crate::protocol::{BasicProperties, DecodeError, ShortStr, basic, queue};

fn consuming(frame_max: u32) -> (Pair, ChannelId) {
    let mut pair = Pair::tuned(0, frame_max);
    let channel = pair.open_channel();
    pair.consumer(channel, "c", false);
    (pair, channel)
}

/// Ends the connection with that error and code.
fn violates(mut pair: Pair, bytes: &[u8], error: impl Into<ProtocolError>, code: u16) {
    pair.feed(bytes);
    let error = Error::Protocol(error.into());
    assert_eq!(pair.happened().last(), Some(&Happened::Closed { error, was_open: true }));
    assert_eq!(broker::closes(&pair.sent())[0].0, code);
}

fn unexpected(frame: &'static str) -> ProtocolError {
    ProtocolError::UnexpectedFrame { channel: 1, frame }
}

#[test]
fn a_message_is_the_same_whatever_byte_a_read_is_cut_at() {
    let (mut pair, _) = consuming(131_072);
    for body in [&b""[..], b"x", b"some more bytes"] {
        let message = broker::deliver(1, "c", 7, body);
        for cut in 0..=message.len() {
            pair.feed(&message[..cut]);
            assert_eq!(pair.happened().len(), usize::from(cut == message.len()));
            pair.feed(&message[cut..]);
            let expected = [delivered(1, "c", 7, body)];
            assert_eq!(pair.happened(), if cut < message.len() { &expected[..] } else { &[] });
        }
        pair.dribble(&message, 1);
        assert_eq!(pair.happened(), [delivered(1, "c", 7, body)]);
    }
    assert!(pair.unparsed.is_empty());
}

#[test]
fn a_message_of_several_frames_is_the_same_whatever_byte_a_read_is_cut_at() {
    let (mut pair, _) = consuming(4096);
    let body = pattern(2 * 4088 + 5);
    let mut message = broker::deliver_method(1, "c", 1);
    message.extend(broker::content(1, &body, 4096));
    for cut in (1..message.len()).step_by(7) {
        pair.feed(&message[..cut]);
        pair.feed(&message[cut..]);
        assert_eq!(pair.happened(), [delivered(1, "c", 1, &body)], "cut at {cut}");
    }
}

#[test]
fn bodies_of_every_size_come_whole_hazard_6() {
    for frame_max in [4096, 131_072] {
        let (mut pair, _) = consuming(frame_max);
        let chunk = frame_max as usize - 8;
        let sizes = [0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 3 * chunk];
        // Around what is left unparsed, and more than one read takes.
        for size in sizes.into_iter().chain([32_767, 32_768, 32_769, 300_000]) {
            let body = pattern(size);
            let mut message = broker::deliver_method(1, "c", 1);
            message.extend(broker::content(1, &body, frame_max));
            for read in [1_000, 65_536, 1_000_000] {
                pair.dribble(&message, read);
                assert_eq!(pair.happened(), [delivered(1, "c", 1, &body)], "{size} by {read}");
            }
        }
        assert!(pair.unparsed.is_empty());
    }
}

#[test]
fn a_body_in_frames_of_any_size_comes_whole() {
    let (mut pair, _) = consuming(131_072);
    let body = pattern(1000);
    for size in [1, 3, 999] {
        let mut message = broker::deliver_method(1, "c", 1);
        message.extend(broker::header(1, 1000));
        message.extend(broker::body(1, b"")); // an empty one is nothing
        body.chunks(size).for_each(|part| message.extend(broker::body(1, part)));
        for read in [11, 1_000_000] {
            pair.dribble(&message, read);
            assert_eq!(pair.happened(), [delivered(1, "c", 1, &body)]);
        }
    }
}

#[test]
fn properties_are_the_same_in_the_read_buffer_and_put_together() {
    let (mut pair, channel) = Pair::with_channel();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let saw = Rc::clone(&seen);
    let consume = basic::Consume { consumer_tag: "looks".into(), ..Default::default() };
    let looks = move |_: &Channel, delivery: &Delivery<'_>| {
        saw.borrow_mut().push(delivery.properties().map(BasicProperties::into_owned));
    };
    let mut on_message: Option<OnMessage> = Some(Rc::new(RefCell::new(looks)));
    let mut completion = Some(pair.on_reply("looks"));
    pair.work(channel, |state, wire| {
        state.consume(wire, consume, &mut on_message, &mut completion)
    })
    .unwrap();
    let header = broker::raw(2, 1, b"\0\x3c\0\0\0\0\0\0\0\0\0\x05\x80\0\x04text and more behind");
    // A frame in between has the message put together apart.
    for between in [vec![], broker::heartbeat()] {
        pair.feed(&broker::deliver_method(1, "looks", 1));
        pair.feed(&[&between[..], &header, &broker::body(1, b"hello")].concat());
    }
    let properties = BasicProperties { content_type: Some("text".into()), ..Default::default() };
    assert_eq!(seen.take(), [Ok(properties.clone()), Ok(properties)]);
}

#[test]
fn properties_that_cannot_be_read_spoil_no_other_message_hazard_5() {
    let (mut pair, _) = consuming(131_072);
    let mut bad = broker::deliver_method(1, "c", 1);
    // The flags announce headers; a table of 2^32-1 bytes is said to follow.
    bad.extend(broker::raw(2, 1, b"\0\x3c\0\0\0\0\0\0\0\0\0\x01\x20\0\xff\xff\xff\xff"));
    bad.extend(broker::body(1, b"x"));
    pair.feed(&bad);
    pair.feed(&broker::deliver(1, "c", 2, b"y"));
    let messages = [delivered(1, "c", 1, b"x"), delivered(1, "c", 2, b"y")];
    assert_eq!(pair.happened(), messages);
}

#[test]
fn contents_of_channels_come_in_between_each_other_hazard_8() {
    let (mut pair, first) = consuming(4096);
    let second = pair.open_channel();
    let third = pair.open_channel();
    pair.consumer(second, "c", false);
    pair.declare(third, "q");
    pair.get(first, "get").unwrap();
    let (one, two) = (pattern(10_000), vec![b'2'; 9_000]);
    let frames = |channel: u16, method: Vec<u8>, body: &[u8]| {
        let mut frames = vec![method, broker::header(channel, body.len() as u64)];
        frames.extend(body.chunks(4088).map(|part| broker::body(channel, part)));
        frames
    };
    let get_ok = broker::method(1, &basic::GetOk::default());
    let ones = frames(1, get_ok, &one);
    let twos = frames(2, broker::deliver_method(2, "c", 5), &two);
    let mut bytes = Vec::new();
    for index in 0..ones.len().max(twos.len()) {
        bytes.extend(ones.get(index).into_iter().flatten());
        bytes.extend(broker::heartbeat());
        bytes.extend(twos.get(index).into_iter().flatten());
        if index == 1 {
            bytes.extend(broker::method(3, &queue::DeclareOk::default()));
        }
    }
    for read in [13, 4096, 1_000_000] {
        let expected = [
            replied("q", "queue.declare-ok"),
            Happened::Got("get".into(), Ok(Some(digest(&one)))),
            delivered(2, "c", 5, &two),
        ];
        pair.dribble(&bytes, read);
        let mut happened = pair.happened();
        happened.sort_by_key(|happened| match happened {
            Happened::Replied(..) => 0,
            Happened::Got(..) => 1,
            _ => 2,
        });
        assert_eq!(happened, expected, "by {read}");
        pair.declare(third, "q");
        pair.get(first, "get").unwrap();
    }
}

#[test]
fn a_content_is_never_taken_for_that_of_another_channel_hazard_8() {
    let (mut pair, _) = consuming(131_072);
    let second = pair.open_channel();
    pair.consumer(second, "c", false);
    let methods = [1, 2].map(|channel| broker::deliver_method(channel, "c", channel.into()));
    let headers = [1, 2].map(|channel| broker::header(channel, 3));
    let bodies = [broker::body(1, b"one"), broker::body(2, b"two")];
    let orders = [
        [&methods[1], &methods[0], &headers[1], &headers[0], &bodies[1], &bodies[0]],
        [&methods[1], &headers[1], &methods[0], &headers[0], &bodies[1], &bodies[0]],
        [&methods[1], &headers[1], &methods[0], &bodies[1], &headers[0], &bodies[0]],
    ];
    for order in orders {
        let bytes: Vec<u8> = order.into_iter().flatten().copied().collect();
        for read in [1, 1_000] {
            pair.dribble(&bytes, read);
            let messages = [delivered(2, "c", 2, b"two"), delivered(1, "c", 1, b"one")];
            assert_eq!(pair.happened(), messages);
        }
    }
    // An empty one is complete with its header.
    let empty = broker::header(2, 0);
    let bytes: Vec<u8> = [&methods[1], &methods[0], &empty, &headers[0], &bodies[0]]
        .into_iter()
        .flatten()
        .copied()
        .collect();
    for read in [1, 1_000] {
        pair.dribble(&bytes, read);
        assert_eq!(pair.happened(), [delivered(2, "c", 2, b""), delivered(1, "c", 1, b"one")]);
    }
}

#[test]
fn a_delivery_may_come_before_consume_ok_and_in_the_same_read_hazard_11() {
    let (mut pair, channel) = Pair::with_channel();
    for tag in ["before", ""] {
        let consume = basic::Consume { consumer_tag: tag.into(), ..Default::default() };
        let tag = pair.consume(channel, consume).unwrap();
        let label = if tag == "before" { "before" } else { "own" };
        let mut bytes = broker::deliver(1, &tag, 1, b"early");
        let consumer_tag = ShortStr::from(&tag);
        bytes.extend(broker::method(1, &basic::ConsumeOk { consumer_tag }));
        bytes.extend(broker::deliver(1, &tag, 2, b"late"));
        pair.feed(&bytes);
        assert_eq!(
            pair.happened(),
            [
                delivered(1, label, 1, b"early"),
                replied(&format!("consume {label}"), "basic.consume-ok"),
                delivered(1, label, 2, b"late"),
            ]
        );
    }
}

#[test]
fn a_returned_message_is_told_whole_and_in_parts() {
    let (mut pair, _) = Pair::with_channel();
    let mut bytes = broker::method(1, &basic::Return { reply_code: 312, ..Default::default() });
    bytes.extend(broker::content(1, b"unroutable", 131_072));
    for read in [1, 1_000] {
        pair.dribble(&bytes, read);
        assert_eq!(pair.happened(), [Happened::Returned(1, "unroutable".into())]);
    }
}

#[test]
fn a_body_longer_than_declared_is_501_hazard_4() {
    let mut bytes = broker::deliver_method(1, "c", 1);
    bytes.extend(broker::header(1, 10));
    for (bodies, received) in [(&["elevenbytes"][..], 11), (&["12345", "678", "9xx"], 11)] {
        let mut bytes = bytes.clone();
        bodies.iter().for_each(|body| bytes.extend(broker::body(1, body.as_bytes())));
        let error = ProtocolError::BodyTooLong { channel: 1, declared: 10, received };
        violates(consuming(131_072).0, &bytes, error, 501);
    }
}

#[test]
fn a_body_behind_a_message_of_no_body_is_505() {
    let mut bytes = broker::deliver(1, "c", 1, b"");
    bytes.extend(broker::body(1, b"x"));
    violates(consuming(131_072).0, &bytes, unexpected("content body"), 505);
}

#[test]
fn content_out_of_turn_is_505() {
    let deliver = broker::deliver_method(1, "c", 1);
    let whole = broker::deliver(1, "c", 1, b"x");
    let header = broker::header(1, 5);
    let body = broker::body(1, b"x");
    for (frames, frame) in [
        (vec![&header], "content header"),
        (vec![&body], "content body"),
        (vec![&whole, &header], "content header"),
        (vec![&whole, &body], "content body"),
        (vec![&deliver, &body], "content body"),
        (vec![&deliver, &header, &header], "content header"),
        (vec![&deliver, &deliver], "method in a content"),
        (vec![&deliver, &header, &deliver], "method in a content"),
        (vec![&deliver, &header, &body, &deliver], "method in a content"),
    ] {
        let all: Vec<u8> = frames.iter().copied().flatten().copied().collect();
        violates(consuming(131_072).0, &all, unexpected(frame), 505);
        let mut pair = consuming(131_072).0;
        let (last, before) = frames.split_last().unwrap();
        before.iter().for_each(|frame| pair.feed(frame));
        violates(pair, last, unexpected(frame), 505);
    }
}

#[test]
fn content_on_channel_0_is_505() {
    for (bytes, frame) in
        [(broker::header(0, 5), "content header"), (broker::body(0, b"x"), "content body")]
    {
        let error = ProtocolError::UnexpectedFrame { channel: 0, frame };
        violates(Pair::open(), &bytes, error, 505);
    }
}

#[test]
fn a_content_header_that_is_cut_short_is_502() {
    for length in 0..12 {
        let mut bytes = broker::deliver_method(1, "c", 1);
        bytes.extend(broker::raw(2, 1, &[0; 12][..length]));
        let mut pair = consuming(131_072).0;
        pair.feed(&bytes);
        let happened = pair.happened();
        assert!(matches!(
            happened.last(),
            Some(Happened::Closed {
                error: Error::Protocol(ProtocolError::Decode(DecodeError::Truncated { .. })),
                ..
            })
        ));
        assert_eq!(broker::closes(&pair.sent())[0].0, 502);
    }
}

#[test]
fn a_message_for_an_unknown_consumer_is_dropped_whole() {
    let (mut pair, _) = consuming(4096);
    for body in [pattern(3), pattern(9_000)] {
        let mut bytes = broker::deliver_method(1, "stranger", 1);
        bytes.extend(broker::content(1, &body, 4096));
        bytes.extend(broker::deliver(1, "c", 2, b"x"));
        pair.feed(&bytes);
        assert_eq!(pair.happened(), [delivered(1, "c", 2, b"x")]);
        assert!(pair.sent().is_empty());
    }
}
