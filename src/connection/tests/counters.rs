//! Counters, and what was published and never left.

use std::time::Duration;

use super::broker;
use super::pair::{Happened, Pair};
use crate::error::{Misuse, StreamLost};
use crate::protocol::{ShortStr, basic, queue};

#[test]
fn frames_and_messages_are_counted_however_reads_cut_them() {
    let mut bytes = broker::deliver(1, "c", 1, b"whole");
    bytes.extend(broker::deliver(1, "c", 2, b""));
    bytes.extend(broker::deliver(1, "c", 3, &[0; 200_000])); // two body frames
    bytes.extend(broker::heartbeat());
    bytes.extend(broker::method(1, &basic::Return::default()));
    bytes.extend(broker::content(1, b"back", 131_072));
    bytes.extend(broker::deliver(9, "c", 1, b"no such channel"));
    for read in [1_000_000, 10_000, 7] {
        let (mut pair, channel) = Pair::with_channel();
        pair.consumer(channel, "c", false);
        let before = pair.machine.counters();
        pair.dribble(&bytes, read);
        let after = pair.machine.counters();
        assert_eq!(after.frames_received - before.frames_received, 3 + 2 + 4 + 1 + 3 + 3);
        assert_eq!(after.messages_received - before.messages_received, 4);
    }
}

#[test]
fn what_is_sent_is_counted_when_it_is_encoded() {
    let (mut pair, channel) = Pair::with_channel();
    let before = pair.machine.counters();
    pair.publish(channel, "").unwrap();
    pair.publish(channel, "x").unwrap();
    pair.publish(channel, vec![0; 300_000]).unwrap(); // three body frames
    pair.publish(channel, &[0; 300_000]).unwrap();
    pair.declare(channel, "a");
    pair.declare(channel, "b");
    pair.publish(channel, "behind").unwrap();
    let after = pair.machine.counters();
    let encoded = 2 + 3 + 5 + 5 + 1 + 1 + 3;
    assert_eq!(after.frames_sent - before.frames_sent, encoded);
    assert_eq!(after.messages_published - before.messages_published, 5);
    let sent = pair.sent();
    let behind = pair.machine.counters().buffered_out;
    assert_eq!(after.buffered_out, sent.len() + behind);
    pair.feed(&broker::method(1, &queue::DeclareOk::default()));
    assert_eq!(pair.sent().len(), behind);
    assert_eq!(broker::names(&sent).len() as u64, encoded - 4);
    assert_eq!(pair.machine.counters().buffered_out, 0);
}

#[test]
fn channels_are_counted_while_they_are_there() {
    let mut pair = Pair::open();
    assert_eq!(pair.machine.counters().channels, 0);
    let channel = pair.open_channel();
    pair.ask_channel(None, "opening").unwrap();
    assert_eq!(pair.machine.counters().channels, 2);
    pair.close_channel(channel, "bye").unwrap();
    assert_eq!(pair.machine.counters().channels, 2);
    pair.feed(&broker::channel_close_ok(1));
    assert_eq!(pair.machine.counters().channels, 1);
}

#[test]
fn what_is_not_acknowledged_is_counted() {
    let (mut pair, channel) = Pair::with_channel();
    pair.consumer(channel, "c", false);
    pair.consumer(channel, "n", true);
    let unacked = |pair: &Pair| pair.machine.counters().unacked;
    let settle = |pair: &mut Pair, delivery_tag, multiple| {
        let ack = basic::Ack { delivery_tag, multiple };
        pair.work(channel, |state, wire| state.settle(wire, &ack, delivery_tag, multiple)).unwrap();
    };
    for (tag, consumer) in [(1, "c"), (2, "n"), (3, "c"), (4, "c"), (5, "stranger"), (6, "c")] {
        pair.feed(&broker::deliver(1, consumer, tag, b""));
    }
    assert_eq!(unacked(&pair), 5);
    settle(&mut pair, 3, false);
    assert_eq!(unacked(&pair), 4);
    settle(&mut pair, 4, true);
    assert_eq!(unacked(&pair), 2);
    // Fetched, and put back since its consumer was cancelled.
    pair.get(channel, "get").unwrap();
    let got = basic::GetOk { delivery_tag: 7, ..Default::default() };
    pair.feed(&[broker::method(1, &got), broker::content(1, b"", 4096)].concat());
    assert_eq!(unacked(&pair), 3);
    pair.cancel(channel, "c").unwrap();
    pair.feed(&broker::deliver(1, "c", 8, b""));
    assert_eq!(unacked(&pair), 3);
    pair.feed(&broker::method(1, &basic::CancelOk { consumer_tag: "c".into() }));
    pair.request(channel, "recover", &basic::Recover { requeue: true }).unwrap();
    pair.feed(&broker::method(1, &basic::RecoverOk {}));
    assert_eq!(unacked(&pair), 0);
}

#[test]
fn what_is_not_confirmed_is_counted_and_told_at_the_end() {
    let (mut pair, channel) = Pair::confirming();
    for _ in 0..5 {
        pair.publish(channel, "x").unwrap();
    }
    pair.sent();
    assert_eq!(pair.machine.counters().unconfirmed, 5);
    pair.feed(&broker::method(1, &basic::Ack { delivery_tag: 2, multiple: true }));
    assert_eq!(pair.machine.counters().unconfirmed, 3);
    pair.publish(channel, "unsent").unwrap();
    pair.lose();
    let undelivered = pair.machine.undelivered();
    assert_eq!((undelivered.unsent_messages, undelivered.unconfirmed), (1, 4));
    assert_eq!(pair.machine.counters().unconfirmed, 0, "they are lost");
}

#[test]
fn what_never_left_is_counted_at_the_end() {
    let (mut pair, channel) = Pair::with_channel();
    let other = pair.open_channel();
    for _ in 0..3 {
        pair.publish(channel, "on its way").unwrap();
    }
    let each = pair.machine.counters().buffered_out / 3;
    // The first is sent, the second but for its last byte.
    pair.machine.output().advance(2 * each - 1);
    pair.declare(other, "on the wire");
    pair.declare(other, "queued");
    for _ in 0..4 {
        pair.publish(other, "behind").unwrap();
    }
    let waiting = pair.machine.counters().buffered_out as u64;
    for _ in 0..2 {
        let undelivered = pair.machine.undelivered();
        assert_eq!((undelivered.unsent_messages, undelivered.unsent_bytes), (2 + 4, waiting));
        pair.machine.lost(StreamLost::EndOfStream);
    }
}

#[test]
fn what_a_channel_takes_with_it_is_counted_with_its_connection() {
    let (mut pair, channel) = Pair::with_channel();
    pair.declare(channel, "a");
    pair.declare(channel, "b");
    pair.publish(channel, "behind").unwrap();
    pair.sent();
    pair.feed(&broker::channel_close(1, 404, "no"));
    pair.sent();
    assert_eq!(pair.machine.undelivered().unsent_messages, 1);
    pair.happened();
    let again = pair.open_channel();
    pair.publish(again, "sent").unwrap();
    pair.sent();
    pair.lose();
    assert_eq!(pair.machine.undelivered().unsent_messages, 1);
}

#[test]
fn what_a_channel_whose_close_is_not_answered_leaves_unconfirmed_is_counted_once() {
    let (mut pair, channel) = Pair::confirming();
    let limit = Duration::from_secs(1);
    pair.work(channel, |state, _| {
        state.set_request_timeout(Some(limit));
        Ok::<_, Misuse>(())
    })
    .unwrap();
    for _ in 0..3 {
        pair.publish(channel, "x").unwrap();
    }
    pair.close_channel(channel, "bye").unwrap();
    pair.sent();
    pair.wait(limit);
    assert!(matches!(pair.happened().last(), Some(Happened::ChannelClosed(1, _))));
    assert_eq!(pair.machine.undelivered().unconfirmed, 3);
    pair.lose();
    assert_eq!(pair.machine.undelivered().unconfirmed, 3);
}

#[test]
fn what_was_sent_is_not_undelivered() {
    let (mut pair, channel) = Pair::with_channel();
    for _ in 0..1_000 {
        pair.publish(channel, &[0; 1_000]).unwrap();
        pair.machine.output().bound_block();
    }
    pair.tell(channel, &basic::Ack { delivery_tag: 1, multiple: false }).unwrap();
    assert_eq!(pair.machine.undelivered().unsent_messages, 1_000);
    pair.sent();
    pair.consumer(channel, &ShortStr::from("c").to_string(), true);
    pair.lose();
    assert_eq!(pair.machine.undelivered(), crate::connection::Undelivered::default());
}
