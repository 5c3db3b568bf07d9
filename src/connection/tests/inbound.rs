//! Bounds on what comes (hazards 4 and 22): a message that is too large ends its channel, and no
//! more; memory follows what has come, not what is announced.

use super::broker;
use super::pair::{Happened, Pair, delivered, failed, pattern, replied};
use crate::channel::ChannelId;
use crate::connection::{ConnectionParameters, Undelivered};
use crate::error::{Closed, Error, Party};
use crate::protocol::{basic, channel, queue};

const MESSAGE: usize = 1_000;
const INCOMPLETE: usize = 1_500;

/// Two channels with a consumer each.
fn bounded() -> (Pair, [ChannelId; 2]) {
    let mut parameters = ConnectionParameters::default();
    parameters.set_max_message_size(MESSAGE).set_max_incomplete_size(INCOMPLETE);
    let mut pair = Pair::open_with(parameters);
    let channels = [(); 2].map(|()| pair.open_channel());
    for channel in channels {
        pair.consumer(channel, "c", false);
    }
    (pair, channels)
}

fn refused(reply_text: &str, cause: (u16, u16)) -> Error {
    let reply_text = reply_text.into();
    Error::ChannelClosed(Closed { by: Party::Client, reply_code: 311, reply_text, cause })
}

fn too_long(size: u64) -> Error {
    refused(&format!("a message of {size} bytes, the limit is 1000"), (60, 60))
}

#[test]
fn a_message_as_long_as_the_limit_is_taken() {
    for read in [10_000, 100] {
        let (mut pair, _) = bounded();
        let body = pattern(MESSAGE);
        pair.dribble(&broker::deliver(1, "c", 1, &body), read);
        assert_eq!(pair.happened(), [delivered(1, "c", 1, &body)]);
        assert_eq!(pair.machine.counters().buffered_in, 0);
    }
}

#[test]
fn a_longer_one_closes_its_channel_alone_however_reads_cut_it() {
    for read in [10_000, 100, 1] {
        let (mut pair, _) = bounded();
        pair.dribble(&broker::deliver(1, "c", 1, &pattern(MESSAGE + 1)), read);
        let error = too_long(MESSAGE as u64 + 1);
        assert_eq!(pair.happened(), [Happened::ChannelClosed(1, error)]);
        assert_eq!(pair.sent_names(), ["1 channel.close"]);
        // The other one goes on.
        pair.feed(&broker::deliver(2, "c", 1, b"x"));
        assert_eq!(pair.happened(), [delivered(2, "c", 1, b"x")]);
        assert_eq!(pair.machine.counters().buffered_in, 0);
    }
}

#[test]
fn what_is_announced_is_refused_before_it_comes() {
    for size in [MESSAGE as u64 + 1, 1 << 40, u64::MAX] {
        let (mut pair, _) = bounded();
        let mut bytes = broker::deliver_method(1, "c", 1);
        bytes.extend(broker::header(1, size));
        pair.feed(&bytes);
        assert_eq!(pair.happened(), [Happened::ChannelClosed(1, too_long(size))]);
        assert_eq!(pair.sent_names(), ["1 channel.close"]);
    }
}

#[test]
fn the_number_is_free_when_the_broker_has_answered_and_what_comes_before_is_dropped() {
    let (mut pair, [one, _]) = bounded();
    let long = broker::deliver(1, "c", 1, &[0; 5_000]);
    pair.feed(&long);
    pair.happened();
    assert_eq!(pair.sent_names(), ["1 channel.close"]);
    pair.feed(&broker::body(1, b"more of it"));
    pair.feed(&broker::deliver(1, "c", 2, b"the next"));
    pair.feed(&long);
    assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
    assert!(pair.request(one, "", &queue::Purge::default()).is_err());
    assert_eq!(pair.ask_channel(Some(1), "again"), Err(crate::Misuse::ChannelNumberInUse(1)));
    pair.feed(&broker::channel_close_ok(1));
    assert_eq!(pair.happened(), [], "its end was told");
    pair.ask_channel(Some(1), "again").unwrap();
    pair.feed(&broker::method(1, &channel::OpenOk {}));
    assert_eq!(pair.happened(), [replied("again", "channel.open-ok")]);
}

#[test]
fn requests_that_wait_on_it_complete_and_what_waits_behind_them_is_not_sent() {
    let (mut pair, [one, _]) = bounded();
    pair.declare(one, "on the wire");
    pair.declare(one, "queued");
    pair.publish(one, "behind").unwrap();
    pair.close_channel(one, "bye").unwrap();
    pair.sent();
    pair.feed(&broker::deliver(1, "c", 1, &[0; 5_000]));
    let error = too_long(5_000);
    let expected = [
        failed("on the wire", &error),
        failed("queued", &error),
        Happened::ChannelClosed(1, error.clone()),
    ];
    assert_eq!(pair.happened(), expected);
    assert_eq!(pair.sent_names(), ["1 channel.close"]);
    let Undelivered { unsent_messages, .. } = pair.machine.undelivered();
    assert_eq!((unsent_messages, pair.machine.counters().buffered_out), (1, 0));
    // Its reply may come before CloseOk.
    pair.feed(&broker::method(1, &queue::DeclareOk::default()));
    pair.feed(&broker::channel_close_ok(1));
    assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
}

#[test]
fn what_is_fetched_and_what_comes_back_is_bounded_too() {
    let (mut pair, [one, two]) = bounded();
    pair.get(one, "get").unwrap();
    pair.feed(&broker::get_ok(1, &[0; 5_000]));
    let error = refused("a message of 5000 bytes, the limit is 1000", (60, 71));
    let got = Happened::Got("get".into(), Err(error.clone()));
    assert_eq!(pair.happened(), [got, Happened::ChannelClosed(1, error)]);
    pair.publish(two, "unroutable").unwrap();
    pair.feed(&broker::method(2, &basic::Return { reply_code: 312, ..Default::default() }));
    pair.feed(&broker::content(2, &[0; 5_000], 131_072));
    let error = refused("a message of 5000 bytes, the limit is 1000", (60, 50));
    assert_eq!(pair.happened(), [Happened::ChannelClosed(2, error)]);
}

#[test]
fn messages_in_parts_are_bounded_over_all_channels() {
    let (mut pair, _) = bounded();
    let begin = |number: u16, bytes: usize| {
        let mut begun = broker::deliver_method(number, "c", 1);
        begun.extend(broker::header(number, 900));
        begun.extend(broker::body(number, &pattern(bytes)));
        begun
    };
    pair.feed(&begin(1, 800));
    pair.feed(&begin(2, 700));
    assert_eq!(pair.happened(), []);
    assert_eq!(pair.machine.counters().buffered_in, INCOMPLETE);
    pair.feed(&broker::body(2, &[0]));
    let error = refused("more than 1500 bytes of messages in parts", (60, 60));
    assert_eq!(pair.happened(), [Happened::ChannelClosed(2, error)]);
    assert_eq!(pair.machine.counters().buffered_in, 800);
    // There is room for the other one's rest.
    pair.feed(&broker::body(1, &pattern(900)[800..]));
    assert_eq!(pair.happened(), [delivered(1, "c", 1, &pattern(900))]);
    assert_eq!(pair.machine.counters().buffered_in, 0);
}

#[test]
fn what_had_come_in_part_is_forgotten_with_its_channel_and_its_connection() {
    let (mut pair, _) = bounded();
    for number in [1, 2] {
        pair.feed(&broker::deliver_method(number, "c", 1));
        pair.feed(&broker::header(number, 900));
        pair.feed(&broker::body(number, &[0; 700]));
    }
    pair.feed(&broker::channel_close(1, 404, "no"));
    assert_eq!(pair.machine.counters().buffered_in, 700);
    pair.close("bye").unwrap();
    assert_eq!(pair.machine.counters().buffered_in, 0, "it will not be delivered");
    pair.lose();
    assert_eq!(pair.machine.counters().buffered_in, 0);
}

#[test]
fn nothing_follows_close_though_what_comes_back_is_too_large() {
    let (mut pair, [one, _]) = bounded();
    pair.publish(one, "unroutable").unwrap();
    pair.close("bye").unwrap();
    pair.sent();
    pair.feed(&broker::method(1, &basic::Return { reply_code: 312, ..Default::default() }));
    pair.feed(&broker::content(1, &[0; 5_000], 131_072));
    assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
    assert!(pair.machine.is_closing());
}

#[test]
fn it_is_refused_once_whatever_crosses_it() {
    let (mut pair, [one, _]) = bounded();
    // Its Close is on the wire already.
    pair.close_channel(one, "bye").unwrap();
    pair.sent();
    pair.feed(&broker::method(1, &basic::Return { reply_code: 312, ..Default::default() }));
    pair.feed(&broker::content(1, &[0; 5_000], 131_072));
    assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
    pair.feed(&broker::channel_close_ok(1));
    assert_eq!(pair.happened().len(), 1);
    // The broker closes it meanwhile.
    pair.feed(&broker::deliver(2, "c", 1, &[0; 5_000]));
    assert_eq!(pair.happened(), [Happened::ChannelClosed(2, too_long(5_000))]);
    pair.feed(&broker::channel_close(2, 406, "no"));
    assert_eq!(pair.sent_names(), ["2 channel.close", "2 channel.close-ok"]);
    pair.feed(&broker::channel_close_ok(2));
    assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
    assert_eq!(pair.machine.counters().channels, 0);
}
