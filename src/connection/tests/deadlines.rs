//! Deadlines under a virtual clock: whatever the peer does not do, an end comes. Hazard 16.

use std::time::Duration;

use super::broker;
use super::pair::{Happened, Pair, failed};
use crate::connection::ConnectionParameters;
use crate::error::{Closed, Error, HandshakeError, Party, Phase};

const LIMIT: Duration = Duration::from_secs(15);
const MOMENT: Duration = Duration::from_millis(1);

fn closed_by_us() -> Error {
    let reply_text = "bye".to_owned();
    Error::ConnectionClosed(Closed {
        by: Party::Client,
        reply_code: 200,
        reply_text,
        cause: (0, 0),
    })
}

#[test]
fn a_handshake_ends_by_its_deadline_in_every_phase_hazard_16() {
    for (phase, said) in [
        (Phase::Protocol, vec![]),
        (Phase::Authentication, vec![broker::start()]),
        (Phase::Open, vec![broker::start(), broker::tune(0, 0)]),
    ] {
        let mut pair = Pair::connected();
        said.iter().for_each(|bytes| pair.feed(bytes));
        pair.wait(LIMIT - MOMENT);
        assert_eq!(pair.happened(), [], "{phase:?}");
        pair.wait(MOMENT);
        let error = HandshakeError::TimedOut { phase, limit: LIMIT }.into();
        assert_eq!(pair.happened(), [Happened::Closed { error, was_open: false }]);
        assert_eq!(pair.machine.deadline(), None);
    }
}

#[test]
fn a_peer_that_dribbles_does_not_move_the_deadline_hazard_16() {
    let mut pair = Pair::connected();
    let start = broker::start();
    for byte in &start[..14] {
        pair.wait(Duration::from_secs(1));
        pair.feed(&[*byte]);
    }
    assert_eq!(pair.happened(), []);
    pair.wait(Duration::from_secs(1));
    let error = HandshakeError::TimedOut { phase: Phase::Protocol, limit: LIMIT }.into();
    assert_eq!(pair.happened(), [Happened::Closed { error, was_open: false }]);
}

#[test]
fn a_call_before_the_deadline_does_nothing() {
    let mut pair = Pair::connected();
    let deadline = pair.machine.deadline().unwrap();
    pair.machine.deadline_passed(deadline - MOMENT);
    assert_eq!(pair.machine.deadline(), Some(deadline));
    pair.machine.deadline_passed(deadline);
    assert!(pair.machine.is_closed());
}

#[test]
fn an_open_connection_has_no_deadline() {
    let mut pair = Pair::open();
    assert_eq!(pair.machine.deadline(), None);
    pair.machine.deadline_passed(pair.now + Duration::from_secs(1_000_000));
    pair.settle();
    assert!(pair.machine.is_open());
}

#[test]
fn without_a_stack_timeout_there_is_no_deadline() {
    let mut parameters = ConnectionParameters::default();
    parameters.set_stack_timeout(None).unwrap();
    let mut pair = Pair::with(parameters);
    pair.connect();
    assert_eq!(pair.machine.deadline(), None);
    pair.feed(&broker::start());
    pair.feed(&broker::tune(0, 0));
    pair.feed(&broker::open_ok());
    pair.close("bye").unwrap();
    assert_eq!(pair.machine.deadline(), None);
}

#[test]
fn a_stack_timeout_past_the_end_of_the_clock_is_none() {
    let mut parameters = ConnectionParameters::default();
    parameters.set_stack_timeout(Some(Duration::MAX)).unwrap();
    let mut pair = Pair::with(parameters);
    pair.connect();
    assert_eq!(pair.machine.deadline(), None);
}

#[test]
fn a_close_that_is_not_answered_ends_by_its_deadline_hazard_16() {
    let mut pair = Pair::open();
    pair.wait(Duration::from_secs(1000));
    pair.close("bye").unwrap();
    pair.wait(LIMIT - MOMENT);
    assert_eq!(pair.happened(), []);
    pair.wait(MOMENT);
    assert_eq!(pair.happened(), [Happened::Closed { error: closed_by_us(), was_open: true }]);
    assert_eq!(pair.machine.deadline(), None);
}

#[test]
fn a_close_that_waits_for_a_request_ends_by_its_deadline_and_completes_it_hazard_17() {
    let (mut pair, channel) = Pair::with_channel();
    pair.declare(channel, "unanswered");
    pair.declare(channel, "queued");
    pair.close("bye").unwrap();
    pair.sent();
    pair.wait(LIMIT);
    // Unanswered it may be, but it is said.
    assert_eq!(pair.sent_names(), ["0 connection.close"]);
    let error = closed_by_us();
    assert_eq!(
        pair.happened(),
        [
            failed("unanswered", &error),
            failed("queued", &error),
            Happened::ChannelClosed(1, error.clone()),
            Happened::Closed { error, was_open: true },
        ]
    );
}
