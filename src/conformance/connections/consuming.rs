//! Messages there and back.

use std::cell::Cell;
use std::rc::Rc;

use crate::{Channel, Delivery, GetMessage, Result, basic};

use super::queues::own_queue;
use crate::conformance::stage::{Stage, assert_closed, close};
use crate::conformance::tools::publish;

/// Takes a message from a queue, and its body on.
pub(in crate::conformance) fn get(
    channel: &Channel,
    queue: &str,
    then: impl FnOnce(&Channel, Option<Vec<u8>>) + 'static,
) {
    let get = basic::Get { queue: queue.into(), no_ack: true };
    let got = |channel: &Channel, got: Result<Option<GetMessage<'_>>>| {
        let got = got.expect("an answer");
        then(channel, got.map(|got| got.body().to_vec()));
    };
    channel.basic_get(get, got).expect("the channel is open");
}

fn consume(
    channel: &Channel,
    queue: &str,
    no_ack: bool,
    on_message: impl FnMut(&Channel, &Delivery<'_>) + 'static,
) {
    let consume = basic::Consume { queue: queue.into(), no_ack, ..Default::default() };
    channel
        .basic_consume(consume, on_message, |_, started| drop(started.expect("it consumes")))
        .expect("the channel is open");
}

/// There are many more messages, some of which have come already: none is told.
pub(in crate::conformance) fn cancel_in_the_callback_ends_a_consumer(stage: &Stage) {
    let told = Rc::new(Cell::new(0));
    let tell = Rc::clone(&told);
    let ended = stage.on_channel(|channel| {
        own_queue(channel, "", move |channel, queue| {
            (0..100).for_each(|number| publish(channel, &queue, format!("message {number}")));
            consume(channel, &queue, true, move |channel, delivery| {
                tell.set(tell.get() + 1);
                let cancel = basic::Cancel { consumer_tag: delivery.method().consumer_tag.clone() };
                let cancelled = |channel: &Channel, cancelled: Result<basic::CancelOk<'static>>| {
                    cancelled.expect("cancelled");
                    close(&channel.connection());
                };
                channel.basic_cancel(cancel, cancelled).expect("it consumes");
            });
        });
    });
    assert_closed(ended);
    assert_eq!(told.get(), 1);
}

fn there_and_back(stage: &Stage, body: Vec<u8>) {
    let ended = stage.on_channel(|channel| {
        own_queue(channel, "", move |channel, queue| {
            publish(channel, &queue, body.clone());
            let from = queue.clone();
            consume(channel, &from, false, move |channel, delivery| {
                assert!(delivery.body() == body, "{} bytes came", delivery.body().len());
                assert_eq!(delivery.method().exchange, "");
                assert_eq!(delivery.method().routing_key, queue.as_str());
                let delivery_tag = delivery.delivery_tag();
                channel.basic_ack(basic::Ack { delivery_tag, multiple: false }).expect("open");
                close(&channel.connection());
            });
        });
    });
    assert_closed(ended);
}

pub(in crate::conformance) fn publish_and_consume(stage: &Stage) {
    there_and_back(stage, b"this is a body".to_vec());
}

/// About 15 MB.
pub(in crate::conformance) fn publish_and_consume_a_large_body(stage: &Stage) {
    let numbers = (0..2_000_000_u32).map(|number| format!("{number:07}"));
    there_and_back(stage, numbers.collect::<String>().into_bytes());
}

pub(in crate::conformance) fn publish_and_get(stage: &Stage) {
    let ended = stage.on_channel(|channel| {
        own_queue(channel, "", |channel, queue| {
            publish(channel, &queue, "this is a body");
            get(channel, &queue, |channel, body| {
                assert_eq!(body.expect("a message"), b"this is a body");
                close(&channel.connection());
            });
        });
    });
    assert_closed(ended);
}
