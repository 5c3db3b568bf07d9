//! Body frames that a read has cut: what has come goes to the message at once, and nothing else is
//! told than of a frame that has come whole.

use super::broker;
use super::pair::{Happened, Pair, delivered, pattern};
use crate::channel::ChannelId;
use crate::connection::ConnectionParameters;
use crate::error::{Error, ProtocolError};
use crate::protocol::{DecodeError, FRAME_HEADER, channel};

const BODY: usize = 100_000;

fn consuming(parameters: ConnectionParameters) -> (Pair, ChannelId) {
    let mut pair = Pair::open_with(parameters);
    let channel = pair.open_channel();
    pair.consumer(channel, "c", false);
    (pair, channel)
}

/// The beginning of a large message, and its one body frame.
fn message(declared: usize, body: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut begun = broker::deliver_method(1, "c", 1);
    begun.extend(broker::header(1, declared as u64));
    (begun, broker::body(1, body))
}

/// One of which so much of the body frame has come.
fn begun(frame: usize) -> (Pair, ChannelId, Vec<u8>) {
    let (mut pair, channel) = consuming(ConnectionParameters::default());
    let (mut bytes, body) = message(BODY, &pattern(BODY));
    bytes.extend_from_slice(&body[..frame]);
    pair.feed(&bytes);
    assert_eq!(pair.happened(), []);
    (pair, channel, body[frame..].to_vec())
}

#[test]
fn what_has_come_of_a_large_body_does_not_wait_for_the_rest() {
    for payload in [0, 1, 5_000, BODY - 1, BODY] {
        let (mut pair, _, rest) = begun(FRAME_HEADER + payload);
        assert!(pair.unparsed.is_empty());
        assert_eq!(pair.machine.counters().buffered_in, payload);
        pair.feed(&rest[..rest.len() - 1]);
        assert_eq!(pair.happened(), [], "the frame has not ended");
        assert_eq!(pair.machine.counters().buffered_in, BODY);
        pair.feed(&rest[rest.len() - 1..]);
        assert_eq!(pair.happened(), [delivered(1, "c", 1, &pattern(BODY))]);
        assert_eq!(pair.machine.counters().buffered_in, 0);
        // What follows is read from its beginning.
        pair.feed(&broker::deliver(1, "c", 2, b"next"));
        assert_eq!(pair.happened(), [delivered(1, "c", 2, b"next")]);
    }
}

#[test]
fn a_frame_that_does_not_end_as_it_must_is_501_however_it_was_cut() {
    for payload in [0, 5_000, BODY] {
        let (mut pair, _, mut rest) = begun(FRAME_HEADER + payload);
        *rest.last_mut().unwrap() = 7;
        pair.feed(&rest);
        let error = Error::Protocol(ProtocolError::Decode(DecodeError::FrameEnd(7)));
        assert_eq!(pair.happened().last(), Some(&Happened::Closed { error, was_open: true }));
        assert_eq!(broker::closes(&pair.sent())[0].0, 501);
    }
}

#[test]
fn a_frame_longer_than_the_message_is_told_as_if_it_were_whole() {
    for cut in [0, FRAME_HEADER, 5_000, BODY] {
        let (mut pair, _) = consuming(ConnectionParameters::default());
        let (mut bytes, body) = message(BODY - 1, &pattern(BODY));
        bytes.extend_from_slice(&body[..cut]);
        pair.feed(&bytes);
        assert_eq!((pair.happened(), pair.machine.counters().buffered_in), (vec![], 0));
        pair.feed(&body[cut..]);
        let (declared, received) = (BODY as u64 - 1, BODY as u64);
        let error = ProtocolError::BodyTooLong { channel: 1, declared, received }.into();
        assert_eq!(pair.happened().last(), Some(&Happened::Closed { error, was_open: true }));
    }
}

#[test]
fn a_frame_that_crosses_the_bound_on_parts_is_refused_once_it_is_whole() {
    for read in [1_000_000, 9_000] {
        let mut parameters = ConnectionParameters::default();
        parameters.set_max_incomplete_size(BODY - 1);
        let (mut pair, _) = consuming(parameters);
        let (bytes, body) = message(2 * BODY, &pattern(BODY));
        pair.feed(&bytes);
        pair.dribble(&body[..body.len() - 1], read);
        assert_eq!((pair.happened(), pair.machine.counters().buffered_in), (vec![], 0));
        pair.feed(&body[body.len() - 1..]);
        assert!(matches!(pair.happened()[..], [Happened::ChannelClosed(1, _)]));
        pair.feed(&broker::channel_close_ok(1));
        assert_eq!(pair.machine.counters().channels, 0);
    }
}

#[test]
fn the_rest_of_a_body_that_nobody_waits_for_any_more_is_let_pass() {
    for connection_too in [false, true] {
        let (mut pair, channel, rest) = begun(50_000);
        if connection_too {
            pair.close("bye").unwrap();
        } else {
            pair.close_channel(channel, "bye").unwrap();
        }
        pair.sent();
        pair.feed(&rest[..10_000]);
        pair.feed(&rest[10_000..]);
        assert_eq!(pair.happened(), []);
        assert_eq!(pair.machine.counters().buffered_in, 0);
        // It is where the next frame begins.
        if connection_too {
            pair.feed(&broker::close_ok());
        } else {
            pair.feed(&broker::channel_close_ok(1));
        }
        assert_eq!(pair.machine.counters().channels, 0);
    }
}

#[test]
fn a_channel_that_the_user_closed_meanwhile_can_be_opened_again() {
    let (mut pair, channel, rest) = begun(50_000);
    pair.close_channel(channel, "bye").unwrap();
    pair.feed(&rest);
    pair.feed(&broker::channel_close_ok(1));
    let again = pair.ask_channel(Some(1), "again").unwrap();
    pair.feed(&broker::method(1, &channel::OpenOk {}));
    pair.happened();
    pair.consumer(again, "c", false);
    pair.happened();
    let body = pattern(BODY);
    pair.dribble(&broker::deliver(1, "c", 1, &body), 30_000);
    assert_eq!(pair.happened(), [delivered(1, "c", 1, &body)]);
}

#[test]
fn a_connection_lost_in_the_middle_forgets_it() {
    let (mut pair, ..) = begun(50_000);
    pair.lose();
    assert!(matches!(pair.happened().last(), Some(Happened::Closed { .. })));
    assert_eq!(pair.machine.counters().buffered_in, 0);
}
