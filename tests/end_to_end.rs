//! Whole sessions against a real broker, on every loop.

mod support;

use std::cell::Cell;
use std::rc::Rc;

use haypile::{BasicProperties, Channel, Closed, Error, Party, Result, basic, exchange, queue, tx};
use support::{Host, Log, broker, every_host, publish, with_queue};

every_host!(
    a_hundred_thousand_messages_come_back_in_order,
    every_synchronous_method_is_answered,
    large_bodies_come_back_whole,
    an_empty_body_and_all_properties_come_back,
    a_returned_message_is_told,
    a_consumer_whose_queue_is_deleted_is_told,
    a_published_message_does_not_overtake_a_declare,
    an_unnamed_channel_gets_the_lowest_free_number,
    a_hundred_channels_on_one_connection,
);

/// Runs a scenario on a channel of the broker's; gives how its connection ended.
fn on_channel<H: Host>(host: &H, scenario: impl FnOnce(&Channel) + 'static) -> Error {
    support::on_channel(host, broker(), scenario)
}

fn assert_clean(ended: &Error) {
    let clean = Error::ConnectionClosed(Closed {
        by: Party::Client,
        reply_code: 200,
        reply_text: "the test is done".into(),
        cause: (0, 0),
    });
    assert_eq!(ended, &clean);
}

fn done(channel: &Channel) {
    channel.connection().close(200, "the test is done").expect("the connection is open");
}

fn a_hundred_thousand_messages_come_back_in_order<H: Host>() {
    const MESSAGES: u64 = 100_000;
    const BATCH: u64 = 1_000;
    fn body(number: u64) -> String {
        format!("{number:>100}")
    }
    fn publish_batch(channel: &Channel, queue: Rc<str>, first: u64) {
        for number in first..first + BATCH {
            publish(channel, &queue, body(number));
        }
        if first + BATCH < MESSAGES {
            let channel = channel.clone();
            let services = channel.connection().services().expect("the loop runs");
            services.add_callback(move || publish_batch(&channel, queue, first + BATCH));
        }
    }

    let host = H::new();
    let received = Rc::new(Cell::new(0));
    let count = Rc::clone(&received);
    let ended = on_channel(&host, move |channel| {
        with_queue(channel, move |channel, queue| {
            let consume = basic::Consume {
                queue: queue.as_str().into(),
                no_ack: false,
                ..Default::default()
            };
            let on_message = move |channel: &Channel, delivery: &haypile::Delivery<'_>| {
                let number = count.get();
                assert_eq!(delivery.body(), body(number).as_bytes());
                assert_eq!(delivery.delivery_tag(), number + 1);
                count.set(number + 1);
                if (number + 1).is_multiple_of(100) {
                    let ack = basic::Ack { delivery_tag: number + 1, multiple: true };
                    channel.basic_ack(ack).expect("the channel is open");
                }
                if number + 1 == MESSAGES {
                    done(channel);
                }
            };
            channel
                .basic_consume(consume, on_message, |_, ok| drop(ok.expect("consuming")))
                .unwrap();
            publish_batch(channel, queue.into(), 0);
        });
    });
    assert_clean(&ended);
    assert_eq!(received.get(), MESSAGES);
}

fn every_synchronous_method_is_answered<H: Host>() {
    let host = H::new();
    let log = Log::default();
    let answered = log.clone();
    let ended = on_channel(&host, move |channel| {
        macro_rules! ask {
            ($name:ident($method:expr)) => {{
                let log = answered.clone();
                let reply = move |_: &Channel, reply: Result<_>| match reply {
                    Ok(_) => log.add(stringify!($name)),
                    Err(error) => log.add(format!("{}: {error}", stringify!($name))),
                };
                channel.$name($method, reply).expect("the channel is open");
            }};
        }
        let (queue, here, there) = ("haypile-sync-q", "haypile-sync-x", "haypile-sync-y");
        let queue = format!("{queue}-{}", std::process::id());
        let queue = queue.as_str();
        ask!(queue_declare(queue::Declare {
            queue: queue.into(),
            exclusive: true,
            ..Default::default()
        }));
        for name in [here, there] {
            ask!(exchange_declare(exchange::Declare {
                exchange: name.into(),
                exchange_type: "fanout".into(),
                auto_delete: false,
                ..Default::default()
            }));
        }
        ask!(exchange_bind(exchange::Bind {
            destination: there.into(),
            source: here.into(),
            ..Default::default()
        }));
        let (q, x) = (queue.into(), there.into());
        ask!(queue_bind(queue::Bind { queue: q, exchange: x, ..Default::default() }));
        let to = basic::Publish { exchange: here.into(), ..Default::default() };
        channel.basic_publish(to, &BasicProperties::default(), "routed").unwrap();
        ask!(basic_qos(basic::Qos { prefetch_count: 10, ..Default::default() }));
        ask!(basic_recover(basic::Recover { requeue: true }));
        ask!(flow(haypile::protocol::channel::Flow { active: true }));
        let get = basic::Get { queue: queue.into(), no_ack: true };
        let log = answered.clone();
        channel
            .basic_get(get, move |_, got| {
                let got = got.expect("an answer").expect("a message: fanned out before it");
                assert_eq!(got.body(), b"routed");
                log.add("basic_get");
            })
            .unwrap();
        ask!(queue_purge(queue::Purge { queue: queue.into() }));
        let (q, x) = (queue.into(), there.into());
        ask!(queue_unbind(queue::Unbind { queue: q, exchange: x, ..Default::default() }));
        ask!(exchange_unbind(exchange::Unbind {
            destination: there.into(),
            source: here.into(),
            ..Default::default()
        }));
        for name in [here, there] {
            ask!(exchange_delete(exchange::Delete { exchange: name.into(), if_unused: false }));
        }
        let consume = basic::Consume { queue: queue.into(), ..Default::default() };
        let log = answered.clone();
        let tag = channel
            .basic_consume(
                consume,
                |_, _| (),
                move |_, ok| {
                    ok.expect("consuming");
                    log.add("basic_consume");
                },
            )
            .unwrap();
        ask!(basic_cancel(basic::Cancel { consumer_tag: tag }));
        ask!(queue_delete(queue::Delete { queue: queue.into(), ..Default::default() }));
        ask!(tx_select(tx::Select));
        ask!(tx_commit(tx::Commit));
        ask!(tx_rollback(tx::Rollback));
        done(channel);
    });
    assert_clean(&ended);
    let expected = "queue_declare exchange_declare exchange_declare exchange_bind queue_bind \
                    basic_qos basic_recover flow basic_get queue_purge queue_unbind \
                    exchange_unbind exchange_delete exchange_delete basic_consume basic_cancel \
                    queue_delete tx_select tx_commit tx_rollback";
    assert_eq!(log.lines(), expected.split_whitespace().collect::<Vec<_>>());
}

fn large_bodies_come_back_whole<H: Host>() {
    // Around the frame size, around where bodies go by reference, and far above both.
    let chunk = 131_072 - 8;
    let sizes = [0, 1, 8191, 8192, 8193, chunk - 1, chunk, chunk + 1, 3 * chunk, 16 << 20];
    fn body(size: usize) -> Vec<u8> {
        (0..size).map(|at| (at * 31 + size) as u8).collect()
    }
    let host = H::new();
    let ended = on_channel(&host, move |channel| {
        with_queue(channel, move |channel, queue| {
            let mut expected = sizes.into_iter();
            let consume =
                basic::Consume { queue: queue.as_str().into(), no_ack: true, ..Default::default() };
            let on_message = move |channel: &Channel, delivery: &haypile::Delivery<'_>| {
                let size = expected.next().expect("no more than were sent");
                assert!(delivery.body() == body(size), "the body of {size} bytes");
                assert_eq!(delivery.to_bytes(), delivery.body());
                if expected.len() == 0 {
                    done(channel);
                }
            };
            channel
                .basic_consume(consume, on_message, |_, ok| drop(ok.expect("consuming")))
                .unwrap();
            for size in sizes {
                publish(channel, &queue, body(size));
            }
        });
    });
    assert_clean(&ended);
}

fn an_empty_body_and_all_properties_come_back<H: Host>() {
    let headers = haypile::FieldTable::new()
        .with("number", 42)
        .and_then(|table| table.with("text", "täxt"))
        .and_then(|table| table.with("nothing", haypile::FieldValue::Void))
        .expect("a table");
    let properties = BasicProperties {
        content_type: Some("text/plain".into()),
        content_encoding: Some("identity".into()),
        headers: Some(headers),
        delivery_mode: Some(1),
        priority: Some(3),
        correlation_id: Some("c".into()),
        reply_to: Some("".into()),
        expiration: Some("60000".into()),
        message_id: Some("m".into()),
        timestamp: Some(1_700_000_000),
        message_type: Some("t".into()),
        user_id: Some("guest".into()),
        app_id: Some("a".into()),
        cluster_id: Some("k".into()),
    };
    let host = H::new();
    let ended = on_channel(&host, move |channel| {
        with_queue(channel, move |channel, queue| {
            let to = basic::Publish { routing_key: queue.as_str().into(), ..Default::default() };
            channel.basic_publish(to, &properties, b"").unwrap();
            let get = basic::Get { queue: queue.as_str().into(), no_ack: true };
            let got = move |channel: &Channel, got: Result<Option<haypile::GetMessage<'_>>>| {
                let got = got.expect("an answer").expect("a message");
                assert_eq!(got.body(), b"");
                assert_eq!(got.properties().expect("they decode"), properties);
                assert_eq!(got.into_owned().properties().expect("they decode"), properties);
                done(channel);
            };
            channel.basic_get(get, got).unwrap();
        });
    });
    assert_clean(&ended);
}

fn a_returned_message_is_told<H: Host>() {
    let host = H::new();
    let ended = on_channel(&host, |channel| {
        let on_return = |channel: &Channel, message: &haypile::ReturnedMessage<'_>| {
            assert_eq!(message.method().reply_code, 312);
            assert_eq!(message.method().routing_key, "no-such-queue");
            assert_eq!(message.body(), b"lost");
            done(channel);
        };
        channel.add_on_return_callback(on_return).unwrap();
        let to = basic::Publish {
            routing_key: "no-such-queue".into(),
            mandatory: true,
            ..Default::default()
        };
        channel.basic_publish(to, &BasicProperties::default(), "lost").unwrap();
    });
    assert_clean(&ended);
}

fn a_consumer_whose_queue_is_deleted_is_told<H: Host>() {
    let host = H::new();
    let ended = on_channel(&host, |channel| {
        with_queue(channel, |channel, queue| {
            let consume = basic::Consume {
                queue: queue.as_str().into(),
                consumer_tag: "mine".into(),
                ..Default::default()
            };
            channel
                .basic_consume(consume, |_, _| (), |_, ok| drop(ok.expect("consuming")))
                .unwrap();
            let on_cancel = |channel: &Channel, tag: &haypile::ShortStr<'_>| {
                assert_eq!(*tag, "mine");
                // The tag is free again: the broker has forgotten the consumer.
                done(channel);
            };
            channel.add_on_cancel_callback(on_cancel).unwrap();
            let delete = queue::Delete { queue: queue.as_str().into(), ..Default::default() };
            channel.queue_delete(delete, |_, ok| assert!(ok.is_ok())).unwrap();
        });
    });
    assert_clean(&ended);
}

fn a_published_message_does_not_overtake_a_declare<H: Host>() {
    let host = H::new();
    let ended = on_channel(&host, |channel| {
        let queue = format!("haypile-order-{}-{}", std::process::id(), H::NAME);
        // The first declare is on the wire, the second waits, and with it what is published to the
        // queue that it makes. Sent at once, the message would be lost.
        with_queue(channel, |_, _| ());
        let name = queue.as_str().into();
        let declare = queue::Declare { queue: name, exclusive: true, ..Default::default() };
        channel.queue_declare(declare, |_, ok| drop(ok.expect("declared"))).unwrap();
        publish(channel, &queue, "in its place");
        let get = basic::Get { queue: queue.as_str().into(), no_ack: true };
        let got = |channel: &Channel, got: Result<Option<haypile::GetMessage<'_>>>| {
            assert_eq!(got.expect("an answer").expect("a message").body(), b"in its place");
            done(channel);
        };
        channel.basic_get(get, got).unwrap();
    });
    assert_clean(&ended);
}

fn an_unnamed_channel_gets_the_lowest_free_number<H: Host>() {
    let host = H::new();
    let ended = on_channel(&host, |first| {
        assert_eq!(first.channel_number(), 1);
        let connection = first.connection();
        let seventh = connection.channel(7, |_, ok| ok.expect("opens")).unwrap();
        assert_eq!(seventh.channel_number(), 7);
        let taken = connection.channel(7, |_, _| unreachable!("it is refused")).unwrap_err();
        assert_eq!(taken, Error::Misuse(haypile::Misuse::ChannelNumberInUse(7)));
        let second = connection.channel(None, |_, ok| ok.expect("opens")).unwrap();
        assert_eq!(second.channel_number(), 2);
        let again = connection.clone();
        let closed = move |_: &Channel, reason: Error| {
            assert!(matches!(reason, Error::ChannelClosed(Closed { by: Party::Client, .. })));
            let reused = again.channel(None, |channel, ok| {
                ok.expect("opens");
                done(channel);
            });
            assert_eq!(reused.unwrap().channel_number(), 1);
        };
        first.add_on_close_callback(closed).unwrap();
        first.close(200, "done with it").unwrap();
    });
    assert_clean(&ended);
}

fn a_hundred_channels_on_one_connection<H: Host>() {
    let host = H::new();
    let ended = on_channel(&host, |channel| {
        let left = Rc::new(Cell::new(100));
        for _ in 0..100 {
            let left = Rc::clone(&left);
            let opened = move |channel: &Channel, opened: Result<()>| {
                opened.expect("it opens");
                with_queue(channel, move |channel, queue| {
                    let body = queue.clone();
                    let consume = basic::Consume {
                        queue: queue.as_str().into(),
                        no_ack: true,
                        ..Default::default()
                    };
                    let on_message = move |channel: &Channel, d: &haypile::Delivery<'_>| {
                        assert_eq!(d.body(), body.as_bytes(), "another channel's message");
                        left.set(left.get() - 1);
                        if left.get() == 0 {
                            done(channel);
                        }
                    };
                    channel
                        .basic_consume(consume, on_message, |_, ok| assert!(ok.is_ok()))
                        .unwrap();
                    publish(channel, &queue, queue.clone());
                });
            };
            channel.connection().channel(None, opened).unwrap();
        }
    });
    assert_clean(&ended);
}
