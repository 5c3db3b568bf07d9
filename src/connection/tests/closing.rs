//! The end of a connection, whoever brings it about: everything completes, once and in order.

use super::broker;
use super::pair::{Happened, Pair, delivered, failed, replied};
use crate::error::{Closed, Error, Misuse, Party, ProtocolError, StreamLost};
use crate::protocol::{EncodeError, ShortStr, basic, channel, connection, queue};

fn by(by: Party, reply_code: u16, reply_text: &str) -> Error {
    Error::ConnectionClosed(Closed { by, reply_code, reply_text: reply_text.into(), cause: (0, 0) })
}

fn ended(error: Error) -> Happened {
    Happened::Closed { error, was_open: true }
}

fn declare_ok(channel: u16) -> Vec<u8> {
    broker::method(channel, &queue::DeclareOk::default())
}

/// Two channels with requests on the wire and queued, and one whose close is on the wire.
fn busy() -> Pair {
    let mut pair = Pair::open();
    let channels = [(); 3].map(|()| pair.open_channel());
    pair.declare(channels[0], "1a");
    pair.declare(channels[0], "1b");
    pair.get(channels[0], "1c").unwrap();
    pair.declare(channels[1], "2a");
    pair.close_channel(channels[1], "bye").unwrap();
    pair.close_channel(channels[2], "bye").unwrap();
    pair.sent();
    pair
}

fn all_of_busy(error: &Error) -> Vec<Happened> {
    vec![
        failed("1a", error),
        failed("1b", error),
        Happened::Got("1c".into(), Err(error.clone())),
        Happened::ChannelClosed(1, error.clone()),
        failed("2a", error),
        Happened::ChannelClosed(2, error.clone()),
        Happened::ChannelClosed(3, error.clone()),
        ended(error.clone()),
    ]
}

#[test]
fn a_brokers_close_completes_everything_in_order_and_is_answered() {
    let mut pair = busy();
    pair.feed(&broker::close(320, "CONNECTION_FORCED"));
    let error = by(Party::Broker, 320, "CONNECTION_FORCED");
    assert_eq!(pair.happened(), all_of_busy(&error));
    assert_eq!(pair.sent_names(), ["0 connection.close-ok"]);
    assert!(pair.machine.is_closed());
}

#[test]
fn the_end_of_the_stream_completes_everything_in_order() {
    let mut pair = busy();
    pair.lose();
    assert_eq!(pair.happened(), all_of_busy(&StreamLost::EndOfStream.into()));
    assert!(pair.sent().is_empty());
}

#[test]
fn a_broken_protocol_completes_everything_in_order() {
    let mut pair = busy();
    pair.feed(&broker::body(0, b""));
    let frame = "content body";
    let error = ProtocolError::UnexpectedFrame { channel: 0, frame };
    assert_eq!(pair.happened(), all_of_busy(&error.into()));
    assert_eq!(pair.sent_names(), ["0 connection.close"]);
}

#[test]
fn a_panic_closes_the_connection_with_541() {
    let mut pair = busy();
    pair.machine.panicked("oops".into());
    pair.settle();
    assert_eq!(pair.happened(), all_of_busy(&Error::CallbackPanicked("oops".into())));
    assert_eq!(broker::closes(&pair.sent()), [(541, "a callback panicked".into())]);
}

#[test]
fn what_ends_twice_is_told_once() {
    let mut pair = Pair::open();
    pair.feed(&broker::close(320, "bye"));
    pair.feed(&broker::close(320, "bye"));
    pair.lose();
    assert_eq!(pair.close("bye"), Err(Misuse::ConnectionNotOpen));
    pair.settle();
    assert_eq!(pair.happened(), [ended(by(Party::Broker, 320, "bye"))]);
    assert_eq!(pair.sent_names(), ["0 connection.close-ok"]);
}

#[test]
fn what_follows_the_brokers_close_in_the_same_read_is_not_looked_at() {
    let (mut pair, channel) = Pair::with_channel();
    pair.consumer(channel, "c", false);
    let mut bytes = broker::deliver(1, "c", 1, b"before");
    bytes.extend(broker::close(320, "bye"));
    bytes.extend(broker::deliver(1, "c", 2, b"after"));
    bytes.extend(broker::raw(9, 0, b"garbage"));
    pair.feed(&bytes);
    let error = by(Party::Broker, 320, "bye");
    let channel_closed = Happened::ChannelClosed(1, error.clone());
    let expected = [delivered(1, "c", 1, b"before"), channel_closed, ended(error)];
    assert_eq!(pair.happened(), expected);
}

#[test]
fn a_close_waits_for_every_channels_requests() {
    let mut pair = busy();
    pair.close("bye").unwrap();
    assert!(pair.sent().is_empty());
    pair.feed(&declare_ok(2));
    assert_eq!(pair.sent_names(), ["2 channel.close"]);
    pair.feed(&broker::channel_close_ok(2));
    pair.feed(&broker::channel_close_ok(3));
    pair.feed(&declare_ok(1));
    pair.feed(&declare_ok(1));
    assert_eq!(pair.sent_names(), ["1 queue.declare", "1 basic.get"]);
    pair.happened();
    pair.feed(&broker::get_ok(1, b"last"));
    assert_eq!(pair.happened(), [Happened::Got("1c".into(), Ok(Some("last".into())))]);
    assert_eq!(pair.sent_names(), ["0 connection.close"]);
    pair.feed(&broker::close_ok());
    let error = by(Party::Client, 200, "bye");
    assert_eq!(pair.happened(), [Happened::ChannelClosed(1, error.clone()), ended(error)]);
}

#[test]
fn a_close_waits_for_a_channel_that_is_opening_and_for_one_the_broker_closes() {
    let mut pair = Pair::open();
    pair.ask_channel(None, "first").unwrap();
    let (second, third) = (pair.ask_channel(None, "second"), pair.ask_channel(None, "third"));
    pair.close_channel(third.unwrap(), "bye").unwrap();
    assert!(second.is_ok());
    pair.close("bye").unwrap();
    pair.sent();
    pair.feed(&broker::method(1, &channel::OpenOk {}));
    pair.feed(&broker::channel_close(2, 506, "no"));
    assert_eq!(pair.sent_names(), ["2 channel.close-ok"]);
    pair.feed(&broker::method(3, &channel::OpenOk {}));
    assert_eq!(pair.sent_names(), ["3 channel.close"]);
    pair.feed(&broker::channel_close_ok(3));
    assert_eq!(pair.sent_names(), ["0 connection.close"]);
    // It has opened, but nothing can be done with it.
    let useless = Err(by(Party::Client, 200, "bye"));
    assert_eq!(pair.happened()[0], Happened::Replied("first".into(), useless));
}

#[test]
fn a_close_with_nothing_pending_leaves_at_once_behind_what_was_published() {
    let (mut pair, channel) = Pair::with_channel();
    pair.publish(channel, "last").unwrap();
    pair.close("bye").unwrap();
    let sent = ["1 basic.publish", "1 header(4)", "1 body(4)", "0 connection.close"];
    assert_eq!(pair.sent_names(), sent);
}

#[test]
fn nothing_can_be_asked_of_a_closing_connection() {
    let (mut pair, channel) = Pair::with_channel();
    pair.declare(channel, "a");
    pair.close("bye").unwrap();
    pair.sent();
    assert_eq!(pair.close("again"), Err(Misuse::ConnectionNotOpen));
    assert_eq!(pair.ask_channel(None, ""), Err(Misuse::ConnectionNotOpen));
    let refused = Err(Misuse::ChannelNotOpen);
    assert_eq!(pair.request(channel, "", &queue::Purge::default()), refused);
    assert_eq!(pair.close_channel(channel, "bye"), refused);
    assert!(pair.publish(channel, "x").is_err());
    assert!(pair.sent().is_empty());
}

#[test]
fn no_delivery_comes_from_the_close_on() {
    let (mut pair, channel) = Pair::with_channel();
    pair.consumer(channel, "c", false);
    pair.declare(channel, "a");
    pair.close("bye").unwrap();
    pair.sent();
    pair.feed(&broker::deliver(1, "c", 1, b"late"));
    pair.dribble(&broker::deliver(1, "c", 2, &[0; 100_000]), 10_000);
    assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
    pair.feed(&declare_ok(1));
    assert_eq!(pair.happened(), [replied("a", "queue.declare-ok")]);
    assert_eq!(pair.sent_names(), ["0 connection.close"]);
    pair.feed(&broker::deliver(1, "c", 3, b"later"));
    pair.feed(&broker::method(1, &basic::Cancel { consumer_tag: ShortStr::from("x") }));
    pair.feed(&broker::close_ok());
    let error = by(Party::Client, 200, "bye");
    assert_eq!(pair.happened(), [Happened::ChannelClosed(1, error.clone()), ended(error)]);
}

#[test]
fn what_comes_back_and_who_is_cancelled_is_told_until_close_is_sent() {
    let (mut pair, channel) = Pair::with_channel();
    pair.consumer(channel, "c", false);
    pair.declare(channel, "a");
    pair.close("bye").unwrap();
    pair.feed(&broker::method(1, &basic::Return { reply_code: 312, ..Default::default() }));
    pair.feed(&broker::content(1, b"unroutable", 131_072));
    pair.feed(&broker::method(1, &basic::Cancel { consumer_tag: ShortStr::from("c") }));
    let told = [Happened::Returned(1, "unroutable".into()), Happened::Cancelled(1, "c".into())];
    assert_eq!(pair.happened(), told);
    pair.feed(&declare_ok(1));
    assert_eq!(pair.happened(), [replied("a", "queue.declare-ok")]);
}

#[test]
fn what_was_under_way_on_channel_0_when_close_is_sent_is_dropped() {
    let mut pair = Pair::open();
    pair.close("bye").unwrap();
    pair.sent();
    pair.feed(&broker::method(0, &connection::Blocked { reason: "low on memory".into() }));
    pair.feed(&broker::method(0, &connection::UpdateSecretOk {}));
    pair.feed(&broker::heartbeat());
    assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
    pair.feed(&broker::close_ok());
    assert_eq!(pair.happened(), [ended(by(Party::Client, 200, "bye"))]);
}

#[test]
fn the_brokers_close_crosses_the_users() {
    // While the user's waits for a request, and while it waits for CloseOk.
    for waiting in [true, false] {
        let (mut pair, channel) = Pair::with_channel();
        if waiting {
            pair.declare(channel, "a");
        }
        pair.close("bye").unwrap();
        pair.sent();
        pair.feed(&broker::close(320, "forced"));
        let error = by(Party::Broker, 320, "forced");
        let channel_closed = Happened::ChannelClosed(1, error.clone());
        let mut expected = vec![channel_closed, ended(error.clone())];
        if waiting {
            expected.insert(0, failed("a", &error));
        }
        assert_eq!(pair.happened(), expected);
        assert_eq!(pair.sent_names(), ["0 connection.close-ok"]);
        assert_eq!(pair.machine.deadline(), None);
    }
}

#[test]
fn the_end_of_the_stream_is_a_loss_until_close_is_sent_and_an_answer_after() {
    let mut pair = Pair::open();
    pair.close("bye").unwrap();
    pair.lose();
    assert_eq!(pair.happened(), [ended(by(Party::Client, 200, "bye"))]);

    let (mut pair, channel) = Pair::with_channel();
    pair.declare(channel, "a");
    pair.close("bye").unwrap();
    pair.lose();
    assert_eq!(pair.happened().last(), Some(&ended(StreamLost::EndOfStream.into())));
}

#[test]
fn a_close_text_of_256_bytes_is_an_error_and_the_connection_stays_open() {
    let mut pair = Pair::open();
    let error = EncodeError::ShortStringTooLong { length: 256 };
    assert_eq!(pair.close(&"x".repeat(256)), Err(Misuse::Encode(error)));
    assert!(pair.machine.is_open() && pair.sent().is_empty());
    assert_eq!(pair.machine.deadline(), None);
    assert_eq!(pair.close(&"x".repeat(255)), Ok(()));
    assert_eq!(broker::closes(&pair.sent()), [(200, "x".repeat(255))]);
}

#[test]
fn regression_a_close_text_that_is_not_utf_8_is_sent_as_it_is() {
    // With U+FFFD for each of its bytes it would not fit a short string.
    let text = [0xff; 255];
    let (mut pair, channel) = Pair::with_channel();
    pair.declare(channel, "a");
    pair.machine.close(pair.now, 200, text[..].into()).unwrap();
    pair.sent();
    pair.feed(&declare_ok(1));
    let close = connection::Close {
        reply_code: 200,
        reply_text: text[..].into(),
        class_id: 0,
        method_id: 0,
    };
    assert_eq!(pair.sent(), broker::method(0, &close));
}

#[test]
fn regression_close_is_sent_once_whatever_the_broker_does_until_close_ok() {
    let mut pair = Pair::open();
    pair.close("bye").unwrap();
    pair.feed(&broker::raw(9, 0, b""));
    assert_eq!(broker::closes(&pair.sent()), [(200, "bye".into())]);
    assert!(pair.machine.is_closed());
}

#[test]
fn regression_nothing_follows_close_ok_though_a_close_callback_panics() {
    let mut pair = Pair::open();
    pair.feed(&broker::close(320, "forced"));
    pair.machine.panicked("in on_close".into());
    pair.settle();
    assert_eq!(pair.sent_names(), ["0 connection.close-ok"]);
    assert_eq!(pair.happened(), [ended(by(Party::Broker, 320, "forced"))]);
}

#[test]
fn regression_what_comes_on_channels_once_close_is_sent_is_not_answered() {
    let (mut pair, channel) = Pair::with_channel();
    pair.consumer(channel, "c", false);
    pair.open_channel();
    pair.close("bye").unwrap();
    assert_eq!(pair.sent_names(), ["0 connection.close"]);
    pair.feed(&broker::method(1, &channel::Flow { active: false }));
    pair.feed(&broker::deliver(1, "c", 1, &[0; 100_000]));
    pair.feed(&broker::channel_close_ok(1));
    assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
    // Why a channel is closed is told: it may be what was last published.
    pair.feed(&broker::channel_close(2, 404, "no exchange"));
    let (reply_text, cause) = ("no exchange".to_owned(), (50, 10));
    let closed = Closed { by: Party::Broker, reply_code: 404, reply_text, cause };
    assert_eq!(pair.happened(), [Happened::ChannelClosed(2, Error::ChannelClosed(closed))]);
    assert!(pair.sent().is_empty());
    pair.feed(&broker::close(320, "forced"));
    assert_eq!(pair.sent_names(), ["0 connection.close-ok"]);
    let error = by(Party::Broker, 320, "forced");
    assert_eq!(pair.happened(), [Happened::ChannelClosed(1, error.clone()), ended(error)]);
}
