//! Publisher confirms: each publish resolves exactly once, with the right outcome. Hazard 14.

use super::broker;
use super::pair::{Happened, Pair, failed, replied};
use crate::channel::ConfirmSummary;
use crate::error::{Closed, Error, Misuse, Party, ProtocolError, PublishError, StreamLost};
use crate::protocol::{
    BasicProperties, basic, channel, confirm, encode_body_frame, encode_content_header, queue,
};

fn ack(delivery_tag: u64, multiple: bool) -> Vec<u8> {
    broker::method(1, &basic::Ack { delivery_tag, multiple })
}

fn nack(delivery_tag: u64, multiple: bool) -> Vec<u8> {
    broker::method(1, &basic::Nack { delivery_tag, multiple, requeue: true })
}

fn select_ok() -> Vec<u8> {
    broker::method(1, &confirm::SelectOk {})
}

/// A message that comes back, as `publish_mandatory` sends it.
fn returned(key: &str, body: &str) -> Vec<u8> {
    let routing_key = key.into();
    let mut bytes =
        broker::method(1, &basic::Return { reply_code: 312, routing_key, ..Default::default() });
    bytes.extend(broker::content(1, body.as_bytes(), 131_072));
    bytes
}

/// What was told of channel 1's publishes with these numbers.
fn all(numbers: impl IntoIterator<Item = u64>, outcome: &'static str) -> Vec<Happened> {
    numbers.into_iter().map(|number| Happened::Confirmed(1, number, outcome)).collect()
}

fn confirmed(label: &str, acked: u64, nacked: u64, returned: u64) -> Happened {
    Happened::AllConfirmed(label.into(), Ok(ConfirmSummary { acked, nacked, returned }))
}

fn violation(error: ProtocolError) -> Happened {
    Happened::Closed { error: error.into(), was_open: true }
}

fn publish_many(pair: &mut Pair, channel: crate::channel::ChannelId, count: u64) {
    (0..count).for_each(|_| assert!(pair.publish(channel, "x").is_ok()));
    pair.sent();
}

#[test]
fn numbers_count_from_confirm_select_on_wherever_it_waits() {
    let (mut pair, channel) = Pair::with_channel();
    assert_eq!(pair.publish(channel, "before"), Ok(1));
    pair.declare(channel, "a");
    assert_eq!(pair.publish(channel, "before"), Ok(2));
    pair.ask_confirms(channel).unwrap();
    assert_eq!(pair.publish(channel, "behind"), Ok(1));
    assert_eq!(pair.publish(channel, "behind"), Ok(2));
    pair.sent();
    pair.feed(&broker::method(1, &queue::DeclareOk::default()));
    let message = |body: &str| ["1 basic.publish".into(), format!("1 header({0})", body.len())];
    let mut expected = vec!["1 confirm.select".to_owned()];
    for _ in 0..2 {
        expected.extend(message("behind"));
        expected.push("1 body(6)".into());
    }
    assert_eq!(pair.sent_names(), expected);
    pair.happened();
    pair.feed(&[select_ok(), ack(2, true)].concat());
    let mut told = vec![replied("select", "confirm.select-ok")];
    told.extend(all([1, 2], "acked"));
    assert_eq!(pair.happened(), told);
    assert_eq!(pair.publish(channel, "x"), Ok(3));
}

#[test]
fn what_is_not_in_confirm_mode_is_not_tracked() {
    let (mut pair, channel) = Pair::with_channel();
    pair.publish(channel, "x").unwrap();
    assert_eq!(pair.unconfirmed(channel), 0);
    assert_eq!(pair.when_confirmed(channel, "never"), Err(Misuse::NotConfirming));
    pair.ask_confirms(channel).unwrap();
    assert_eq!(pair.ask_confirms(channel), Err(Misuse::AlreadyConfirming));
    assert_eq!(pair.sent_names().last().map(String::as_str), Some("1 confirm.select"));
    assert!(pair.when_confirmed(channel, "at once").is_ok());
}

#[test]
fn multiple_fills_the_holes_that_out_of_order_acks_have_left_hazard_14() {
    let (mut pair, channel) = Pair::confirming();
    publish_many(&mut pair, channel, 10);
    pair.feed(&ack(3, false));
    pair.feed(&nack(7, false));
    pair.feed(&ack(1, false));
    let mut told = all([3], "acked");
    told.extend(all([7], "nacked"));
    told.extend(all([1], "acked"));
    assert_eq!(pair.happened(), told);
    assert_eq!(pair.unconfirmed(channel), 7);
    pair.feed(&ack(8, true));
    assert_eq!(pair.happened(), all([2, 4, 5, 6, 8], "acked"));
    pair.feed(&nack(10, true));
    assert_eq!(pair.happened(), all([9, 10], "nacked"));
    assert_eq!(pair.unconfirmed(channel), 0);
}

#[test]
fn a_repeated_acknowledgement_tells_nothing_twice_hazard_14() {
    let (mut pair, channel) = Pair::confirming();
    publish_many(&mut pair, channel, 4);
    pair.feed(&ack(2, false));
    pair.feed(&ack(2, false));
    pair.feed(&nack(2, false));
    pair.feed(&ack(4, true));
    pair.feed(&ack(4, true));
    pair.feed(&nack(1, true));
    pair.feed(&nack(3, false));
    let mut told = all([2], "acked");
    told.extend(all([1, 3, 4], "acked"));
    assert_eq!(pair.happened(), told);
    assert!(pair.machine.is_open());
}

#[test]
fn tag_0_is_all_that_were_sent_with_multiple_and_an_error_without_hazard_14() {
    let (mut pair, channel) = Pair::confirming();
    publish_many(&mut pair, channel, 2);
    pair.declare(channel, "on the wire");
    pair.declare(channel, "queued");
    publish_many(&mut pair, channel, 1);
    pair.feed(&ack(0, true));
    assert_eq!(pair.happened(), all([1, 2], "acked"), "the third is not sent yet");
    pair.feed(&ack(0, true));
    assert_eq!(pair.happened(), []);
    pair.feed(&ack(0, false));
    let error = ProtocolError::UnknownDeliveryTag { channel: 1, delivery_tag: 0 };
    let told = pair.happened();
    assert_eq!(told.last(), Some(&violation(error)));
    assert!(told.contains(&Happened::Confirmed(1, 3, "lost")));
    assert_eq!(broker::closes(&pair.sent())[0].0, 406);
}

#[test]
fn a_tag_that_was_never_published_ends_the_connection_hazard_14() {
    for (delivery_tag, multiple) in [(3, false), (3, true), (u64::MAX, true), (u64::MAX, false)] {
        let (mut pair, channel) = Pair::confirming();
        publish_many(&mut pair, channel, 2);
        pair.feed(&ack(delivery_tag, multiple));
        let error = ProtocolError::UnknownDeliveryTag { channel: 1, delivery_tag };
        let mut told = all([1, 2], "lost");
        told.push(Happened::ChannelClosed(1, error.clone().into()));
        told.push(violation(error));
        assert_eq!(pair.happened(), told, "nothing of it is told as acknowledged");
    }
}

#[test]
fn a_publish_that_still_waits_to_be_sent_cannot_be_acknowledged() {
    let (mut pair, channel) = Pair::confirming();
    pair.declare(channel, "on the wire");
    pair.declare(channel, "queued");
    publish_many(&mut pair, channel, 1);
    pair.feed(&ack(1, false));
    let error = ProtocolError::UnknownDeliveryTag { channel: 1, delivery_tag: 1 };
    assert_eq!(pair.happened().last(), Some(&violation(error)));
}

#[test]
fn an_acknowledgement_outside_confirm_mode_is_503() {
    for asked in [false, true] {
        let (mut pair, channel) = Pair::with_channel();
        pair.publish(channel, "x").unwrap();
        if asked {
            // Nothing can be acknowledged before SelectOk.
            pair.ask_confirms(channel).unwrap();
            pair.publish(channel, "x").unwrap();
        }
        pair.feed(&ack(1, false));
        let error = ProtocolError::UnexpectedMethod { channel: 1, method: "basic.ack" };
        assert_eq!(pair.happened().last(), Some(&violation(error)));
    }
}

#[test]
fn a_return_before_its_ack_with_many_in_flight_finds_its_publish_hazard_14() {
    let (mut pair, channel) = Pair::confirming();
    for number in 1..=100_u64 {
        // Every third has nowhere to go. Bodies are alike: the key tells.
        let key = if number.is_multiple_of(3) { "nowhere" } else { "queue" };
        assert_eq!(pair.publish_mandatory(channel, key, "same"), Ok(number));
    }
    pair.sent();
    for _ in 0..10 {
        pair.feed(&returned("nowhere", "same"));
    }
    let back = vec![Happened::Returned(1, "same".into()); 10];
    assert_eq!(pair.happened(), back);
    // Numbers 3 to 30 are back; 33 is not.
    pair.feed(&ack(32, true));
    let told = (1..=32).map(|number| {
        let outcome = if number % 3 == 0 { "returned" } else { "acked" };
        Happened::Confirmed(1, number, outcome)
    });
    assert_eq!(pair.happened(), told.collect::<Vec<_>>());
    // A queue may take one that is like those that came back: it is not told as returned.
    pair.feed(&ack(33, false));
    assert_eq!(pair.happened(), all([33], "acked"));
    pair.feed(&returned("nowhere", "same"));
    pair.feed(&ack(36, false));
    assert_eq!(pair.happened()[1..], all([36], "returned"));
}

#[test]
fn a_return_is_matched_by_ids_and_body_and_never_to_one_before_the_last() {
    let (mut pair, channel) = Pair::confirming();
    let publish = |pair: &mut Pair, id: &'static str, body: &str| {
        let properties = BasicProperties { message_id: Some(id.into()), ..Default::default() };
        let method = basic::Publish { mandatory: true, ..Default::default() };
        let mut body = body.into();
        pair.work(channel, |state, wire| state.publish(wire, &method, &properties, &mut body))
    };
    let back = |id: &'static str, body: &str| {
        let mut bytes = broker::method(1, &basic::Return::default());
        // A broker may add properties of its own.
        let app_id = Some("added".into());
        let properties =
            BasicProperties { message_id: Some(id.into()), app_id, ..Default::default() };
        encode_content_header(&mut bytes, 0, 1, body.len() as u64, &properties).unwrap();
        encode_body_frame(&mut bytes, 1, body.as_bytes());
        bytes
    };
    for (id, body) in [("a", "1"), ("b", "1"), ("a", "2"), ("a", "1"), ("b", "2")] {
        publish(&mut pair, id, body).unwrap();
    }
    pair.feed(&back("b", "1"));
    // The first of these is before what came back last, so it is the fourth.
    pair.feed(&back("a", "1"));
    // Nothing like it is left: nobody is told of a wrong one.
    pair.feed(&back("a", "2"));
    pair.feed(&back("x", "x"));
    pair.feed(&ack(5, true));
    let outcomes = ["acked", "returned", "acked", "returned", "acked"];
    let told = (1..).zip(outcomes).map(|(number, told)| Happened::Confirmed(1, number, told));
    assert_eq!(pair.happened()[4..], told.collect::<Vec<_>>());
}

#[test]
fn a_message_that_came_back_and_is_nacked_or_not_mandatory_is_not_told_as_returned() {
    let (mut pair, channel) = Pair::confirming();
    pair.publish_mandatory(channel, "key", "x").unwrap();
    pair.publish(channel, "x").unwrap();
    pair.feed(&returned("key", "x"));
    pair.feed(&returned("key", "x"));
    pair.feed(&nack(1, false));
    pair.feed(&ack(2, false));
    assert_eq!(pair.happened()[2..], [all([1], "nacked"), all([2], "acked")].concat());
}

#[test]
fn what_was_published_before_confirm_mode_comes_back_unmatched() {
    let (mut pair, channel) = Pair::with_channel();
    pair.publish_mandatory(channel, "key", "x").unwrap();
    pair.ask_confirms(channel).unwrap();
    pair.publish_mandatory(channel, "key", "x").unwrap();
    pair.feed(&returned("key", "x"));
    pair.feed(&select_ok());
    pair.feed(&ack(1, false));
    assert_eq!(pair.happened().last(), Some(&Happened::Confirmed(1, 1, "acked")));
}

#[test]
fn when_the_channel_ends_what_is_outstanding_is_lost_before_its_close_is_told_hazard_14() {
    let (mut pair, channel) = Pair::confirming();
    publish_many(&mut pair, channel, 3);
    pair.when_confirmed(channel, "wait").unwrap();
    pair.feed(&ack(2, false));
    pair.declare(channel, "a");
    pair.happened();
    pair.feed(&broker::channel_close(1, 404, "no exchange"));
    let (reply_text, cause) = ("no exchange".to_owned(), (50, 10));
    let closed = Closed { by: Party::Broker, reply_code: 404, reply_text, cause };
    let error = Error::ChannelClosed(closed);
    let mut told = vec![failed("a", &error)];
    told.extend(all([1, 3], "lost"));
    told.push(Happened::AllConfirmed("wait".into(), Err(error.clone())));
    told.push(Happened::ChannelClosed(1, error));
    assert_eq!(pair.happened(), told);
}

#[test]
fn when_the_connection_ends_what_is_outstanding_is_lost_hazard_14() {
    let (mut pair, channel) = Pair::confirming();
    publish_many(&mut pair, channel, 2);
    pair.lose();
    let error = Error::from(StreamLost::EndOfStream);
    let mut told = all([1, 2], "lost");
    told.push(Happened::ChannelClosed(1, error.clone()));
    told.push(Happened::Closed { error, was_open: true });
    assert_eq!(pair.happened(), told);
    assert_eq!(pair.unconfirmed(channel), 0);
}

#[test]
fn what_a_publish_came_to_is_told_though_the_channel_is_closing() {
    let (mut pair, channel) = Pair::confirming();
    pair.publish_mandatory(channel, "nowhere", "1").unwrap();
    publish_many(&mut pair, channel, 2);
    pair.close_channel(channel, "bye").unwrap();
    pair.feed(&returned("nowhere", "1"));
    pair.feed(&ack(2, true));
    let mut told = vec![Happened::Returned(1, "1".into())];
    told.extend([all([1], "returned"), all([2], "acked")].concat());
    assert_eq!(pair.happened(), told);
    pair.feed(&broker::channel_close_ok(1));
    assert_eq!(pair.happened()[0], Happened::Confirmed(1, 3, "lost"));
}

#[test]
fn what_a_publish_came_to_is_told_though_the_connection_is_closing() {
    let (mut pair, channel) = Pair::confirming();
    pair.consumer(channel, "c", false);
    let large = "x".repeat(100_000);
    pair.publish_mandatory(channel, "nowhere", &large).unwrap();
    publish_many(&mut pair, channel, 2);
    pair.close("bye").unwrap();
    assert_eq!(pair.sent_names(), ["0 connection.close"]);
    pair.dribble(&returned("nowhere", &large), 1_000);
    pair.feed(&broker::deliver(1, "c", 1, b"late"));
    pair.feed(&ack(2, true));
    pair.feed(&broker::method(1, &channel::Flow { active: false }));
    let told = pair.happened();
    assert!(matches!(told[0], Happened::Returned(1, _)));
    assert_eq!(told[1..], [all([1], "returned"), all([2], "acked")].concat());
    pair.feed(&broker::close_ok());
    assert_eq!(pair.happened()[0], Happened::Confirmed(1, 3, "lost"));
    assert!(pair.sent().is_empty(), "nothing follows a Close");
}

#[test]
fn a_delivery_half_here_when_the_connection_closes_hides_no_acknowledgement() {
    let (mut pair, channel) = Pair::confirming();
    pair.consumer(channel, "c", false);
    publish_many(&mut pair, channel, 1);
    let message = broker::deliver(1, "c", 1, &[7; 300_000]);
    pair.feed(&message[..200_000]);
    pair.close("bye").unwrap();
    pair.sent();
    pair.feed(&message[200_000..]);
    pair.feed(&ack(1, false));
    assert_eq!(pair.happened(), all([1], "acked"));
    assert!(pair.sent().is_empty());
}

#[test]
fn each_publish_is_counted_for_the_first_who_waits_for_it() {
    let (mut pair, channel) = Pair::confirming();
    publish_many(&mut pair, channel, 3);
    pair.feed(&ack(2, false));
    pair.happened();
    pair.when_confirmed(channel, "three").unwrap();
    publish_many(&mut pair, channel, 2);
    pair.when_confirmed(channel, "five").unwrap();
    pair.when_confirmed(channel, "none more").unwrap();
    pair.publish_mandatory(channel, "nowhere", "x").unwrap();
    pair.feed(&nack(4, false));
    assert_eq!(pair.happened(), all([4], "nacked"));
    // Told of all first, then those who wait, in order.
    pair.feed(&ack(5, true));
    let mut told = all([1, 3, 5], "acked");
    told.extend([confirmed("three", 3, 0, 0), confirmed("five", 1, 1, 0)]);
    told.push(confirmed("none more", 0, 0, 0));
    assert_eq!(pair.happened(), told);
    pair.feed(&returned("nowhere", "x"));
    pair.feed(&ack(6, false));
    pair.happened();
    // All is resolved: told at once, though not from within the call.
    pair.when_confirmed(channel, "late").unwrap();
    assert_eq!(pair.happened(), []);
    pair.settle();
    assert_eq!(pair.happened(), [confirmed("late", 0, 0, 1)]);
}

#[test]
fn past_the_limit_nothing_is_encoded_and_room_is_told_once() {
    let (mut pair, channel) = Pair::confirming();
    pair.set_max_unconfirmed(channel, 4);
    publish_many(&mut pair, channel, 4);
    let refused = Err(PublishError::TooManyUnconfirmed { limit: 4 });
    assert_eq!(pair.publish(channel, "x"), refused);
    assert_eq!(pair.publish(channel, "x"), refused);
    assert!(pair.sent().is_empty());
    pair.feed(&ack(1, false));
    assert_eq!(pair.happened(), all([1], "acked"));
    pair.feed(&ack(4, true));
    let mut told = all([2, 3, 4], "acked");
    told.push(Happened::Writable(1));
    assert_eq!(pair.happened(), told);
    assert_eq!(pair.publish(channel, "x"), Ok(5), "a refused one has no number");
    // Nobody was refused: there is nothing to tell.
    pair.feed(&ack(5, false));
    assert_eq!(pair.happened(), all([5], "acked"));
}

#[test]
fn a_higher_limit_makes_room() {
    let (mut pair, channel) = Pair::confirming();
    pair.set_max_unconfirmed(channel, 0);
    assert!(pair.publish(channel, "x").is_err());
    pair.set_max_unconfirmed(channel, usize::MAX);
    assert_eq!(pair.happened(), []);
    pair.settle();
    assert_eq!(pair.happened(), [Happened::Writable(1)]);
    assert_eq!(pair.publish(channel, "x"), Ok(1));
}

#[test]
fn a_publish_that_cannot_be_encoded_has_no_number() {
    let (mut pair, channel) = Pair::confirming();
    assert_eq!(pair.publish(channel, "x"), Ok(1));
    let key = "k".repeat(300);
    assert!(pair.publish_mandatory(channel, &key, "x").is_err());
    assert_eq!(pair.unconfirmed(channel), 1);
    assert_eq!(pair.publish(channel, "x"), Ok(2));
}

#[test]
fn an_empty_ring_keeps_no_large_memory_and_counts_on() {
    let (mut pair, channel) = Pair::confirming();
    publish_many(&mut pair, channel, 100_000);
    pair.feed(&ack(100_000, true));
    assert_eq!(pair.happened().len(), 100_000);
    assert_eq!(pair.publish(channel, "x"), Ok(100_001));
    pair.feed(&ack(100_001, false));
    assert_eq!(pair.happened(), all([100_001], "acked"));
}

#[test]
fn a_flood_of_strange_returns_does_not_look_at_all_that_is_outstanding_for_each() {
    let (mut pair, channel) = Pair::confirming();
    for _ in 0..100_000 {
        pair.publish_mandatory(channel, "key", "x").unwrap();
    }
    pair.sent();
    let flood = returned("another key", "x").repeat(2_000);
    for _ in 0..10 {
        pair.feed(&flood);
        assert_eq!(pair.happened().len(), 2_000);
    }
    pair.feed(&ack(100_000, true));
    assert_eq!(pair.happened(), all(1..=100_000, "acked"));
}
