//! A blocked broker (hazard 17), by a clock that moves when told. The first seven are pika's.

use std::time::Duration;

use super::broker;
use super::pair::{Happened, Pair};
use crate::connection::ConnectionParameters;
use crate::error::{Closed, Error, Party, StreamLost};
use crate::protocol::{connection, queue};

const TIMEOUT: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(1);

fn open() -> Pair {
    let mut parameters = ConnectionParameters::default();
    parameters.set_blocked_connection_timeout(Some(TIMEOUT));
    Pair::open_with(parameters)
}

fn block(pair: &mut Pair, reason: &str) {
    pair.feed(&broker::method(0, &connection::Blocked { reason: reason.into() }));
    assert_eq!(pair.happened(), [Happened::Blocked(reason.into())]);
    assert!(pair.machine.is_blocked());
}

fn unblock(pair: &mut Pair) {
    pair.feed(&broker::method(0, &connection::Unblocked {}));
}

fn timed_out() -> Happened {
    Happened::Closed { error: Error::BlockedTimeout { timeout: TIMEOUT }, was_open: true }
}

fn closed_by_us() -> Happened {
    let closed =
        Closed { by: Party::Client, reply_code: 200, reply_text: "bye".into(), cause: (0, 0) };
    Happened::Closed { error: Error::ConnectionClosed(closed), was_open: true }
}

#[test]
fn without_a_timeout_there_is_no_deadline() {
    let mut pair = Pair::open();
    block(&mut pair, "memory");
    assert_eq!(pair.machine.deadline(), None);
    pair.wait(1_000_000 * TIMEOUT);
    assert!(pair.machine.is_open());
}

#[test]
fn blocked_sets_the_deadline() {
    let mut pair = open();
    assert_eq!(pair.machine.deadline(), None);
    block(&mut pair, "memory");
    assert_eq!(pair.machine.deadline(), Some(pair.now + TIMEOUT));
}

#[test]
fn blocked_several_times_in_a_row_sets_it_once() {
    let mut pair = open();
    block(&mut pair, "memory");
    let deadline = pair.machine.deadline();
    pair.wait(TIMEOUT / 2);
    block(&mut pair, "disk");
    assert_eq!(pair.machine.deadline(), deadline);
}

#[test]
fn unblocked_removes_it() {
    let mut pair = open();
    block(&mut pair, "memory");
    pair.wait(TIMEOUT - MOMENT);
    unblock(&mut pair);
    assert_eq!(pair.happened(), [Happened::Unblocked]);
    assert_eq!(pair.machine.deadline(), None);
    pair.wait(2 * TIMEOUT);
    assert!(pair.machine.is_open() && !pair.machine.is_blocked());
}

#[test]
fn unblocked_several_times_in_a_row_is_told_once() {
    let mut pair = open();
    block(&mut pair, "memory");
    unblock(&mut pair);
    assert_eq!(pair.happened(), [Happened::Unblocked]);
    unblock(&mut pair);
    assert_eq!(pair.happened(), []);
    // Blocked once more, it has all of its time again.
    pair.wait(TIMEOUT);
    block(&mut pair, "memory");
    assert_eq!(pair.machine.deadline(), Some(pair.now + TIMEOUT));
}

#[test]
fn the_end_of_the_stream_removes_it() {
    let mut pair = open();
    block(&mut pair, "memory");
    pair.lose();
    let error = StreamLost::EndOfStream.into();
    assert_eq!(pair.happened(), [Happened::Closed { error, was_open: true }]);
    assert_eq!(pair.machine.deadline(), None);
    assert!(!pair.machine.is_blocked());
}

#[test]
fn a_connection_that_is_blocked_for_too_long_ends() {
    let mut pair = open();
    block(&mut pair, "memory");
    pair.wait(TIMEOUT - MOMENT);
    assert_eq!(pair.happened(), []);
    pair.wait(MOMENT);
    assert_eq!(pair.happened(), [timed_out()]);
    assert_eq!(pair.machine.deadline(), None);
}

#[test]
fn a_blocked_connection_can_be_closed_and_ends_in_time_hazard_17() {
    // Answered, by a broker that reads on; and not, by one that does not.
    for answered in [true, false] {
        let mut pair = open();
        block(&mut pair, "memory");
        pair.close("bye").unwrap();
        assert_eq!(pair.sent_names(), ["0 connection.close"]);
        if answered {
            pair.feed(&broker::close_ok());
        } else {
            pair.wait(Duration::from_secs(15));
        }
        assert_eq!(pair.happened(), [closed_by_us()]);
    }
}

#[test]
fn the_timeout_while_only_the_answer_to_close_is_missing_is_the_close() {
    let mut parameters = ConnectionParameters::default();
    parameters.set_stack_timeout(None).unwrap();
    parameters.set_blocked_connection_timeout(Some(TIMEOUT));
    let mut pair = Pair::open_with(parameters);
    block(&mut pair, "memory");
    pair.close("bye").unwrap();
    pair.wait(TIMEOUT);
    assert_eq!(pair.happened(), [closed_by_us()]);
}

#[test]
fn requests_on_a_blocked_connection_complete_when_it_ends_hazard_17() {
    let mut pair = open();
    let channel = pair.open_channel();
    block(&mut pair, "memory");
    pair.declare(channel, "answered");
    pair.declare(channel, "not answered");
    pair.feed(&broker::method(1, &queue::DeclareOk::default()));
    pair.happened();
    pair.wait(TIMEOUT);
    let error = Error::BlockedTimeout { timeout: TIMEOUT };
    let expected = [
        super::pair::failed("not answered", &error),
        Happened::ChannelClosed(1, error.clone()),
        timed_out(),
    ];
    assert_eq!(pair.happened(), expected);
}

#[test]
fn heartbeats_go_on_while_it_is_blocked() {
    let mut parameters = ConnectionParameters::default();
    parameters.set_heartbeat(crate::connection::Heartbeat::Exactly(10));
    parameters.set_blocked_connection_timeout(Some(TIMEOUT));
    let mut pair = Pair::open_with(parameters);
    block(&mut pair, "memory");
    let deadline = pair.now + TIMEOUT;
    for _ in 0..11 {
        assert!(pair.machine.deadline().unwrap() < deadline);
        pair.feed(&broker::heartbeat());
        pair.wait(Duration::from_secs(5));
        pair.sent();
    }
    pair.feed(&broker::heartbeat());
    pair.wait(Duration::from_secs(5));
    assert_eq!(pair.happened(), [timed_out()]);
}
