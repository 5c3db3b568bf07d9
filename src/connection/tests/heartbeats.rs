//! Heartbeats (hazard 15), by a clock that moves when told.

use std::time::Duration;

use super::broker;
use super::pair::{Happened, Pair};
use crate::connection::{ConnectionParameters, Heartbeat};
use crate::error::{Closed, Error, Party};
use crate::protocol::connection;

const INTERVAL: Duration = Duration::from_secs(10);
const HALF: Duration = Duration::from_secs(5);
const MOMENT: Duration = Duration::from_millis(1);

/// Open, with heartbeats of [`INTERVAL`].
fn open() -> Pair {
    open_with(Heartbeat::Negotiate(10))
}

/// Open, where the broker wishes heartbeats of a minute.
fn open_with(heartbeat: Heartbeat) -> Pair {
    let mut parameters = ConnectionParameters::default();
    parameters.set_heartbeat(heartbeat);
    let mut pair = Pair::with(parameters);
    pair.connect();
    pair.feed(&broker::start());
    let tune = connection::Tune { channel_max: 0, frame_max: 0, heartbeat: 60 };
    pair.feed(&broker::method(0, &tune));
    pair.feed(&broker::open_ok());
    assert_eq!(pair.happened(), [Happened::Opened]);
    pair.sent();
    pair
}

fn dead() -> [Happened; 1] {
    let error = Error::HeartbeatTimeout { interval: INTERVAL };
    [Happened::Closed { error, was_open: true }]
}

#[test]
fn an_idle_connection_sends_two_an_interval_and_no_storm() {
    let mut pair = open();
    pair.wait(HALF); // since TuneOk, something was sent
    assert_eq!(pair.sent(), []);
    for _ in 0..100 {
        pair.wait(HALF - MOMENT);
        assert_eq!(pair.sent(), [], "not before it is due");
        pair.feed(&broker::heartbeat());
        pair.wait(MOMENT);
        assert_eq!(pair.sent(), broker::heartbeat(), "one, when it is due");
    }
    assert_eq!(pair.happened(), []);
}

#[test]
fn a_connection_that_sends_needs_no_heartbeats() {
    let mut pair = open();
    let channel = pair.open_channel();
    for _ in 0..20 {
        pair.feed(&broker::heartbeat());
        pair.publish(channel, b"something").unwrap();
        assert!(!pair.sent().is_empty());
        pair.wait(HALF);
        assert_eq!(pair.sent(), []);
    }
}

#[test]
fn a_connection_that_only_receives_sends_them() {
    let mut pair = open();
    pair.wait(HALF);
    let mut beats = 0;
    for _ in 0..20 {
        pair.feed(&broker::heartbeat());
        pair.wait(HALF);
        beats += usize::from(pair.sent() == broker::heartbeat());
    }
    assert_eq!(beats, 20, "two in each of 10 intervals");
}

#[test]
fn a_silent_peer_is_found_within_two_intervals_and_not_before_one_and_a_half() {
    // It falls silent at any time between two looks of the timer.
    for after in [Duration::ZERO, MOMENT, HALF / 2, HALF - MOMENT] {
        let mut pair = open();
        pair.wait(HALF);
        pair.wait(after);
        pair.feed(&broker::heartbeat());
        let mut silent = Duration::ZERO;
        while pair.happened().is_empty() {
            pair.wait(MOMENT);
            silent += MOMENT;
            pair.sent();
            assert!(silent <= 2 * INTERVAL, "{silent:?} after {after:?}");
        }
        assert!(silent >= 3 * HALF, "{silent:?} after {after:?}");
        assert!(pair.machine.is_closed());
        assert_eq!(pair.machine.deadline(), None);
    }
}

#[test]
fn a_part_of_a_frame_is_a_sign_of_life() {
    let mut pair = open();
    let frame = broker::method(1, &crate::protocol::channel::CloseOk {});
    for octet in frame {
        pair.wait(3 * HALF - MOMENT);
        pair.sent();
        pair.feed(&[octet]);
    }
    assert_eq!(pair.happened(), []);
}

#[test]
fn a_peer_that_stops_reading_gets_no_heap_of_heartbeats_and_is_found_all_the_same() {
    let mut pair = open();
    let channel = pair.open_channel();
    pair.publish(channel, b"stuck").unwrap();
    let waiting = pair.machine.output().len();
    for _ in 0..3 {
        pair.wait(HALF);
        assert_eq!(pair.machine.output().len(), waiting);
    }
    pair.wait(HALF);
    assert!(matches!(
        pair.happened()[..],
        [Happened::ChannelClosed(1, Error::HeartbeatTimeout { .. }), Happened::Closed { .. }]
    ));
}

#[test]
fn a_loop_that_was_kept_for_long_does_not_take_its_peer_for_dead() {
    let mut pair = open();
    for _ in 0..10 {
        // The timer fires late, and what came meanwhile is read after it.
        pair.wait(5 * INTERVAL);
        assert_eq!(pair.happened(), []);
        pair.feed(&broker::heartbeat());
        pair.sent();
    }
}

#[test]
fn silence_after_close_is_the_close() {
    let mut pair = open();
    pair.close("bye").unwrap();
    pair.sent();
    for _ in 0..4 {
        pair.wait(HALF);
    }
    let closed =
        Closed { by: Party::Client, reply_code: 200, reply_text: "bye".into(), cause: (0, 0) };
    let error = Error::ConnectionClosed(closed);
    assert_eq!(pair.happened(), [Happened::Closed { error, was_open: true }]);
}

#[test]
fn a_lids_worth_of_silence_is_found_when_time_goes_on() {
    let mut pair = open();
    pair.wait(Duration::from_secs(8 * 3600));
    for _ in 0..3 {
        assert_eq!(pair.happened(), []);
        pair.wait(HALF);
    }
    assert_eq!(pair.happened(), dead());
}

#[test]
fn without_an_interval_there_are_none() {
    let mut pair = open_with(Heartbeat::Exactly(0));
    assert_eq!(pair.machine.deadline(), None);
    pair.wait(Duration::from_secs(100_000));
    assert_eq!(pair.sent(), []);
}
