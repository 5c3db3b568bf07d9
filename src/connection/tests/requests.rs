//! The order of requests: one at a time is on the wire, each completes once, and nothing overtakes.
//! Hazards 9 and 10.

use super::broker;
use super::pair::{Happened, Pair, failed, replied};
use crate::channel::ChannelId;
use crate::error::{Error, Misuse, ProtocolError};
use crate::protocol::{
    EncodeMethod, Request, basic, channel, confirm, exchange, method_frame_len, queue, tx,
};

/// A request method, how to ask for it, and its reply.
struct Case {
    name: &'static str,
    reply_name: &'static str,
    ask: fn(&mut Pair, ChannelId) -> Result<(), Misuse>,
    reply: Vec<u8>,
}

fn case<M>() -> Case
where
    M: Request<Reply: EncodeMethod + Default> + Default,
{
    Case {
        name: M::NAME,
        reply_name: M::Reply::NAME,
        ask: |pair, channel| pair.request(channel, M::NAME, &M::default()),
        reply: broker::method(1, &M::Reply::default()),
    }
}

/// Every request of an open channel that one method answers. basic.get, channel.open and
/// channel.close have scenarios of their own.
fn all_requests() -> Vec<Case> {
    vec![
        case::<channel::Flow>(),
        case::<exchange::Declare<'_>>(),
        case::<exchange::Delete<'_>>(),
        case::<exchange::Bind<'_>>(),
        case::<exchange::Unbind<'_>>(),
        case::<queue::Declare<'_>>(),
        case::<queue::Bind<'_>>(),
        case::<queue::Purge<'_>>(),
        case::<queue::Delete<'_>>(),
        case::<queue::Unbind<'_>>(),
        case::<basic::Qos>(),
        case::<basic::Consume<'_>>(),
        case::<basic::Cancel<'_>>(),
        case::<basic::Recover>(),
        case::<confirm::Select>(),
        case::<tx::Select>(),
        case::<tx::Commit>(),
        case::<tx::Rollback>(),
    ]
}

#[test]
fn every_request_completes_once_with_its_own_reply_in_order_one_on_the_wire_hazard_9() {
    let (mut pair, channel) = Pair::with_channel();
    let cases = all_requests();
    for case in &cases {
        (case.ask)(&mut pair, channel).unwrap();
    }
    for case in &cases {
        assert_eq!(pair.sent_names(), [format!("1 {}", case.name)], "one at a time");
        assert_eq!(pair.happened(), []);
        pair.feed(&case.reply);
        assert_eq!(pair.happened(), [replied(case.name, case.reply_name)]);
    }
    assert!(pair.sent().is_empty());
    // All is answered: the same reply again is unasked for.
    let last = cases.last().unwrap();
    pair.feed(&last.reply);
    let method = last.reply_name;
    let error = Error::Protocol(ProtocolError::UnexpectedMethod { channel: 1, method });
    assert_eq!(pair.happened().last(), Some(&Happened::Closed { error, was_open: true }));
}

#[test]
fn a_request_is_completed_by_no_reply_but_its_own() {
    let cases = all_requests();
    for case in &cases {
        for other in cases.iter().filter(|other| other.name != case.name) {
            let (mut pair, channel) = Pair::with_channel();
            (case.ask)(&mut pair, channel).unwrap();
            pair.sent();
            pair.feed(&other.reply);
            let method = other.reply_name;
            let error = Error::Protocol(ProtocolError::UnexpectedMethod { channel: 1, method });
            assert_eq!(pair.happened()[0], failed(case.name, &error));
            assert_eq!(broker::closes(&pair.sent())[0].0, 503, "{} {method}", case.name);
        }
    }
}

#[test]
fn exchange_unbind_is_answered_by_method_51_alone() {
    for (id, answered) in [(41, false), (51, true)] {
        let (mut pair, channel) = Pair::with_channel();
        pair.request(channel, "unbind", &exchange::Unbind::default()).unwrap();
        pair.feed(&broker::raw(1, 1, &[0, 40, 0, id]));
        assert_eq!(pair.happened()[0] == replied("unbind", "exchange.unbind-ok"), answered);
    }
}

#[test]
fn a_get_completes_with_a_message_or_none_in_its_turn() {
    let (mut pair, channel) = Pair::with_channel();
    pair.get(channel, "full").unwrap();
    pair.get(channel, "empty").unwrap();
    pair.declare(channel, "after");
    assert_eq!(pair.sent_names(), ["1 basic.get"]);
    pair.feed(&broker::get_ok(1, b"hello"));
    assert_eq!(pair.happened(), [Happened::Got("full".into(), Ok(Some("hello".into())))]);
    assert_eq!(pair.sent_names(), ["1 basic.get"]);
    pair.feed(&broker::method(1, &basic::GetEmpty {}));
    assert_eq!(pair.happened(), [Happened::Got("empty".into(), Ok(None))]);
    assert_eq!(pair.sent_names(), ["1 queue.declare"]);
}

#[test]
fn the_next_request_waits_for_the_whole_message_of_a_get() {
    let (mut pair, channel) = Pair::with_channel();
    pair.get(channel, "get").unwrap();
    pair.declare(channel, "after");
    pair.sent();
    let reply = broker::get_ok(1, b"hello");
    let (last, before) = reply.split_last().unwrap();
    pair.feed(before);
    assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
    pair.feed(&[*last]);
    assert_eq!(pair.happened(), [Happened::Got("get".into(), Ok(Some("hello".into())))]);
    assert_eq!(pair.sent_names(), ["1 queue.declare"]);
}

#[test]
fn what_was_published_behind_waiting_requests_keeps_its_place_hazard_10() {
    let (mut pair, channel) = Pair::with_channel();
    pair.declare(channel, "a");
    assert_eq!(pair.publish(channel, "1"), Ok(1));
    pair.declare(channel, "b");
    assert_eq!(pair.publish(channel, "2"), Ok(2));
    pair.tell(channel, &basic::Ack { delivery_tag: 1, multiple: false }).unwrap();
    pair.declare(channel, "c");
    pair.declare(channel, "d");
    assert_eq!(pair.publish(channel, vec![b'x'; 10_000]), Ok(3));
    assert_eq!(pair.publish(channel, "4"), Ok(4));

    let publish = |size: usize| {
        ["1 basic.publish".into(), format!("1 header({size})"), format!("1 body({size})")]
    };
    // Behind one request that is on the wire, a publish leaves at once.
    let mut sent = vec!["1 queue.declare".to_owned()];
    sent.extend(publish(1));
    assert_eq!(pair.sent_names(), sent);

    let answer = |pair: &mut Pair, label| {
        pair.feed(&broker::method(1, &queue::DeclareOk::default()));
        assert_eq!(pair.happened(), [replied(label, "queue.declare-ok")]);
        pair.sent_names()
    };
    let mut sent = vec!["1 queue.declare".to_owned()];
    sent.extend(publish(1));
    sent.push("1 basic.ack".into());
    assert_eq!(answer(&mut pair, "a"), sent);
    assert_eq!(answer(&mut pair, "b"), ["1 queue.declare"]);
    let mut sent = vec!["1 queue.declare".to_owned()];
    sent.extend(publish(10_000));
    sent.extend(publish(1));
    assert_eq!(answer(&mut pair, "c"), sent);
    assert_eq!(answer(&mut pair, "d"), [""; 0]);
}

#[test]
fn a_pending_commit_holds_what_is_published_behind_it() {
    let (mut pair, channel) = Pair::with_channel();
    pair.request(channel, "commit", &tx::Commit).unwrap();
    pair.publish(channel, "1").unwrap();
    pair.tell(channel, &basic::Nack::default()).unwrap();
    assert_eq!(pair.sent_names(), ["1 tx.commit"]);
    pair.feed(&broker::method(1, &tx::CommitOk {}));
    let published = ["1 basic.publish", "1 header(1)", "1 body(1)", "1 basic.nack"];
    assert_eq!(pair.sent_names(), published);
    // No other request on the wire holds anything.
    pair.request(channel, "rollback", &tx::Rollback).unwrap();
    pair.publish(channel, "").unwrap();
    assert_eq!(pair.sent_names(), ["1 tx.rollback", "1 basic.publish", "1 header(0)"]);
}

#[test]
fn a_queued_commit_holds_too_once_it_is_on_the_wire() {
    let (mut pair, channel) = Pair::with_channel();
    pair.declare(channel, "a");
    pair.request(channel, "commit", &tx::Commit).unwrap();
    pair.publish(channel, "").unwrap();
    pair.declare(channel, "b");
    pair.sent();
    pair.feed(&broker::method(1, &queue::DeclareOk::default()));
    assert_eq!(pair.sent_names(), ["1 tx.commit"]);
    pair.feed(&broker::method(1, &tx::CommitOk {}));
    assert_eq!(pair.sent_names(), ["1 basic.publish", "1 header(0)", "1 queue.declare"]);
}

#[test]
fn a_request_that_cannot_be_encoded_is_an_error_and_leaves_nothing() {
    let (mut pair, channel) = Pair::with_channel();
    let long = "q".repeat(300);
    let declare = queue::Declare { queue: (&long).into(), ..Default::default() };
    let refused = Err(Misuse::Encode(method_frame_len(&declare).unwrap_err()));
    assert_eq!(pair.request(channel, "refused", &declare), refused);
    assert!(pair.sent().is_empty());
    pair.declare(channel, "a");
    assert_eq!(pair.request(channel, "refused", &declare), refused);
    pair.declare(channel, "b");
    for label in ["a", "b"] {
        assert_eq!(pair.sent_names(), ["1 queue.declare"]);
        pair.feed(&broker::method(1, &queue::DeclareOk::default()));
        assert_eq!(pair.happened(), [replied(label, "queue.declare-ok")]);
    }
    assert!(pair.sent().is_empty());
}

#[test]
fn one_channels_request_does_not_hold_anothers_hazard_8() {
    let (mut pair, first) = Pair::with_channel();
    let second = pair.open_channel();
    pair.declare(first, "first");
    pair.declare(second, "second");
    assert_eq!(pair.sent_names(), ["1 queue.declare", "2 queue.declare"]);
    pair.feed(&broker::method(2, &queue::DeclareOk::default()));
    pair.feed(&broker::method(1, &queue::DeclareOk::default()));
    let answered = ["second", "first"].map(|label| replied(label, "queue.declare-ok"));
    assert_eq!(pair.happened(), answered);
}
