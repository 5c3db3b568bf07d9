//! Replies that nobody asked for, and what they say.

use std::cell::RefCell;
use std::rc::Rc;

use super::broker;
use super::pair::{Happened, Pair, failed};
use crate::channel::Completion;
use crate::connection::ConnectionParameters;
use crate::error::{Error, ProtocolError, PublishError};
use crate::protocol::{Method, basic, channel, connection, exchange, queue};

#[test]
fn a_reply_carries_the_brokers_values() {
    let (mut pair, channel) = Pair::with_channel();
    let seen = Rc::new(RefCell::new(None));
    let saw = Rc::clone(&seen);
    let mut completion = Some(Completion::Reply(Box::new(move |_, reply| {
        let Ok(Method::Queue(queue::Method::DeclareOk(ok))) = reply else {
            panic!("{reply:?}");
        };
        saw.replace(Some(ok.into_owned()));
    })));
    let declare = queue::Declare::default();
    pair.work(channel, |state, wire| state.request(wire, &declare, &mut completion)).unwrap();
    let reply = queue::DeclareOk { queue: "amq.gen-1".into(), message_count: 3, consumer_count: 2 };
    pair.feed(&broker::method(1, &reply));
    assert_eq!(seen.take(), Some(reply));
}

#[test]
fn a_reply_nobody_asked_for_is_503_and_completes_all_that_is_pending() {
    let unasked: [(&str, Vec<u8>); 8] = [
        ("channel.open-ok", broker::method(1, &channel::OpenOk {})),
        ("channel.close-ok", broker::channel_close_ok(1)),
        ("exchange.declare-ok", broker::method(1, &exchange::DeclareOk {})),
        ("basic.get-ok", broker::method(1, &basic::GetOk::default())),
        ("basic.get-empty", broker::method(1, &basic::GetEmpty {})),
        ("basic.publish", broker::method(1, &basic::Publish::default())),
        ("basic.ack", broker::method(1, &basic::Ack::default())),
        ("connection.open-ok", broker::method(1, &connection::OpenOk {})),
    ];
    for (method, bytes) in unasked {
        let (mut pair, channel) = Pair::with_channel();
        pair.declare(channel, "a");
        pair.declare(channel, "b");
        pair.sent();
        pair.feed(&bytes);
        let error = Error::Protocol(ProtocolError::UnexpectedMethod { channel: 1, method });
        assert_eq!(
            pair.happened(),
            [
                failed("a", &error),
                failed("b", &error),
                Happened::ChannelClosed(1, error.clone()),
                Happened::Closed { error, was_open: true },
            ]
        );
        let closes = broker::closes(&pair.sent());
        assert_eq!(closes, [(503, format!("channel 1: unexpected {method}"))]);
    }
}

#[test]
fn a_method_of_another_class_on_channel_0_is_503() {
    let mut pair = Pair::open();
    pair.feed(&broker::method(0, &queue::DeclareOk::default()));
    let method = "queue.declare-ok";
    let error = Error::Protocol(ProtocolError::UnexpectedMethod { channel: 0, method });
    assert_eq!(pair.happened(), [Happened::Closed { error, was_open: true }]);
    assert_eq!(broker::closes(&pair.sent())[0].0, 503);
}

#[test]
fn a_handshake_method_on_an_open_connection_is_503() {
    let again = [broker::start(), broker::tune(0, 0), broker::open_ok(), broker::close_ok()];
    for bytes in again {
        let mut pair = Pair::open();
        pair.feed(&bytes);
        let happened = pair.happened();
        assert!(matches!(
            happened[..],
            [Happened::Closed { error: Error::Protocol(_), was_open: true }]
        ));
        assert_eq!(broker::closes(&pair.sent())[0].0, 503);
    }
}

#[test]
fn the_brokers_flow_is_answered_at_once() {
    let (mut pair, channel) = Pair::with_channel();
    pair.declare(channel, "a");
    pair.declare(channel, "b");
    pair.sent();
    for active in [false, true] {
        pair.feed(&broker::method(1, &channel::Flow { active }));
        assert_eq!(pair.sent(), broker::method(1, &channel::FlowOk { active }));
    }
    assert_eq!(pair.happened(), []);
}

#[test]
fn a_channel_that_the_broker_pauses_publishes_nothing_until_it_goes_on() {
    let (mut pair, paused) = Pair::with_channel();
    let other = pair.open_channel();
    let flow = |active| broker::method(1, &channel::Flow { active });
    pair.feed(&flow(true));
    pair.feed(&flow(false));
    pair.sent();
    for _ in 0..2 {
        assert_eq!(pair.publish(paused, "no"), Err(PublishError::Full));
    }
    assert_eq!(pair.sent(), b"");
    pair.publish(other, "yes").unwrap();
    pair.sent();
    pair.feed(&flow(false));
    assert_eq!(pair.happened(), []);
    pair.feed(&flow(true));
    assert_eq!(pair.happened(), [Happened::Writable(1)]);
    pair.feed(&flow(true));
    assert_eq!(pair.happened(), [], "told once");
    pair.sent();
    assert_eq!(pair.publish(paused, "yes"), Ok(1));
}

#[test]
fn room_on_the_connection_is_none_for_a_channel_that_the_broker_pauses() {
    let mut parameters = ConnectionParameters::default();
    parameters.set_water_marks(0, 1).unwrap();
    let mut pair = Pair::open_with(parameters);
    let channel = pair.open_channel();
    pair.publish(channel, "fills it").unwrap();
    pair.publish(channel, "no").unwrap_err();
    pair.feed(&broker::method(1, &channel::Flow { active: false }));
    pair.sent();
    pair.settle();
    assert_eq!(pair.happened(), [Happened::ConnectionWritable]);
    pair.feed(&broker::method(1, &channel::Flow { active: true }));
    assert_eq!(pair.happened(), [Happened::Writable(1)]);
}

#[test]
fn regression_no_flow_ok_follows_a_close_that_was_queued() {
    let (mut pair, channel) = Pair::with_channel();
    pair.declare(channel, "a");
    pair.close_channel(channel, "bye").unwrap();
    pair.sent();
    pair.feed(&broker::method(1, &channel::Flow { active: true }));
    pair.feed(&broker::method(1, &queue::DeclareOk::default()));
    assert_eq!(pair.sent_names(), ["1 channel.flow-ok", "1 channel.close"]);
}

#[test]
fn octets_behind_a_methods_arguments_are_let_pass() {
    let (mut pair, channel) = Pair::with_channel();
    pair.declare(channel, "a");
    pair.feed(&broker::raw(1, 1, b"\0\x32\0\x0b\x01q\0\0\0\0\0\0\0\0trailing"));
    assert_eq!(pair.happened().len(), 1);
    assert!(pair.machine.is_open());
}
