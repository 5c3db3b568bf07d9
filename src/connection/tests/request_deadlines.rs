//! Requests that are not answered in time, under a virtual clock: whoever asked is told once, the
//! late reply is absorbed, and what it brings is undone.

use std::time::Duration;

use super::broker;
use super::pair::{Happened, Pair, delivered, failed, replied};
use crate::channel::{ChannelId, ConfirmSummary};
use crate::error::{Closed, Error, Misuse, Party, StreamLost};
use crate::protocol::{
    EncodeMethod, basic, channel, confirm, connection, encode_method, queue, tx,
};

const LIMIT: Duration = Duration::from_secs(5);
const MOMENT: Duration = Duration::from_millis(1);

fn limited() -> (Pair, ChannelId) {
    let (mut pair, channel) = Pair::with_channel();
    limit(&mut pair, channel, Some(LIMIT));
    (pair, channel)
}

fn limit(pair: &mut Pair, channel: ChannelId, limit: Option<Duration>) {
    pair.machine.channel_mut(channel).unwrap().set_request_timeout(limit);
}

fn timed_out<M: EncodeMethod>() -> Error {
    Error::RequestTimeout { method: M::NAME, limit: LIMIT }
}

fn declare_ok() -> Vec<u8> {
    broker::method(1, &queue::DeclareOk::default())
}

fn by_client(text: &str) -> Error {
    let reply_text = text.to_owned();
    Error::ChannelClosed(Closed { by: Party::Client, reply_code: 200, reply_text, cause: (0, 0) })
}

#[test]
fn a_request_that_is_not_answered_in_time_completes_once_and_its_reply_is_absorbed() {
    let (mut pair, channel) = limited();
    pair.declare(channel, "a");
    pair.wait(LIMIT - MOMENT);
    assert_eq!(pair.happened(), []);
    pair.wait(MOMENT);
    assert_eq!(pair.happened(), [failed("a", &timed_out::<queue::Declare<'_>>())]);
    assert_eq!(pair.machine.deadline(), None);
    pair.feed(&declare_ok());
    assert_eq!(pair.happened(), []);
    // Only the one: the next is unasked for.
    pair.feed(&declare_ok());
    assert!(matches!(pair.happened().last(), Some(Happened::Closed { .. })));
}

#[test]
fn a_request_that_is_answered_in_time_leaves_no_deadline_that_matters() {
    let (mut pair, channel) = limited();
    pair.declare(channel, "a");
    pair.wait(LIMIT / 2);
    pair.feed(&declare_ok());
    pair.declare(channel, "b");
    assert_eq!(pair.happened(), [replied("a", "queue.declare-ok")]);
    pair.wait(LIMIT / 2);
    assert_eq!(pair.happened(), [], "that was the first one's time");
    assert_eq!(pair.machine.deadline(), Some(pair.now + LIMIT / 2));
    pair.wait(LIMIT / 2);
    assert_eq!(pair.happened(), [failed("b", &timed_out::<queue::Declare<'_>>())]);
}

#[test]
fn the_time_of_a_queued_request_runs_too_and_the_order_stands() {
    let (mut pair, channel) = limited();
    pair.declare(channel, "on the wire");
    pair.wait(LIMIT / 2);
    pair.request(channel, "purge", &queue::Purge::default()).unwrap();
    pair.publish(channel, "").unwrap();
    limit(&mut pair, channel, None);
    pair.request(channel, "for ever", &basic::Qos::default()).unwrap();
    pair.sent();
    pair.wait(LIMIT / 2);
    assert_eq!(pair.happened(), [failed("on the wire", &timed_out::<queue::Declare<'_>>())]);
    pair.wait(LIMIT / 2);
    assert_eq!(pair.happened(), [failed("purge", &timed_out::<queue::Purge<'_>>())]);
    pair.wait(100 * LIMIT);
    assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
    // What was asked for is sent in its turn all the same.
    pair.feed(&declare_ok());
    let purge = ["1 queue.purge", "1 basic.publish", "1 header(0)"];
    assert_eq!(pair.sent_names(), purge);
    pair.feed(&broker::method(1, &queue::PurgeOk::default()));
    assert_eq!(pair.sent_names(), ["1 basic.qos"]);
    pair.feed(&broker::method(1, &basic::QosOk {}));
    assert_eq!(pair.happened(), [replied("for ever", "basic.qos-ok")]);
}

#[test]
fn all_that_are_due_at_once_are_told_in_order() {
    let (mut pair, first) = limited();
    let second = pair.open_channel();
    limit(&mut pair, second, Some(LIMIT));
    pair.declare(first, "1a");
    pair.declare(second, "2a");
    pair.declare(first, "1b");
    pair.wait(2 * LIMIT);
    let error = timed_out::<queue::Declare<'_>>();
    assert_eq!(pair.happened(), ["1a", "1b", "2a"].map(|label| failed(label, &error)));
}

#[test]
fn a_late_get_goes_back_to_its_queue_unless_it_needs_no_ack() {
    for no_ack in [false, true] {
        let (mut pair, channel) = limited();
        pair.get_with(channel, "get", no_ack).unwrap();
        pair.declare(channel, "after");
        pair.wait(LIMIT);
        let error = timed_out::<basic::Get<'_>>();
        assert_eq!(pair.happened()[0], Happened::Got("get".into(), Err(error)));
        pair.sent();
        pair.feed(&broker::get_ok(1, b"late"));
        let reject = broker::method(1, &basic::Reject { delivery_tag: 1, requeue: true });
        let mut expected = Vec::new();
        let after = queue::Declare { queue: "after".into(), ..Default::default() };
        encode_method(&mut expected, 0, 1, &after).unwrap();
        if !no_ack {
            expected.extend(reject);
        }
        assert_eq!(pair.sent(), expected);
        assert_eq!(pair.happened(), []);
    }
}

#[test]
fn a_late_get_is_not_put_back_behind_the_channels_close() {
    let (mut pair, channel) = limited();
    pair.get(channel, "get").unwrap();
    limit(&mut pair, channel, None);
    pair.close_channel(channel, "bye").unwrap();
    pair.wait(LIMIT);
    assert_eq!(pair.happened().len(), 1);
    pair.sent();
    pair.feed(&broker::get_ok(1, b"late"));
    assert_eq!(pair.sent_names(), ["1 channel.close"]);
}

#[test]
fn a_late_get_of_nothing_is_absorbed() {
    let (mut pair, channel) = limited();
    pair.get(channel, "get").unwrap();
    pair.wait(LIMIT);
    pair.happened();
    pair.sent();
    pair.feed(&broker::method(1, &basic::GetEmpty {}));
    assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
    assert!(pair.machine.is_open());
}

#[test]
fn a_get_that_is_not_sent_yet_when_its_time_is_over_is_never_sent() {
    let (mut pair, channel) = limited();
    pair.declare(channel, "stuck");
    pair.get(channel, "get").unwrap();
    pair.publish(channel, "").unwrap();
    pair.get(channel, "again").unwrap();
    pair.wait(LIMIT);
    assert_eq!(pair.happened().len(), 3);
    pair.sent();
    pair.feed(&declare_ok());
    assert_eq!(pair.sent_names(), ["1 basic.publish", "1 header(0)"]);
    assert_eq!(pair.machine.wire.deferred, 0);
}

#[test]
fn a_late_consumer_is_cancelled_and_what_comes_for_it_goes_back() {
    let (mut pair, channel) = limited();
    let tag = pair.consume(channel, basic::Consume::default()).unwrap();
    pair.wait(LIMIT);
    assert_eq!(pair.happened(), [failed("consume own", &timed_out::<basic::Consume<'_>>())]);
    assert_eq!(pair.cancel(channel, &tag), Err(Misuse::UnknownConsumerTag(tag.clone())));
    pair.sent();
    pair.feed(&broker::method(1, &basic::ConsumeOk { consumer_tag: tag.as_str().into() }));
    assert_eq!(pair.sent_names(), ["1 basic.cancel"]);
    pair.feed(&broker::deliver(1, &tag, 1, b"late"));
    assert_eq!(pair.sent_names(), ["1 basic.reject"]);
    pair.feed(&broker::method(1, &basic::CancelOk { consumer_tag: tag.as_str().into() }));
    assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
    assert!(pair.machine.channel(channel).unwrap().consumers.find(tag.as_bytes()).is_none());
}

#[test]
fn a_consumer_that_delivered_before_its_time_was_over_is_called_no_more_after() {
    let (mut pair, channel) = limited();
    let consume = basic::Consume { consumer_tag: "c".into(), ..Default::default() };
    pair.consume(channel, consume).unwrap();
    pair.feed(&broker::deliver(1, "c", 1, b"early"));
    assert_eq!(pair.happened(), [delivered(1, "c", 1, b"early")]);
    pair.wait(LIMIT);
    pair.happened();
    pair.sent();
    pair.feed(&broker::deliver(1, "c", 2, b"late"));
    assert_eq!(pair.happened(), []);
    assert_eq!(pair.sent_names(), ["1 basic.reject"]);
}

#[test]
fn a_consumer_whose_cancel_was_asked_for_is_not_cancelled_twice() {
    let (mut pair, channel) = limited();
    let consume = basic::Consume { consumer_tag: "c".into(), ..Default::default() };
    pair.consume(channel, consume).unwrap();
    pair.cancel(channel, "c").unwrap();
    pair.wait(LIMIT);
    let told = [timed_out::<basic::Consume<'_>>(), timed_out::<basic::Cancel<'_>>()];
    assert_eq!(pair.happened(), [failed("consume c", &told[0]), failed("cancel c", &told[1])]);
    pair.sent();
    pair.feed(&broker::method(1, &basic::ConsumeOk { consumer_tag: "c".into() }));
    assert_eq!(pair.sent_names(), ["1 basic.cancel"]);
    pair.feed(&broker::method(1, &basic::CancelOk { consumer_tag: "c".into() }));
    assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
    // It has ended, late or not.
    assert!(
        pair.consume(channel, basic::Consume { consumer_tag: "c".into(), ..Default::default() })
            .is_ok()
    );
}

#[test]
fn a_channel_that_opens_late_is_closed_and_its_number_is_free_then() {
    let mut pair = Pair::open();
    pair.machine.set_request_timeout(Some(LIMIT));
    let id = pair.ask_channel(None, "open").unwrap();
    pair.wait(LIMIT);
    assert_eq!(pair.happened(), [failed("open", &timed_out::<channel::Open>())]);
    assert_eq!(pair.request(id, "no", &basic::Qos::default()), Err(Misuse::ChannelNotOpen));
    assert_eq!(pair.ask_channel(Some(1), "").unwrap_err(), Misuse::ChannelNumberInUse(1));
    pair.sent();
    pair.feed(&broker::method(1, &channel::OpenOk {}));
    assert_eq!(pair.sent_names(), ["1 channel.close"]);
    pair.feed(&broker::channel_close_ok(1));
    assert_eq!(pair.happened(), [Happened::ChannelClosed(1, by_client("it was opened too late"))]);
    assert_eq!(pair.ask_channel(None, "again").unwrap().number, 1);
}

#[test]
fn a_close_that_is_not_answered_ends_the_channel_and_keeps_the_number() {
    let (mut pair, channel) = limited();
    pair.consumer(channel, "c", false);
    limit(&mut pair, channel, None);
    pair.declare(channel, "stuck");
    limit(&mut pair, channel, Some(LIMIT));
    pair.close_channel(channel, "bye").unwrap();
    pair.sent();
    pair.wait(LIMIT);
    let error = timed_out::<channel::Close<'_>>();
    let told = [failed("stuck", &error), Happened::ChannelClosed(1, error.clone())];
    assert_eq!(pair.happened(), told);
    assert!(pair.machine.channel(channel).is_none(), "it has ended");
    assert_eq!(pair.ask_channel(Some(1), "").unwrap_err(), Misuse::ChannelNumberInUse(1));
    // What still comes goes by, and nothing is told twice.
    pair.feed(&broker::deliver(1, "c", 1, b"late"));
    pair.feed(&declare_ok());
    assert_eq!(pair.sent_names(), ["1 channel.close"]);
    pair.feed(&broker::method(1, &basic::Ack { delivery_tag: 1, multiple: false }));
    pair.feed(&broker::deliver(1, "c", 2, b"late"));
    pair.feed(&broker::channel_close_ok(1));
    assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
    assert_eq!(pair.ask_channel(None, "again").unwrap().number, 1);
    assert!(pair.machine.is_open());
}

#[test]
fn what_is_left_of_a_channel_ends_quietly_with_its_connection() {
    let (mut pair, channel) = limited();
    pair.declare(channel, "stuck");
    pair.close_channel(channel, "bye").unwrap();
    pair.wait(LIMIT);
    pair.happened();
    pair.lose();
    let error = StreamLost::EndOfStream.into();
    assert_eq!(pair.happened(), [Happened::Closed { error, was_open: true }]);
}

#[test]
fn the_broker_may_close_what_is_left_of_a_channel() {
    let (mut pair, channel) = limited();
    pair.declare(channel, "stuck");
    pair.close_channel(channel, "bye").unwrap();
    pair.wait(LIMIT);
    pair.happened();
    pair.sent();
    pair.feed(&broker::channel_close(1, 404, "gone"));
    assert_eq!((pair.happened(), pair.sent_names()), (vec![], vec!["1 channel.close-ok".into()]));
    assert_eq!(pair.ask_channel(None, "again").unwrap().number, 1);
}

#[test]
fn a_connection_closes_without_what_nobody_waits_for() {
    let (mut pair, first) = limited();
    let second = pair.open_channel();
    limit(&mut pair, second, Some(LIMIT));
    pair.declare(first, "a");
    pair.declare(second, "b");
    pair.close_channel(second, "bye").unwrap();
    pair.wait(LIMIT / 2);
    pair.close("bye").unwrap();
    pair.sent();
    pair.wait(LIMIT / 2);
    assert_eq!(pair.sent_names(), ["0 connection.close"]);
    pair.feed(&broker::method(0, &connection::CloseOk {}));
    let ended = pair.happened().into_iter().filter(|h| matches!(h, Happened::ChannelClosed(..)));
    assert_eq!(ended.count(), 2, "each once");
}

#[test]
fn a_connection_closes_once_what_undoes_a_request_is_sent() {
    let (mut pair, channel) = limited();
    let consume = basic::Consume { consumer_tag: "c".into(), ..Default::default() };
    pair.consume(channel, consume).unwrap();
    pair.wait(LIMIT);
    pair.close("bye").unwrap();
    pair.sent();
    pair.feed(&broker::method(1, &basic::ConsumeOk { consumer_tag: "c".into() }));
    assert_eq!(pair.sent_names(), ["1 basic.cancel", "0 connection.close"]);
}

#[test]
fn a_commit_that_is_not_answered_holds_what_is_behind_it_all_the_same() {
    let (mut pair, channel) = limited();
    pair.request(channel, "commit", &tx::Commit).unwrap();
    pair.publish(channel, "").unwrap();
    pair.wait(LIMIT);
    assert_eq!(pair.happened(), [failed("commit", &timed_out::<tx::Commit>())]);
    assert_eq!(pair.sent_names(), ["1 tx.commit"]);
    pair.feed(&broker::method(1, &tx::CommitOk {}));
    assert_eq!(pair.sent_names(), ["1 basic.publish", "1 header(0)"]);
}

#[test]
fn confirms_go_on_though_their_select_is_answered_late() {
    let (mut pair, channel) = limited();
    pair.ask_confirms(channel).unwrap();
    pair.publish(channel, "x").unwrap();
    pair.wait(LIMIT);
    assert_eq!(pair.happened(), [failed("select", &timed_out::<confirm::Select>())]);
    pair.feed(&broker::method(1, &confirm::SelectOk {}));
    pair.feed(&broker::method(1, &basic::Ack { delivery_tag: 1, multiple: false }));
    assert_eq!(pair.happened(), [Happened::Confirmed(1, 1, "acked")]);
}

#[test]
fn who_waits_for_confirms_waits_no_longer_than_the_limit_and_nothing_is_counted_twice() {
    let (mut pair, channel) = Pair::confirming();
    limit(&mut pair, channel, Some(LIMIT));
    let ack = |tag| broker::method(1, &basic::Ack { delivery_tag: tag, multiple: false });
    (0..3).for_each(|_| assert!(pair.publish(channel, "x").is_ok()));
    pair.when_confirmed(channel, "first").unwrap();
    pair.feed(&ack(1));
    pair.wait(LIMIT / 2);
    pair.when_confirmed(channel, "second").unwrap();
    pair.happened();
    pair.wait(LIMIT / 2);
    let error = timed_out::<basic::Publish<'_>>();
    assert_eq!(pair.happened(), [Happened::AllConfirmed("first".into(), Err(error.clone()))]);
    pair.feed(&ack(3));
    pair.wait(LIMIT / 2);
    let second = Happened::AllConfirmed("second".into(), Err(error));
    assert_eq!(pair.happened(), [Happened::Confirmed(1, 3, "acked"), second]);
    pair.when_confirmed(channel, "third").unwrap();
    pair.feed(&ack(2));
    let summary = ConfirmSummary { acked: 3, ..Default::default() };
    let third = Happened::AllConfirmed("third".into(), Ok(summary));
    assert_eq!(pair.happened(), [Happened::Confirmed(1, 2, "acked"), third]);
}

#[test]
fn a_timeout_of_no_time_is_over_at_the_next_turn_and_one_without_end_never() {
    let (mut pair, channel) = Pair::with_channel();
    limit(&mut pair, channel, Some(Duration::ZERO));
    pair.declare(channel, "at once");
    limit(&mut pair, channel, Some(Duration::MAX));
    pair.declare(channel, "never");
    assert_eq!(pair.happened(), []);
    pair.wait(Duration::ZERO);
    let error = Error::RequestTimeout { method: "queue.declare", limit: Duration::ZERO };
    assert_eq!(pair.happened(), [failed("at once", &error)]);
    assert_eq!(pair.machine.deadline(), None);
}

#[test]
fn ten_thousand_busy_channels_close_with_one_look_at_each() {
    let mut pair = Pair::tuned(0, 131_072);
    let channels: Vec<_> = (0..10_000).map(|_| pair.open_channel()).collect();
    channels.iter().for_each(|id| pair.declare(*id, "x"));
    pair.close("bye").unwrap();
    pair.sent();
    for id in &channels {
        assert!(pair.sent().is_empty(), "not before the last is answered");
        pair.feed(&broker::method(id.number, &queue::DeclareOk::default()));
    }
    assert_eq!(pair.sent_names(), ["0 connection.close"]);
}

#[test]
fn regression_an_ended_connection_has_no_deadline_left() {
    let (mut pair, channel) = limited();
    pair.declare(channel, "a");
    assert!(pair.machine.deadline().is_some());
    pair.lose();
    assert_eq!(pair.machine.deadline(), None);
}

#[test]
fn regression_a_deadline_that_has_passed_is_not_asked_for_again() {
    let (mut pair, channel) = Pair::confirming();
    limit(&mut pair, channel, Some(LIMIT));
    pair.publish(channel, "never confirmed").unwrap();
    pair.when_confirmed(channel, "wait").unwrap();
    pair.close_channel(channel, "never answered").unwrap();
    pair.wait(LIMIT);
    assert_eq!(pair.machine.deadline(), None);
}
