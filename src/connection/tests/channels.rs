//! Channels: their numbers, and every order in which the two sides can close one.
//! Hazards 12 and 13.

use super::broker;
use super::pair::{Happened, Pair, failed, replied};
use crate::error::{Closed, Error, Misuse, Party};
use crate::protocol::{EncodeError, ShortStr, basic, channel, queue};

fn closed(by: Party, reply_code: u16, reply_text: &str, cause: (u16, u16)) -> Error {
    Error::ChannelClosed(Closed { by, reply_code, reply_text: reply_text.into(), cause })
}

fn by_client(text: &str) -> Error {
    closed(Party::Client, 200, text, (0, 0))
}

fn by_broker(code: u16, text: &str) -> Error {
    closed(Party::Broker, code, text, (50, 10))
}

fn declare_ok(channel: u16) -> Vec<u8> {
    broker::method(channel, &queue::DeclareOk::default())
}

fn open_ok(channel: u16) -> Vec<u8> {
    broker::method(channel, &channel::OpenOk {})
}

#[test]
fn a_channel_opens_and_closes_with_exactly_these_bytes() {
    let mut pair = Pair::open();
    let channel = pair.ask_channel(None, "open").unwrap();
    assert_eq!(pair.sent(), b"\x01\0\x01\0\0\0\x05\0\x14\0\x0a\0\xce");
    assert_eq!(pair.happened(), []);
    pair.feed(b"\x01\0\x01\0\0\0\x08\0\x14\0\x0b\0\0\0\0\xce");
    assert_eq!(pair.happened(), [replied("open", "channel.open-ok")]);
    pair.close_channel(channel, "bye").unwrap();
    assert_eq!(pair.sent(), b"\x01\0\x01\0\0\0\x0e\0\x14\0\x28\0\xc8\x03bye\0\0\0\0\xce");
    assert_eq!(pair.happened(), []);
    pair.feed(b"\x01\0\x01\0\0\0\x04\0\x14\0\x29\xce");
    assert_eq!(pair.happened(), [Happened::ChannelClosed(1, by_client("bye"))]);
    assert!(pair.machine.channel(channel).is_none());
    assert!(pair.sent().is_empty() && pair.machine.is_open());
}

#[test]
fn the_lowest_free_number_is_taken_hazard_13() {
    let mut pair = Pair::open();
    let ids: Vec<_> = (0..5).map(|_| pair.open_channel()).collect();
    assert_eq!(ids.iter().map(|id| id.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    for number in [4, 2] {
        pair.feed(&broker::channel_close(number, 404, "gone"));
    }
    pair.happened();
    pair.sent();
    let next: Vec<_> = (0..3).map(|_| pair.open_channel().number).collect();
    assert_eq!(next, [2, 4, 6]);
}

#[test]
fn a_chosen_number_is_taken_if_it_is_free_and_in_range_hazard_13() {
    let mut pair = Pair::tuned(10, 0);
    assert_eq!(pair.ask_channel(Some(3), "three").map(|id| id.number), Ok(3));
    assert_eq!(pair.ask_channel(Some(10), "ten").map(|id| id.number), Ok(10));
    pair.sent();
    assert_eq!(pair.ask_channel(Some(3), ""), Err(Misuse::ChannelNumberInUse(3)));
    for number in [0, 11, u16::MAX] {
        let refused = Err(Misuse::ChannelNumberOutOfRange { number, channel_max: 10 });
        assert_eq!(pair.ask_channel(Some(number), ""), refused);
    }
    assert!(pair.sent().is_empty());
    let rest: Vec<_> = (0..8).map(|_| pair.open_channel().number).collect();
    assert_eq!(rest, [1, 2, 4, 5, 6, 7, 8, 9]);
    assert_eq!(pair.ask_channel(None, ""), Err(Misuse::NoFreeChannels(10)));
}

#[test]
fn a_number_is_in_use_until_its_channel_has_ended() {
    let (mut pair, channel) = Pair::with_channel();
    pair.close_channel(channel, "bye").unwrap();
    assert_eq!(pair.ask_channel(Some(1), ""), Err(Misuse::ChannelNumberInUse(1)));
    assert_eq!(pair.ask_channel(None, "next").map(|id| id.number), Ok(2));
    pair.feed(&broker::channel_close_ok(1));
    assert_eq!(pair.ask_channel(Some(1), "again").map(|id| id.number), Ok(1));
}

#[test]
fn when_all_numbers_are_in_use_that_is_an_error_and_one_that_closes_is_free_hazard_13() {
    for channel_max in [1, 100, u16::MAX] {
        let mut pair = Pair::tuned(channel_max, 0);
        for _ in 0..channel_max {
            pair.ask_channel(None, "open").unwrap();
        }
        assert_eq!(pair.ask_channel(None, ""), Err(Misuse::NoFreeChannels(channel_max)));
        pair.sent();
        pair.feed(&broker::channel_close(channel_max, 404, "gone"));
        assert_eq!(pair.ask_channel(None, "open").map(|id| id.number), Ok(channel_max));
        assert_eq!(pair.ask_channel(None, ""), Err(Misuse::NoFreeChannels(channel_max)));
        pair.lose();
        assert_eq!(pair.happened().len(), 2 * usize::from(channel_max) + 3);
    }
}

#[test]
fn ten_thousand_channels_open_and_close_under_the_same_number_hazard_13() {
    let mut pair = Pair::open();
    let kept = pair.open_channel();
    for round in 0..10_000 {
        let channel = pair.open_channel();
        assert_eq!(channel.number, 2);
        let error = if round % 2 == 0 {
            pair.close_channel(channel, "bye").unwrap();
            pair.feed(&broker::channel_close_ok(2));
            by_client("bye")
        } else {
            pair.feed(&broker::channel_close(2, 404, "gone"));
            by_broker(404, "gone")
        };
        assert_eq!(pair.happened(), [Happened::ChannelClosed(2, error)]);
        pair.sent();
    }
    assert!(pair.machine.channel(kept).is_some());
    assert!(pair.unparsed.is_empty());
}

#[test]
fn a_handle_of_an_ended_channel_does_not_reach_the_next_of_its_number() {
    let (mut pair, stale) = Pair::with_channel();
    pair.feed(&broker::channel_close(1, 404, "gone"));
    let next = pair.ask_channel(None, "open").unwrap();
    pair.feed(&open_ok(1));
    assert_eq!((stale.number, next.number), (1, 1));
    pair.sent();
    pair.happened();
    let refused = Err(Misuse::ChannelNotOpen);
    assert_eq!(pair.request(stale, "", &queue::Declare::default()), refused);
    assert_eq!(pair.tell(stale, &basic::Ack::default()), refused);
    assert_eq!(pair.close_channel(stale, "bye"), refused);
    assert!(pair.publish(stale, "x").is_err());
    assert!(pair.machine.channel(stale).is_none() && pair.machine.channel_mut(stale).is_none());
    assert!(pair.sent().is_empty());
    assert!(pair.publish(next, "x").is_ok());
}

#[test]
fn frames_for_an_unknown_channel_are_dropped_and_the_connection_lives_hazard_12() {
    let (mut pair, channel) = Pair::with_channel();
    pair.close_channel(channel, "bye").unwrap();
    pair.feed(&broker::channel_close_ok(1));
    pair.happened();
    pair.sent();
    for number in [1, 2, 999, u16::MAX] {
        for bytes in [
            broker::deliver(number, "c", 1, b"late"),
            declare_ok(number),
            broker::channel_close(number, 404, "late"),
            broker::channel_close_ok(number),
            broker::body(number, b"x"),
            broker::method(number, &basic::Cancel { consumer_tag: ShortStr::from("c") }),
        ] {
            pair.feed(&bytes);
            pair.dribble(&bytes, 1);
        }
    }
    assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
    assert!(pair.machine.is_open() && pair.unparsed.is_empty());
}

#[test]
fn a_channel_the_broker_closes_completes_all_in_order_then_ends_hazard_12() {
    let (mut pair, channel) = Pair::with_channel();
    pair.declare(channel, "a");
    pair.declare(channel, "b");
    pair.get(channel, "get").unwrap();
    pair.publish(channel, "behind").unwrap();
    pair.sent();
    pair.feed(&broker::channel_close(1, 406, "no"));
    let error = by_broker(406, "no");
    assert_eq!(
        pair.happened(),
        [
            failed("a", &error),
            failed("b", &error),
            Happened::Got("get".into(), Err(error.clone())),
            Happened::ChannelClosed(1, error),
        ]
    );
    assert_eq!(pair.sent_names(), ["1 channel.close-ok"], "what was queued is not sent");
    assert!(pair.machine.is_open());
    assert_eq!(pair.request(channel, "", &basic::Recover::default()), Err(Misuse::ChannelNotOpen));
}

#[test]
fn a_close_waits_for_the_requests_before_it_and_lets_none_behind() {
    let (mut pair, channel) = Pair::with_channel();
    pair.declare(channel, "a");
    pair.declare(channel, "b");
    pair.publish(channel, "").unwrap();
    pair.close_channel(channel, "bye").unwrap();
    let refused = Err(Misuse::ChannelNotOpen);
    assert_eq!(pair.close_channel(channel, "again"), refused);
    assert_eq!(pair.request(channel, "", &basic::Recover::default()), refused);
    assert_eq!(pair.get(channel, ""), refused);
    assert_eq!(pair.cancel(channel, ""), refused);
    assert_eq!(pair.consume(channel, basic::Consume::default()), Err(Misuse::ChannelNotOpen));
    assert_eq!(pair.sent_names(), ["1 queue.declare"]);
    pair.feed(&declare_ok(1));
    assert_eq!(pair.sent_names(), ["1 queue.declare", "1 basic.publish", "1 header(0)"]);
    pair.feed(&declare_ok(1));
    assert_eq!(pair.sent_names(), ["1 channel.close"]);
    pair.feed(&broker::channel_close_ok(1));
    let (a, b) = (replied("a", "queue.declare-ok"), replied("b", "queue.declare-ok"));
    assert_eq!(pair.happened(), [a, b, Happened::ChannelClosed(1, by_client("bye"))]);
}

#[test]
fn a_close_text_of_256_bytes_is_an_error_and_the_channel_stays_open() {
    let (mut pair, channel) = Pair::with_channel();
    let error = EncodeError::ShortStringTooLong { length: 256 };
    assert_eq!(pair.close_channel(channel, &"x".repeat(256)), Err(Misuse::Encode(error)));
    assert!(pair.sent().is_empty());
    assert!(pair.publish(channel, "x").is_ok());
}

#[test]
fn a_closing_channel_drops_what_was_under_way_hazard_12() {
    let (mut pair, channel) = Pair::with_channel();
    pair.consumer(channel, "c", false);
    pair.close_channel(channel, "bye").unwrap();
    pair.sent();
    pair.feed(&broker::deliver(1, "c", 1, b"late"));
    pair.dribble(&broker::deliver(1, "c", 2, &[0; 100_000]), 30_000);
    pair.feed(&broker::method(1, &basic::Cancel { consumer_tag: "c".into() }));
    pair.feed(&broker::method(1, &channel::Flow { active: false }));
    assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
    pair.feed(&broker::channel_close_ok(1));
    assert_eq!(pair.happened(), [Happened::ChannelClosed(1, by_client("bye"))]);
}

#[test]
fn a_message_half_here_when_the_channel_closes_is_finished_and_dropped() {
    let (mut pair, channel) = Pair::with_channel();
    pair.consumer(channel, "c", false);
    let message = broker::deliver(1, "c", 1, &[7; 300_000]);
    pair.feed(&message[..200_000]);
    pair.close_channel(channel, "bye").unwrap();
    pair.feed(&message[200_000..]);
    pair.feed(&broker::channel_close_ok(1));
    assert_eq!(pair.happened(), [Happened::ChannelClosed(1, by_client("bye"))]);
    assert!(pair.machine.is_open());
}

#[test]
fn no_delivery_is_told_once_the_channel_is_closed_though_its_close_still_waits() {
    let (mut pair, channel) = Pair::with_channel();
    pair.consumer(channel, "c", false);
    pair.declare(channel, "a");
    pair.close_channel(channel, "bye").unwrap();
    pair.sent();
    pair.feed(&broker::deliver(1, "c", 1, b"late"));
    pair.feed(&broker::method(1, &basic::Return { reply_code: 312, ..Default::default() }));
    pair.feed(&broker::content(1, b"unroutable", 131_072));
    pair.feed(&broker::method(1, &basic::Cancel { consumer_tag: "c".into() }));
    let told = vec![Happened::Returned(1, "unroutable".into()), Happened::Cancelled(1, "c".into())];
    assert_eq!((pair.happened(), pair.sent()), (told, vec![]));
    pair.feed(&declare_ok(1));
    assert_eq!(pair.happened(), [replied("a", "queue.declare-ok")]);
}

/// RabbitMQ does not always answer ours then: the channel that had to has failed.
#[test]
fn two_closes_that_cross_end_the_channel_once_hazard_12() {
    let (mut pair, channel) = Pair::with_channel();
    pair.close_channel(channel, "bye").unwrap();
    pair.feed(&broker::channel_close(1, 404, "gone"));
    assert_eq!(pair.sent_names(), ["1 channel.close", "1 channel.close-ok"]);
    assert_eq!(pair.happened(), [Happened::ChannelClosed(1, by_broker(404, "gone"))]);
    pair.feed(&broker::channel_close_ok(1));
    assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
    assert!(pair.machine.is_open());
}

#[test]
fn an_answer_to_a_close_that_crossed_is_not_for_the_next_channel_of_that_number_hazard_12() {
    for closed_while_it_opens in [false, true] {
        let (mut pair, channel) = Pair::with_channel();
        pair.close_channel(channel, "bye").unwrap();
        pair.feed(&broker::channel_close(1, 404, "gone"));
        let again = pair.ask_channel(Some(1), "again").unwrap();
        if closed_while_it_opens {
            pair.close_channel(again, "bye again").unwrap();
        }
        pair.sent();
        pair.happened();
        pair.feed(&broker::channel_close_ok(1));
        assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
        pair.feed(&open_ok(1));
        if closed_while_it_opens {
            assert_eq!(pair.happened(), [failed("again", &by_client("bye again"))]);
            pair.feed(&broker::channel_close_ok(1));
            assert_eq!(pair.happened(), [Happened::ChannelClosed(1, by_client("bye again"))]);
        } else {
            assert_eq!(pair.happened(), [replied("again", "channel.open-ok")]);
        }
        assert!(pair.machine.is_open());
    }
}

/// RabbitMQ answers it when the next channel of that number may be open, and closing.
#[test]
fn a_number_whose_close_is_yet_to_be_answered_is_given_last_hazard_12() {
    let (mut pair, channel) = Pair::with_channel();
    pair.close_channel(channel, "bye").unwrap();
    pair.feed(&broker::channel_close(1, 404, "gone"));
    assert_eq!(pair.ask_channel(None, "next").unwrap().number, 2);
    pair.feed(&broker::channel_close_ok(1));
    assert_eq!(pair.ask_channel(None, "third").unwrap().number, 1);
    assert_eq!(pair.ask_channel(None, "fourth").unwrap().number, 3);

    let mut pair = Pair::tuned(1, 0);
    let channel = pair.open_channel();
    pair.close_channel(channel, "bye").unwrap();
    pair.feed(&broker::channel_close(1, 404, "gone"));
    assert_eq!(pair.ask_channel(None, "the only one").unwrap().number, 1);
}

#[test]
fn regression_closes_that_cross_within_a_message_end_the_channel() {
    let (mut pair, channel) = Pair::with_channel();
    pair.consumer(channel, "c", false);
    let begun = [broker::deliver_method(1, "c", 1), broker::header(1, 300_000)];
    pair.feed(&begun.concat());
    pair.feed(&broker::body(1, &[7; 100_000])); // the rest of the message never comes
    pair.close_channel(channel, "bye").unwrap();
    pair.feed(&broker::channel_close(1, 541, "oops"));
    assert_eq!(pair.happened(), [Happened::ChannelClosed(1, by_broker(541, "oops"))]);
    assert!(pair.machine.is_open());
}

#[test]
fn a_brokers_close_overtakes_one_that_still_waits_hazard_12() {
    let (mut pair, channel) = Pair::with_channel();
    pair.declare(channel, "a");
    pair.close_channel(channel, "bye").unwrap();
    pair.sent();
    pair.feed(&broker::channel_close(1, 404, "gone"));
    let error = by_broker(404, "gone");
    assert_eq!(pair.happened(), [failed("a", &error), Happened::ChannelClosed(1, error)]);
    assert_eq!(pair.sent_names(), ["1 channel.close-ok"]);
}

#[test]
fn a_channel_closed_while_it_opens_is_closed_when_it_is_open() {
    let mut pair = Pair::open();
    let channel = pair.ask_channel(None, "open").unwrap();
    pair.close_channel(channel, "bye").unwrap();
    assert_eq!(pair.sent_names(), ["1 channel.open"]);
    pair.feed(&open_ok(1));
    assert_eq!(pair.happened(), [failed("open", &by_client("bye"))]);
    assert_eq!(pair.sent_names(), ["1 channel.close"]);
    pair.feed(&broker::channel_close_ok(1));
    assert_eq!(pair.happened(), [Happened::ChannelClosed(1, by_client("bye"))]);
}

#[test]
fn a_channel_the_broker_does_not_open_tells_so_once() {
    let mut pair = Pair::open();
    pair.ask_channel(None, "open").unwrap();
    pair.sent();
    pair.feed(&broker::channel_close(1, 506, "too many"));
    let error = by_broker(506, "too many");
    assert_eq!(pair.happened(), [failed("open", &error), Happened::ChannelClosed(1, error)]);
    assert_eq!(pair.sent_names(), ["1 channel.close-ok"]);
}

#[test]
fn nothing_can_be_asked_of_a_channel_that_is_still_opening() {
    let mut pair = Pair::open();
    let channel = pair.ask_channel(None, "open").unwrap();
    pair.sent();
    let refused = Err(Misuse::ChannelNotOpen);
    assert_eq!(pair.request(channel, "", &basic::Recover::default()), refused);
    assert_eq!(pair.tell(channel, &basic::Ack::default()), refused);
    assert_eq!(pair.consume(channel, basic::Consume::default()), Err(Misuse::ChannelNotOpen));
    assert!(pair.sent().is_empty());
}
