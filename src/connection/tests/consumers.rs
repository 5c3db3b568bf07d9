//! Consumers: their tags, their closures, and every way they end.

use std::cell::RefCell;
use std::rc::Rc;

use super::broker;
use super::pair::{Happened, Pair, delivered, failed, replied};
use crate::channel::{Channel, ChannelId, Delivery, OnMessage};
use crate::error::Misuse;
use crate::protocol::{EncodeError, ShortStr, basic, queue, tx};

fn cancel_ok(channel: u16, tag: &str) -> Vec<u8> {
    broker::method(channel, &basic::CancelOk { consumer_tag: tag.into() })
}

fn broker_cancels(channel: u16, tag: &str) -> Vec<u8> {
    broker::method(channel, &basic::Cancel { consumer_tag: tag.into() })
}

fn reject(delivery_tag: u64) -> Vec<u8> {
    broker::method(1, &basic::Reject { delivery_tag, requeue: true })
}

/// A consumer whose closure holds a probe: what is counted is how many of it are left.
fn probed(pair: &mut Pair, channel: ChannelId, tag: &str) -> Rc<()> {
    let probe = Rc::new(());
    let held = Rc::clone(&probe);
    let mut on_message: Option<OnMessage> =
        Some(Rc::new(RefCell::new(move |_: &Channel, _: &Delivery<'_>| {
            let _ = &held;
        })));
    let mut completion = Some(pair.on_reply("consume"));
    let consume = basic::Consume { consumer_tag: tag.into(), ..Default::default() };
    pair.work(channel, |state, wire| {
        state.consume(wire, consume, &mut on_message, &mut completion)
    })
    .unwrap();
    pair.feed(&broker::method(1, &basic::ConsumeOk { consumer_tag: tag.into() }));
    pair.happened();
    pair.sent();
    probe
}

#[test]
fn each_consumer_gets_its_own_messages() {
    let (mut pair, channel) = Pair::with_channel();
    let chosen = pair.consumer(channel, "chosen", false);
    let own = pair.consumer(channel, "", false);
    assert_eq!(chosen, "chosen");
    assert!(!own.is_empty());
    pair.feed(&broker::deliver(1, &own, 1, b"a"));
    pair.feed(&broker::deliver(1, &chosen, 2, b"b"));
    pair.feed(&broker::deliver(1, &own, 3, b"c"));
    assert_eq!(
        pair.happened(),
        [
            delivered(1, "own", 1, b"a"),
            delivered(1, "chosen", 2, b"b"),
            delivered(1, "own", 3, b"c")
        ]
    );
}

#[test]
fn the_tag_that_is_told_is_the_tag_that_is_sent() {
    let (mut pair, channel) = Pair::with_channel();
    for (asked, no_ack) in [("", false), ("mine", true)] {
        let consume = basic::Consume {
            queue: "q".into(),
            consumer_tag: asked.into(),
            no_ack,
            ..Default::default()
        };
        let tag = pair.consume(channel, consume.clone()).unwrap();
        let expected = basic::Consume { consumer_tag: (&tag).into(), ..consume };
        assert_eq!(pair.sent(), broker::method(1, &expected));
        let consumer_tag = ShortStr::from(&tag);
        pair.feed(&broker::method(1, &basic::ConsumeOk { consumer_tag }));
    }
}

#[test]
fn a_tag_in_use_is_refused_until_its_consumer_has_gone() {
    let (mut pair, channel) = Pair::with_channel();
    let consume = || basic::Consume { consumer_tag: "c".into(), ..Default::default() };
    let in_use = Err(Misuse::ConsumerTagInUse("c".into()));
    pair.consume(channel, consume()).unwrap();
    assert_eq!(pair.consume(channel, consume()), in_use, "before ConsumeOk");
    pair.feed(&broker::method(1, &basic::ConsumeOk { consumer_tag: "c".into() }));
    assert_eq!(pair.consume(channel, consume()), in_use);
    pair.cancel(channel, "c").unwrap();
    assert_eq!(pair.consume(channel, consume()), in_use, "before CancelOk");
    pair.feed(&cancel_ok(1, "c"));
    assert_eq!(pair.consume(channel, consume()), Ok("c".into()));
    // Tags are the channel's own.
    pair.feed(&broker::method(1, &basic::ConsumeOk { consumer_tag: "c".into() }));
    pair.happened();
    let other = pair.open_channel();
    assert_eq!(pair.consume(other, consume()), Ok("c".into()));
}

#[test]
fn regression_an_own_tag_is_none_that_the_user_has_chosen() {
    let (mut pair, channel) = Pair::with_channel();
    let own = pair.consumer(channel, "", false);
    // What the next own tag would look like.
    let next = own.replace('0', "2");
    assert_ne!(own, next);
    pair.consumer(channel, &next, false);
    let later = pair.consumer(channel, "", false);
    assert_ne!(later, next);
    pair.feed(&broker::deliver(1, &next, 1, b"x"));
    assert_eq!(pair.happened(), [delivered(1, &next, 1, b"x")]);
}

#[test]
fn a_tag_of_300_bytes_is_an_error_and_leaves_nothing() {
    let (mut pair, channel) = Pair::with_channel();
    let long = "t".repeat(300);
    for _ in 0..2 {
        let consume = basic::Consume { consumer_tag: (&long).into(), ..Default::default() };
        let error = EncodeError::ShortStringTooLong { length: 300 };
        assert_eq!(pair.consume(channel, consume), Err(Misuse::Encode(error)));
    }
    assert_eq!(pair.cancel(channel, &long), Err(Misuse::UnknownConsumerTag(long.clone())));
    assert!(pair.sent().is_empty());
}

#[test]
fn a_consume_that_cannot_be_encoded_leaves_its_tag_free() {
    let (mut pair, channel) = Pair::with_channel();
    let long = "q".repeat(300);
    let consume = |queue| basic::Consume { queue, consumer_tag: "c".into(), ..Default::default() };
    assert!(pair.consume(channel, consume(ShortStr::from(&long))).is_err());
    assert_eq!(pair.cancel(channel, "c"), Err(Misuse::UnknownConsumerTag("c".into())));
    assert_eq!(pair.consume(channel, consume("q".into())), Ok("c".into()));
    assert_eq!(pair.sent_names(), ["1 basic.consume"]);
}

#[test]
fn an_unknown_tag_and_a_second_cancel_are_refused() {
    let (mut pair, channel) = Pair::with_channel();
    pair.consumer(channel, "c", false);
    let unknown = |tag: &str| Err(Misuse::UnknownConsumerTag(tag.into()));
    assert_eq!(pair.cancel(channel, "x"), unknown("x"));
    assert_eq!(pair.cancel(channel, ""), unknown(""));
    assert_eq!(pair.cancel(channel, "c"), Ok(()));
    assert_eq!(pair.cancel(channel, "c"), unknown("c"));
    assert_eq!(pair.sent_names(), ["1 basic.cancel"]);
    pair.feed(&cancel_ok(1, "c"));
    assert_eq!(pair.happened(), [replied("cancel c", "basic.cancel-ok")]);
    assert_eq!(pair.cancel(channel, "c"), unknown("c"));
}

#[test]
fn what_comes_after_cancel_goes_back_to_the_queue() {
    let (mut pair, channel) = Pair::with_channel();
    pair.consumer(channel, "c", false);
    pair.cancel(channel, "c").unwrap();
    pair.sent();
    pair.feed(&broker::deliver(1, "c", 8, b"late"));
    pair.dribble(&broker::deliver(1, "c", 9, &[0; 40_000]), 1000);
    assert_eq!(pair.sent(), [reject(8), reject(9)].concat());
    assert_eq!(pair.happened(), []);
    pair.feed(&cancel_ok(1, "c"));
    assert_eq!(pair.happened(), [replied("cancel c", "basic.cancel-ok")]);
}

#[test]
fn what_comes_after_cancel_of_a_no_ack_consumer_is_dropped() {
    let (mut pair, channel) = Pair::with_channel();
    pair.consumer(channel, "c", true);
    pair.cancel(channel, "c").unwrap();
    pair.sent();
    pair.feed(&broker::deliver(1, "c", 8, b"late"));
    assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
}

#[test]
fn a_late_message_goes_back_at_once_but_into_no_transaction_that_is_being_committed() {
    let (mut pair, channel) = Pair::with_channel();
    pair.consumer(channel, "c", false);
    pair.request(channel, "commit", &tx::Commit).unwrap();
    pair.cancel(channel, "c").unwrap();
    pair.declare(channel, "a");
    pair.sent();
    pair.feed(&broker::deliver(1, "c", 7, b"late"));
    assert!(pair.sent().is_empty());
    pair.feed(&broker::method(1, &tx::CommitOk {}));
    assert_eq!(pair.sent_names(), ["1 basic.cancel"]);
    pair.feed(&broker::deliver(1, "c", 8, b"late"));
    assert_eq!(pair.sent(), reject(8));
    pair.feed(&cancel_ok(1, "c"));
    assert_eq!(pair.sent_names(), ["1 queue.declare", "1 basic.reject"]);
}

#[test]
fn the_broker_cancels_a_consumer_hazard_20() {
    let (mut pair, channel) = Pair::with_channel();
    let probe = probed(&mut pair, channel, "c");
    pair.feed(&broker_cancels(1, "c"));
    assert_eq!(pair.happened(), [Happened::Cancelled(1, "c".into())]);
    assert!(pair.sent().is_empty());
    assert_eq!(Rc::strong_count(&probe), 1, "its closure is released");
    assert_eq!(pair.cancel(channel, "c"), Err(Misuse::UnknownConsumerTag("c".into())));
    pair.feed(&broker_cancels(1, "c"));
    assert_eq!(pair.happened(), [], "there is no such consumer any more");
}

#[test]
fn the_brokers_cancel_crosses_the_users() {
    let (mut pair, channel) = Pair::with_channel();
    pair.consumer(channel, "c", false);
    pair.cancel(channel, "c").unwrap();
    pair.feed(&broker_cancels(1, "c"));
    pair.feed(&cancel_ok(1, "c"));
    let (cancelled, replied) =
        (Happened::Cancelled(1, "c".into()), replied("cancel c", "basic.cancel-ok"));
    assert_eq!(pair.happened(), [cancelled, replied]);
}

#[test]
fn regression_a_late_cancel_ok_leaves_the_next_consumer_of_that_tag() {
    let (mut pair, channel) = Pair::with_channel();
    pair.consumer(channel, "c", false);
    pair.cancel(channel, "c").unwrap();
    pair.feed(&broker_cancels(1, "c"));
    let consume = basic::Consume { consumer_tag: "c".into(), ..Default::default() };
    pair.consume(channel, consume).unwrap();
    pair.feed(&cancel_ok(1, "c"));
    pair.feed(&broker::method(1, &basic::ConsumeOk { consumer_tag: "c".into() }));
    pair.happened();
    pair.feed(&broker::deliver(1, "c", 1, b"x"));
    assert_eq!(pair.happened(), [delivered(1, "c", 1, b"x")]);
}

#[test]
fn a_cancelled_consumers_closure_is_released_with_cancel_ok() {
    let (mut pair, channel) = Pair::with_channel();
    let probe = probed(&mut pair, channel, "c");
    pair.cancel(channel, "c").unwrap();
    assert_eq!(Rc::strong_count(&probe), 2, "it may be running");
    pair.feed(&cancel_ok(1, "c"));
    assert_eq!(Rc::strong_count(&probe), 1);
}

#[test]
fn a_channels_end_releases_its_closures_hazard_18() {
    for (end, bytes) in [
        ("channel closed", broker::channel_close(1, 404, "gone")),
        ("connection closed", broker::close(320, "gone")),
        ("protocol broken", broker::raw(9, 0, b"")),
        ("", vec![]),
    ] {
        let (mut pair, channel) = Pair::with_channel();
        let probe = probed(&mut pair, channel, "c");
        assert_eq!(Rc::strong_count(&probe), 2);
        if bytes.is_empty() {
            pair.lose()
        } else {
            pair.feed(&bytes)
        }
        assert_eq!(Rc::strong_count(&probe), 1, "{end}");
    }
}

#[test]
fn a_consumer_whose_channel_ends_before_consume_ok_completes_with_the_error() {
    let (mut pair, channel) = Pair::with_channel();
    let consume = basic::Consume { consumer_tag: "c".into(), ..Default::default() };
    pair.consume(channel, consume).unwrap();
    pair.feed(&broker::channel_close(1, 404, "no queue"));
    let happened = pair.happened();
    let Some(Happened::ChannelClosed(1, error)) = happened.get(1) else { panic!("{happened:?}") };
    assert_eq!(happened[0], failed("consume c", error));
}

#[test]
fn many_consumers_come_and_go_and_every_message_finds_its_own() {
    let (mut pair, channel) = Pair::with_channel();
    let mut tags = Vec::new();
    for round in 0..50_u64 {
        tags.push(pair.consumer(channel, &format!("c{round}"), false));
        if round % 3 == 0 {
            let gone = tags.remove(tags.len() / 2);
            pair.cancel(channel, &gone).unwrap();
            pair.feed(&cancel_ok(1, &gone));
            pair.happened();
        }
        for tag in &tags {
            pair.feed(&broker::deliver(1, tag, round, b"x"));
        }
        let expected: Vec<_> = tags.iter().map(|tag| delivered(1, tag, round, b"x")).collect();
        assert_eq!(pair.happened(), expected);
    }
    pair.sent();
    pair.request(channel, "still", &queue::Purge::default()).unwrap();
    assert_eq!(pair.sent_names(), ["1 queue.purge"]);
}
