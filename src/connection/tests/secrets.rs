//! Secrets that are replaced: one at a time, each completed exactly once.

use std::time::Duration;

use super::broker;
use super::pair::{Happened, Pair};
use crate::error::{Closed, Error, Misuse, Party, ProtocolError, StreamLost};
use crate::protocol::{EncodeError, connection, queue};

fn ok() -> Vec<u8> {
    broker::method(0, &connection::UpdateSecretOk {})
}

fn updated(label: &str) -> Happened {
    Happened::SecretUpdated(label.into(), Ok(()))
}

#[test]
fn one_at_a_time_in_order() {
    let mut pair = Pair::open();
    for secret in ["a", "b", "c"] {
        pair.update_secret(secret, "it expires").unwrap();
    }
    let update = |secret: &'static str| {
        let (new_secret, reason) = (secret.into(), "it expires".into());
        broker::method(0, &connection::UpdateSecret { new_secret, reason })
    };
    for secret in ["a", "b", "c"] {
        assert_eq!(pair.sent(), update(secret));
        pair.feed(&ok());
        assert_eq!(pair.happened(), [updated(secret)]);
    }
    assert_eq!(pair.machine.counters().buffered_out, 0);
    assert!(pair.sent().is_empty());
}

#[test]
fn an_answer_that_nobody_waits_for_breaks_the_protocol() {
    let mut pair = Pair::open();
    pair.feed(&ok());
    let method = "connection.update-secret-ok";
    let error = ProtocolError::UnexpectedMethod { channel: 0, method }.into();
    assert_eq!(pair.happened(), [Happened::Closed { error, was_open: true }]);
}

#[test]
fn all_complete_when_the_connection_ends() {
    let mut pair = Pair::open();
    pair.update_secret("a", "").unwrap();
    pair.update_secret("b", "").unwrap();
    pair.lose();
    let error = Error::from(StreamLost::EndOfStream);
    let failed = |label: &str| Happened::SecretUpdated(label.into(), Err(error.clone()));
    let closed = Happened::Closed { error: error.clone(), was_open: true };
    assert_eq!(pair.happened(), [failed("a"), failed("b"), closed]);
}

#[test]
fn a_close_waits_for_them() {
    let mut pair = Pair::open();
    let channel = pair.open_channel();
    pair.update_secret("a", "").unwrap();
    pair.update_secret("b", "").unwrap();
    pair.declare(channel, "d");
    pair.close("bye").unwrap();
    pair.sent();
    pair.feed(&ok());
    pair.feed(&broker::method(1, &queue::DeclareOk::default()));
    assert_eq!(pair.sent_names(), ["0 connection.update-secret"]);
    pair.feed(&ok());
    assert_eq!(pair.sent_names(), ["0 connection.close"]);
    pair.feed(&broker::close_ok());
    let closed =
        Closed { by: Party::Client, reply_code: 200, reply_text: "bye".into(), cause: (0, 0) };
    let error = Error::ConnectionClosed(closed);
    assert_eq!(pair.happened().last(), Some(&Happened::Closed { error, was_open: true }));
}

#[test]
fn what_is_refused_leaves_nothing() {
    let mut pair = Pair::connected();
    assert_eq!(pair.update_secret("a", ""), Err(Misuse::ConnectionNotOpen));
    let mut pair = Pair::open();
    let too_long = Err(Misuse::Encode(EncodeError::ShortStringTooLong { length: 256 }));
    // Sent at once, and behind another.
    for _ in 0..2 {
        assert_eq!(pair.update_secret("a", &"x".repeat(256)), too_long);
        assert!(pair.update_secret(&"x".repeat(200_000), "").is_err());
        pair.update_secret("b", "").unwrap();
    }
    assert_eq!(pair.sent_names(), ["0 connection.update-secret"]);
    pair.feed(&ok());
    pair.feed(&ok());
    assert_eq!(pair.happened(), [updated("b"), updated("b")]);
    pair.close("bye").unwrap();
    assert_eq!(pair.update_secret("a", ""), Err(Misuse::ConnectionNotOpen));
}

#[test]
fn regression_a_secret_that_waits_is_undelivered_as_long_as_it_waits() {
    let mut pair = Pair::open();
    for secret in ["on the wire", "waits"] {
        pair.update_secret(secret, "it expires").unwrap();
    }
    pair.sent();
    let waiting = pair.machine.counters().buffered_out as u64;
    assert!(waiting > 0);
    assert_eq!(pair.machine.undelivered().unsent_bytes, waiting);
    pair.lose();
    assert_eq!(pair.machine.undelivered().unsent_bytes, waiting);
    assert_eq!(pair.machine.counters().buffered_out, 0, "it waits no more");
}

#[test]
fn one_that_is_not_answered_in_time_does_not_hold_the_next() {
    let limit = Duration::from_secs(5);
    let mut pair = Pair::open();
    pair.machine.set_request_timeout(Some(limit));
    pair.update_secret("refused", "").unwrap();
    pair.update_secret("never sent", "").unwrap();
    pair.wait(limit / 2);
    pair.update_secret("good", "").unwrap();
    pair.sent();
    pair.wait(limit / 2);
    let error = Error::RequestTimeout { method: "connection.update-secret", limit };
    let failed = |label: &str| Happened::SecretUpdated(label.into(), Err(error.clone()));
    assert_eq!(pair.happened(), [failed("refused"), failed("never sent")]);
    assert_eq!(pair.sent_names(), ["0 connection.update-secret"]);
    pair.feed(&ok());
    assert_eq!(pair.happened(), [updated("good")]);
    assert_eq!(pair.machine.counters().buffered_out, 0);
    // It was only late.
    pair.feed(&ok());
    assert_eq!(pair.happened(), []);
    pair.wait(2 * limit);
    assert_eq!(pair.happened(), []);
    pair.feed(&ok());
    let method = "connection.update-secret-ok";
    let error = ProtocolError::UnexpectedMethod { channel: 0, method }.into();
    assert_eq!(pair.happened(), [Happened::Closed { error, was_open: true }]);
}

#[test]
fn a_close_does_not_wait_for_one_that_was_given_up() {
    let limit = Duration::from_secs(5);
    let mut pair = Pair::open();
    pair.machine.set_request_timeout(Some(limit));
    pair.update_secret("refused", "").unwrap();
    pair.close("bye").unwrap();
    pair.sent();
    pair.wait(limit);
    assert_eq!(pair.sent_names(), ["0 connection.close"]);
}
