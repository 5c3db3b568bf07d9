//! Whatever bytes come, in whatever state: an error with its code or a wait for more, never a
//! panic, and never memory by the peer's word. Hazards 1, 4 and 16.

use proptest::collection::vec;
use proptest::prelude::*;

use super::broker;
use super::pair::{Happened, Pair, READ_BUFFER};
use crate::error::{Error, Phase, ProtocolError};
use crate::protocol::{DecodeError, ShortStr, basic, connection, queue};

/// A pair in every state there is, each with bytes of all kinds possibly on their way.
fn in_every_state() -> Vec<(&'static str, Pair)> {
    let handshake = |phase| {
        let mut pair = Pair::connected();
        if phase != Phase::Protocol {
            pair.feed(&broker::start());
        }
        if phase == Phase::Open {
            pair.feed(&broker::tune(0, 4096));
        }
        pair
    };
    let open = || {
        let mut pair = Pair::tuned(0, 4096);
        let channel = pair.open_channel();
        pair.consumer(channel, "c", false);
        (pair, channel)
    };
    let (mut busy, channel) = open();
    busy.get(channel, "get").unwrap();
    busy.declare(channel, "queued");
    let (mut cancelling, channel) = open();
    cancelling.cancel(channel, "c").unwrap();
    let (mut assembling, _) = open();
    assembling.feed(&broker::deliver_method(1, "c", 1));
    assembling.feed(&broker::header(1, 100_000));
    let (mut channel_closing, channel) = open();
    channel_closing.close_channel(channel, "bye").unwrap();
    let (mut waiting, channel) = open();
    waiting.declare(channel, "unanswered");
    waiting.close("bye").unwrap();
    let (mut closing, _) = open();
    closing.close("bye").unwrap();
    let (mut closed, _) = open();
    closed.lose();
    vec![
        ("protocol", handshake(Phase::Protocol)),
        ("authentication", handshake(Phase::Authentication)),
        ("opening", handshake(Phase::Open)),
        ("open", open().0),
        ("busy", busy),
        ("cancelling", cancelling),
        ("assembling", assembling),
        ("channel closing", channel_closing),
        ("close waiting", waiting),
        ("closing", closing),
        ("closed", closed),
    ]
}

/// After any input: the machine waits, or it has ended and said so once.
fn is_sound(pair: &mut Pair) -> Result<(), TestCaseError> {
    let happened = pair.happened();
    let is_end = |happened: &Happened| matches!(happened, Happened::Closed { .. });
    let ends = happened.iter().filter(|happened| is_end(happened)).count();
    prop_assert!(ends <= 1, "{:?}", happened);
    if pair.machine.is_closed() {
        prop_assert!(happened.last().is_none_or(is_end), "{:?}", happened);
        prop_assert!(pair.unparsed.is_empty());
        prop_assert_eq!(pair.machine.deadline(), None);
    }
    // Nothing follows a Close but the answer to another, and that nothing at all. Decoding it all
    // shows that no frame is malformed.
    let sent = pair.sent_names();
    let mut end = sent.iter().skip_while(|name| !name.starts_with("0 connection.close")).peekable();
    if end.next().is_some_and(|name| name == "0 connection.close") {
        end.next_if(|name| *name == "0 connection.close-ok");
    }
    prop_assert!(end.next().is_none(), "{:?}", sent);
    pair.lose();
    prop_assert!(pair.machine.is_closed());
    Ok(())
}

/// Frames that look right, of all kinds, on the channels in use and others.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let channel = prop_oneof![4 => Just(1u16), 1 => 0..3u16];
    let ids = prop_oneof![
        any::<(u16, u16)>(),
        (prop_oneof![Just(10u16), Just(20), Just(40), Just(50), Just(60), Just(90)], 0..130u16),
    ];
    let method = (channel.clone(), ids, vec(any::<u8>(), 0..40)).prop_map(
        |(channel, (class, method), arguments)| {
            let mut payload = class.to_be_bytes().to_vec();
            payload.extend(method.to_be_bytes());
            payload.extend(arguments);
            broker::raw(1, channel, &payload)
        },
    );
    let zeros = (channel.clone(), 0..130u8, prop_oneof![Just(10u8), Just(20), Just(60)]).prop_map(
        |(channel, method, class)| {
            let mut payload = vec![0; 24];
            (payload[1], payload[3]) = (class, method);
            broker::raw(1, channel, &payload)
        },
    );
    let known = prop_oneof![
        Just(broker::deliver_method(1, "c", 1)),
        Just(broker::deliver(1, "c", 1, b"body")),
        Just(broker::get_ok(1, b"body")),
        Just(broker::method(1, &basic::CancelOk { consumer_tag: "c".into() })),
        Just(broker::method(1, &basic::Cancel { consumer_tag: "c".into() })),
        Just(broker::method(1, &queue::DeclareOk::default())),
        Just(broker::method(1, &basic::GetEmpty {})),
        Just(broker::channel_close(1, 404, "x")),
        Just(broker::channel_close_ok(1)),
        Just(broker::close(320, "x")),
        Just(broker::close_ok()),
        Just(broker::start()),
        Just(broker::tune(1, 4096)),
        Just(broker::open_ok()),
        Just(broker::heartbeat()),
    ];
    let header = (channel.clone(), any::<u64>(), 0..64u64).prop_map(|(channel, large, small)| {
        broker::header(channel, if large % 2 == 0 { small } else { large })
    });
    let body = (channel.clone(), vec(any::<u8>(), 0..64))
        .prop_map(|(channel, body)| broker::body(channel, &body));
    let raw = (any::<u8>(), channel, vec(any::<u8>(), 0..64))
        .prop_map(|(kind, channel, payload)| broker::raw(kind, channel, &payload));
    prop_oneof![2 => method, 2 => zeros, 8 => known, 2 => header, 2 => body, 1 => raw]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_it_panic_in_any_state(bytes in vec(any::<u8>(), 0..200), read in 1..50usize) {
        for (_, mut pair) in in_every_state() {
            pair.happened();
            pair.sent();
            pair.dribble(&bytes, read);
            is_sound(&mut pair)?;
        }
    }

    #[test]
    fn no_frames_make_it_panic_in_any_state(frames in vec(frame(), 1..8), read in 1..400usize) {
        for (_, mut pair) in in_every_state() {
            pair.happened();
            pair.sent();
            pair.dribble(&frames.concat(), read);
            is_sound(&mut pair)?;
        }
    }
}

#[test]
fn a_frame_of_an_impossible_size_is_501_before_its_body_comes_hazard_1() {
    for kind in [1, 2, 3, 8] {
        for size in [4096 - 7, 1 << 31, u32::MAX] {
            for (state, mut pair) in in_every_state() {
                if matches!(state, "closed" | "protocol") {
                    continue;
                }
                pair.happened();
                pair.sent();
                let mut bytes = vec![kind, 0, 1];
                bytes.extend(size.to_be_bytes());
                pair.feed(&bytes);
                let frame_max = 4096;
                let size = u64::from(size) + 8;
                let error = ProtocolError::Decode(DecodeError::FrameTooLarge { size, frame_max });
                let happened = pair.happened();
                let Some(Happened::Closed { error: ended, .. }) = happened.last() else {
                    panic!("{state}: {happened:?}");
                };
                assert_eq!(*ended, Error::Protocol(error), "{state}");
                let closes = broker::closes(&pair.sent());
                let expected = usize::from(state != "closing");
                assert_eq!(closes.len(), expected, "{state}");
                assert!(closes.iter().all(|(code, _)| *code == 501));
            }
        }
    }
}

#[test]
fn frames_of_every_small_size_are_judged_hazard_1() {
    for size in 0..=13 {
        for kind in [1, 2, 3, 8] {
            for channel in [0, 1, 2] {
                for (_, mut pair) in in_every_state() {
                    pair.happened();
                    pair.sent();
                    pair.feed(&broker::raw(kind, channel, &vec![0; size]));
                    // The frame is complete, so there is nothing to wait for.
                    assert!(pair.unparsed.is_empty());
                    is_sound(&mut pair).unwrap();
                }
            }
        }
    }
}

#[test]
fn a_wrong_end_octet_and_an_unknown_type_are_501_hazard_1() {
    let mut wrong_end = broker::heartbeat();
    wrong_end[7] = 0xCD;
    for (bytes, error) in [
        (wrong_end, DecodeError::FrameEnd(0xCD)),
        (vec![0], DecodeError::UnknownFrameKind(0)),
        (vec![4], DecodeError::UnknownFrameKind(4)),
        (vec![b'A'], DecodeError::UnknownFrameKind(b'A')),
    ] {
        let mut pair = Pair::open();
        pair.feed(&bytes);
        let error = Error::Protocol(error.into());
        assert_eq!(pair.happened(), [Happened::Closed { error, was_open: true }]);
        assert_eq!(broker::closes(&pair.sent())[0].0, 501);
    }
}

#[test]
fn a_method_that_does_not_exist_is_540_and_one_cut_short_502() {
    for (payload, code) in [
        (&b"\0\x63\0\x01"[..], 540),
        (b"\0\x3c\xff\xff", 540),
        (b"\0\x3c", 502),
        (b"", 502),
        (b"\0\x3c\0\x3c\x0cctag", 502),
        (b"\0\x32\0\x0b\xff", 502),
    ] {
        for channel in [0, 1] {
            let (mut pair, _) = Pair::with_channel();
            pair.feed(&broker::raw(1, channel, payload));
            assert_eq!(broker::closes(&pair.sent())[0].0, code, "{payload:?}");
        }
    }
}

#[test]
fn a_close_text_that_is_not_utf_8_is_told_with_replacements() {
    let mut pair = Pair::open();
    let reply_text = ShortStr::from(b"caf\xe9");
    let close = connection::Close { reply_code: 320, reply_text, class_id: 0, method_id: 0 };
    pair.feed(&broker::method(0, &close));
    let happened = pair.happened();
    let [Happened::Closed { error: Error::ConnectionClosed(closed), .. }] = &happened[..] else {
        panic!("{happened:?}");
    };
    assert_eq!(closed.reply_text, "caf\u{fffd}");
}

#[test]
fn memory_follows_what_came_and_not_what_a_header_claims_hazard_4() {
    for claim in [1 << 31, 1 << 60, u64::MAX] {
        let mut parameters = crate::connection::ConnectionParameters::default();
        parameters.set_max_message_size(usize::MAX);
        let mut pair = Pair::open_with(parameters);
        let channel = pair.open_channel();
        pair.consumer(channel, "c", false);
        pair.feed(&broker::deliver_method(1, "c", 1));
        pair.feed(&broker::header(1, claim));
        for _ in 0..100 {
            pair.feed(&broker::body(1, &[0; 1000]));
        }
        // That it has not run out of memory is the test. It waits for the rest.
        assert_eq!(pair.happened(), []);
        assert!(pair.machine.is_open() && pair.unparsed.is_empty());
    }
}

#[test]
fn regression_a_bloated_deliver_and_header_leave_room_in_the_read_buffer() {
    // Octets behind the arguments and the properties are let pass, up to frame_max each.
    let mut deliver = broker::deliver_method(1, "c", 1)[7..].to_vec();
    deliver.pop();
    deliver.resize(131_072 - 8, 0);
    let mut header = broker::header(1, 30_000)[7..].to_vec();
    header.pop();
    header.resize(131_072 - 8, 0);
    let frames =
        [broker::raw(1, 1, &deliver), broker::raw(2, 1, &header), broker::body(1, &[7; 30_000])];
    for most in [READ_BUFFER, 60_000, 1_000] {
        let (mut pair, channel) = Pair::with_channel();
        pair.consumer(channel, "c", false);
        let mut bytes = &frames.concat()[..];
        // As the loop reads: as much as the buffer has room for, or what has come.
        while !bytes.is_empty() {
            let room = READ_BUFFER - pair.unparsed.len();
            assert!(room >= READ_BUFFER / 3, "TLS needs room for its own beside the plain bytes");
            let (read, rest) = bytes.split_at(room.min(most).min(bytes.len()));
            pair.feed(read);
            bytes = rest;
        }
        assert_eq!(pair.happened(), [super::pair::delivered(1, "c", 1, &[7; 30_000])]);
    }
}
