//! Bounds on memory (hazard 22): what waits to be sent is bounded in bytes, and who was refused is
//! told when there is room again.

use std::time::Duration;

use super::broker;
use super::pair::{Happened, Pair};
use crate::channel::ChannelId;
use crate::connection::ConnectionParameters;
use crate::error::PublishError;
use crate::protocol::queue;

const LOW: usize = 1_000;
const HIGH: usize = 5_000;
/// What the publisher on channel 1 is told when there is room again.
const TOLD: [Happened; 2] = [Happened::Writable(1), Happened::ConnectionWritable];

fn bounded() -> (Pair, ChannelId) {
    let mut parameters = ConnectionParameters::default();
    parameters.set_water_marks(LOW, HIGH).unwrap();
    let mut pair = Pair::open_with(parameters);
    let channel = pair.open_channel();
    (pair, channel)
}

/// Publishes until it is refused; gives how many were taken.
fn fill(pair: &mut Pair, channel: ChannelId) -> u64 {
    for count in 0.. {
        let before = pair.machine.counters().buffered_out;
        match pair.publish(channel, &[7; 100]) {
            Ok(_) => assert!(before < HIGH, "taken with {before} bytes waiting"),
            Err(error) => {
                assert_eq!(error, PublishError::Full);
                assert!(before >= HIGH, "refused with {before} bytes waiting");
                assert_eq!(pair.machine.counters().buffered_out, before, "nothing is encoded");
                return count;
            }
        }
    }
    unreachable!()
}

/// Sends so much that so much is left.
fn drain_to(pair: &mut Pair, left: usize) {
    let length = pair.machine.output().len();
    pair.machine.output().advance(length - left);
    pair.machine.sent();
    pair.settle();
}

#[test]
fn past_the_high_mark_publishing_is_refused_and_told_once_at_the_low_mark() {
    let (mut pair, channel) = bounded();
    assert!(fill(&mut pair, channel) > 0);
    assert_eq!(pair.publish(channel, "once more"), Err(PublishError::Full));
    drain_to(&mut pair, HIGH - 1);
    assert_eq!(pair.happened(), [], "there is room, but not much");
    let numbers = [pair.publish(channel, ""), pair.publish(channel, "")];
    assert!(matches!(numbers, [Ok(_), Err(PublishError::Full)]), "{numbers:?}");
    drain_to(&mut pair, LOW + 1);
    assert_eq!(pair.happened(), []);
    drain_to(&mut pair, LOW);
    assert_eq!(pair.happened(), TOLD);
    drain_to(&mut pair, 0);
    assert_eq!(pair.happened(), [], "once");
}

#[test]
fn who_was_not_refused_is_not_told() {
    let (mut pair, channel) = bounded();
    while pair.machine.counters().buffered_out < HIGH {
        pair.publish(channel, &[7; 100]).unwrap();
    }
    pair.sent();
    pair.settle();
    assert_eq!(pair.happened(), []);
}

#[test]
fn a_message_of_any_size_is_taken_when_there_is_room() {
    let (mut pair, channel) = bounded();
    assert_eq!(pair.publish(channel, vec![7; 1_000_000]), Ok(1));
    assert_eq!(pair.publish(channel, ""), Err(PublishError::Full));
    pair.sent();
    pair.settle();
    assert_eq!(pair.happened(), TOLD);
    assert_eq!(pair.publish(channel, ""), Ok(2), "what was refused has no number");
}

#[test]
fn what_waits_behind_requests_counts_until_it_leaves() {
    let (mut pair, channel) = bounded();
    let other = pair.open_channel();
    pair.declare(channel, "a");
    pair.declare(channel, "b");
    pair.sent();
    assert!(pair.machine.counters().buffered_out > 0, "the second request waits");
    fill(&mut pair, channel);
    assert_eq!(pair.publish(other, ""), Err(PublishError::Full), "on every channel");
    assert_eq!(pair.sent_names(), [""; 0]);
    pair.feed(&broker::method(1, &queue::DeclareOk::default()));
    assert!(pair.machine.counters().buffered_out >= HIGH);
    pair.feed(&broker::method(1, &queue::DeclareOk::default()));
    let told: Vec<_> = pair.happened();
    assert!(!told.contains(&Happened::ConnectionWritable), "it has left the queue, but not us");
    assert!(pair.sent().len() >= HIGH);
    pair.settle();
    // Each channel whose publisher was refused, then the connection.
    let [of_channel, of_connection] = TOLD;
    assert_eq!(pair.happened(), [of_channel, Happened::Writable(2), of_connection]);
    assert_eq!(pair.machine.counters().buffered_out, 0);
}

#[test]
fn what_waits_behind_requests_is_forgotten_with_its_channel() {
    let (mut pair, channel) = bounded();
    pair.declare(channel, "a");
    pair.declare(channel, "b");
    pair.sent();
    fill(&mut pair, channel);
    pair.feed(&broker::channel_close(1, 404, "no"));
    assert_eq!(pair.happened().last(), Some(&Happened::ConnectionWritable));
    assert_eq!(pair.sent_names(), ["1 channel.close-ok"]);
    assert_eq!(pair.machine.counters().buffered_out, 0);
}

#[test]
fn what_waited_on_a_channel_that_refuses_a_message_leaves_room() {
    let mut parameters = ConnectionParameters::default();
    parameters.set_water_marks(LOW, HIGH).unwrap().set_max_message_size(10);
    let mut pair = Pair::open_with(parameters);
    let channel = pair.open_channel();
    pair.consumer(channel, "c", false);
    pair.declare(channel, "a");
    pair.declare(channel, "b");
    pair.sent();
    fill(&mut pair, channel);
    pair.feed(&broker::deliver(1, "c", 1, &[0; 11]));
    assert_eq!(pair.happened().last(), Some(&Happened::ConnectionWritable));
}

#[test]
fn what_is_not_sent_in_time_leaves_room() {
    let limit = Duration::from_secs(1);
    let (mut pair, channel) = bounded();
    pair.update_secret("on the wire", "").unwrap();
    pair.machine.set_request_timeout(Some(limit));
    pair.update_secret(&"waits".repeat(HIGH / 5), "").unwrap();
    pair.sent();
    assert_eq!(pair.publish(channel, "x"), Err(PublishError::Full));
    pair.wait(limit);
    let happened = pair.happened();
    assert!(matches!(happened[0], Happened::SecretUpdated(_, Err(_))));
    assert_eq!(happened[1..], TOLD);
}

#[test]
fn requests_and_acknowledgements_are_not_refused() {
    let (mut pair, channel) = bounded();
    fill(&mut pair, channel);
    pair.declare(channel, "a");
    let ack = crate::protocol::basic::Ack { delivery_tag: 1, multiple: false };
    assert_eq!(pair.tell(channel, &ack), Ok(()));
    assert!(pair.close_channel(channel, "bye").is_ok());
    assert!(pair.close("bye").is_ok());
}

#[test]
fn nobody_is_told_of_room_that_is_of_no_use() {
    let (mut pair, channel) = bounded();
    fill(&mut pair, channel);
    pair.close("bye").unwrap();
    pair.sent();
    pair.settle();
    assert_eq!(pair.happened(), []);
}

#[test]
fn marks_must_leave_something_between_them() {
    let mut parameters = ConnectionParameters::default();
    for (low, high) in [(0, 0), (5, 5), (6, 5)] {
        assert!(parameters.set_water_marks(low, high).is_err());
    }
    parameters.set_water_marks(0, 1).unwrap();
    assert_eq!((parameters.low_water_mark(), parameters.high_water_mark()), (0, 1));
}
