//! What channels do, by what it leads to at RabbitMQ, on every loop.

mod support;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use haypile::protocol::channel::{Flow, FlowOk};
use haypile::{
    BasicProperties, Channel, Closed, Delivery, Error, GetMessage, Party, Result, ReturnedMessage,
    basic, exchange, queue, tx,
};
use support::{Host, Log, broker, close, every_host, publish, with_queue};

every_host!(
    what_comes_for_a_cancelled_consumer_goes_back_to_its_queue,
    a_consumer_gets_all_that_waited_for_it,
    a_consumer_gets_no_more_than_its_prefetch_unacknowledged,
    gets_until_the_queue_is_empty,
    what_is_nacked_together_is_back_together,
    what_was_not_acknowledged_comes_again_after_recover,
    an_ack_does_not_overtake_a_queued_request,
    an_ack_before_a_request_takes_effect_before_it,
    what_is_rolled_back_is_not_published_and_not_acknowledged,
    what_is_published_behind_a_commit_is_not_of_its_transaction,
    requests_complete_in_their_order,
    bound_exchanges_pass_messages_on_until_they_are_unbound,
    flow_is_answered,
    a_flow_that_pauses_is_refused,
    an_unknown_delivery_tag_closes_the_channel_alone,
);

fn on_channel<H: Host>(scenario: impl FnOnce(&Channel) + 'static) {
    let ended = support::on_channel(&H::new(), broker(), scenario);
    assert_eq!(ended.to_string(), "connection closed by this client: (200) the test is done");
}

fn done(channel: &Channel) {
    close(&channel.connection());
}

/// A declared queue that holds so many messages, each with its number.
fn with_messages(channel: &Channel, count: u32, then: impl FnOnce(&Channel, Rc<str>) + 'static) {
    with_queue(channel, move |channel, queue| {
        (0..count).for_each(|number| publish(channel, &queue, number.to_string()));
        then(channel, queue.into());
    });
}

fn number(body: &[u8]) -> u32 {
    std::str::from_utf8(body).expect("digits").parse().expect("digits")
}

fn consume(
    channel: &Channel,
    queue: &str,
    no_ack: bool,
    on_message: impl FnMut(&Channel, &Delivery<'_>) + 'static,
) {
    let consume = basic::Consume { queue: queue.into(), no_ack, ..Default::default() };
    let started = |_: &Channel, ok: Result<basic::ConsumeOk<'static>>| drop(ok.expect("started"));
    channel.basic_consume(consume, on_message, started).expect("open");
}

/// Gets a message, and its body if there is one.
fn get(
    channel: &Channel,
    queue: &str,
    no_ack: bool,
    then: impl FnOnce(&Channel, Option<GetMessage<'_>>) + 'static,
) {
    let get = basic::Get { queue: queue.into(), no_ack };
    channel.basic_get(get, |channel, got| then(channel, got.expect("an answer"))).expect("open");
}

/// Gets what is in the queue until it is empty.
fn drain(channel: &Channel, queue: Rc<str>, then: impl FnOnce(&Channel, Vec<u32>) + 'static) {
    fn next(
        channel: &Channel,
        queue: Rc<str>,
        mut all: Vec<u32>,
        then: impl FnOnce(&Channel, Vec<u32>) + 'static,
    ) {
        let from = Rc::clone(&queue);
        get(channel, &from, true, move |channel, got| match got {
            Some(got) => {
                all.push(number(got.body()));
                next(channel, queue, all, then);
            }
            None => then(channel, all),
        });
    }
    next(channel, queue, Vec::new(), then);
}

fn ack(channel: &Channel, delivery_tag: u64) {
    channel.basic_ack(basic::Ack { delivery_tag, multiple: false }).expect("open");
}

fn ok<T>(_: &Channel, reply: Result<T>) {
    assert!(reply.is_ok(), "{:?}", reply.err());
}

fn what_comes_for_a_cancelled_consumer_goes_back_to_its_queue<H: Host>() {
    const MESSAGES: u32 = 2_000;
    on_channel::<H>(|channel| {
        with_messages(channel, MESSAGES, |channel, queue| {
            let from = Rc::clone(&queue);
            let mut told = 0;
            consume(channel, &from, false, move |channel, delivery| {
                told += 1;
                assert!(told <= 10, "told once it is cancelled");
                if told < 10 {
                    return;
                }
                let consumer_tag = delivery.consumer_tag().clone();
                let queue = Rc::clone(&queue);
                let cancelled = move |channel: &Channel, _: Result<basic::CancelOk<'static>>| {
                    let mut left: BTreeSet<_> = (10..MESSAGES).collect();
                    consume(channel, &queue, true, move |channel, delivery| {
                        assert!(left.remove(&number(delivery.body())), "it came twice");
                        if left.is_empty() {
                            done(channel);
                        }
                    });
                };
                channel.basic_cancel(basic::Cancel { consumer_tag }, cancelled).expect("it runs");
            });
        });
    });
}

/// They come right behind ConsumeOk.
fn a_consumer_gets_all_that_waited_for_it<H: Host>() {
    on_channel::<H>(|channel| {
        with_messages(channel, 1_000, |channel, queue| {
            let mut next = 0;
            consume(channel, &queue, true, move |channel, delivery| {
                assert_eq!(number(delivery.body()), next);
                next += 1;
                if next == 1_000 {
                    done(channel);
                }
            });
        });
    });
}

fn a_consumer_gets_no_more_than_its_prefetch_unacknowledged<H: Host>() {
    on_channel::<H>(|channel| {
        let qos = basic::Qos { prefetch_count: 3, ..Default::default() };
        channel.basic_qos(qos, ok).expect("open");
        with_messages(channel, 9, |channel, queue| {
            let mut tags = Vec::new();
            let mut batches = 0;
            consume(channel, &queue, false, move |channel, delivery| {
                tags.push(delivery.delivery_tag());
                assert!(tags.len() <= 3, "more than the prefetch");
                if tags.len() < 3 {
                    return;
                }
                batches += 1;
                if batches == 3 {
                    return done(channel);
                }
                let delivery_tag = tags.pop().expect("three");
                tags.clear();
                channel.basic_ack(basic::Ack { delivery_tag, multiple: true }).expect("open");
            });
        });
    });
}

fn gets_until_the_queue_is_empty<H: Host>() {
    on_channel::<H>(|channel| {
        with_messages(channel, 3, |channel, queue| {
            let from = Rc::clone(&queue);
            get(channel, &from, true, move |channel, got| {
                let got = got.expect("a message");
                assert_eq!((number(got.body()), got.method().message_count), (0, 2));
                assert!(!got.method().redelivered);
                drain(channel, queue, |channel, rest| {
                    assert_eq!(rest, [1, 2]);
                    done(channel);
                });
            });
        });
    });
}

fn what_is_nacked_together_is_back_together<H: Host>() {
    on_channel::<H>(|channel| {
        with_messages(channel, 5, |channel, queue| {
            let from = Rc::clone(&queue);
            let mut told = 0;
            consume(channel, &from, false, move |channel, delivery| {
                told += 1;
                let delivery_tag = delivery.delivery_tag();
                match told {
                    3 => {
                        let nack = basic::Nack { delivery_tag, multiple: true, requeue: true };
                        let consumer_tag = delivery.consumer_tag().clone();
                        // The first three go back, and once more what comes of them by now.
                        channel.basic_cancel(basic::Cancel { consumer_tag }, ok).expect("runs");
                        channel.basic_nack(nack).expect("open");
                        drain(channel, Rc::clone(&queue), |channel, mut back| {
                            back.sort_unstable();
                            assert_eq!(back, [0, 1, 2, 3, 4]);
                            done(channel);
                        });
                    }
                    _ => assert!(told < 3, "it is cancelled"),
                }
            });
        });
    });
}

fn what_was_not_acknowledged_comes_again_after_recover<H: Host>() {
    on_channel::<H>(|channel| {
        with_messages(channel, 1, |channel, queue| {
            let from = Rc::clone(&queue);
            get(channel, &from, false, move |channel, got| {
                assert!(!got.expect("a message").method().redelivered);
                channel.basic_recover(basic::Recover { requeue: true }, ok).expect("open");
                get(channel, &queue, false, |channel, got| {
                    let got = got.expect("once more");
                    assert!(got.method().redelivered);
                    ack(channel, got.method().delivery_tag);
                    done(channel);
                });
            });
        });
    });
}

/// The queued recover puts the message back; the ack behind it is then of a tag that is unknown.
/// Had it overtaken, it would have been good.
fn an_ack_does_not_overtake_a_queued_request<H: Host>() {
    on_channel::<H>(|channel| {
        with_messages(channel, 1, |channel, queue| {
            let from = Rc::clone(&queue);
            get(channel, &from, false, move |channel, got| {
                let delivery_tag = got.expect("a message").method().delivery_tag;
                with_queue(channel, |_, _| ());
                channel.basic_recover(basic::Recover { requeue: true }, ok).expect("open");
                ack(channel, delivery_tag);
                let refused = |channel: &Channel, reason: Error| {
                    assert!(reason.to_string().contains("unknown delivery tag"), "{reason}");
                    done(channel);
                };
                channel.add_on_close_callback(refused).expect("open");
            });
        });
    });
}

fn an_ack_before_a_request_takes_effect_before_it<H: Host>() {
    on_channel::<H>(|channel| {
        with_messages(channel, 1, |channel, queue| {
            let from = Rc::clone(&queue);
            get(channel, &from, false, move |channel, got| {
                with_queue(channel, |_, _| ());
                ack(channel, got.expect("a message").method().delivery_tag);
                channel.basic_recover(basic::Recover { requeue: true }, ok).expect("open");
                drain(channel, queue, |channel, back| {
                    assert_eq!(back, [0; 0]);
                    done(channel);
                });
            });
        });
    });
}

fn what_is_rolled_back_is_not_published_and_not_acknowledged<H: Host>() {
    on_channel::<H>(|channel| {
        with_messages(channel, 1, |channel, queue| {
            channel.tx_select(tx::Select, ok).expect("open");
            let from = Rc::clone(&queue);
            get(channel, &from, false, move |channel, got| {
                ack(channel, got.expect("a message").method().delivery_tag);
                publish(channel, &queue, "7");
                channel.tx_rollback(tx::Rollback, ok).expect("open");
                publish(channel, &queue, "8");
                channel.tx_commit(tx::Commit, ok).expect("open");
                // The ack is undone too: the message is this channel's still.
                channel.basic_recover(basic::Recover { requeue: true }, ok).expect("open");
                drain(channel, queue, |channel, mut there| {
                    there.sort_unstable();
                    assert_eq!(there, [0, 8]);
                    done(channel);
                });
            });
        });
    });
}

/// It waits for CommitOk, and is the next transaction's: here it is rolled back.
fn what_is_published_behind_a_commit_is_not_of_its_transaction<H: Host>() {
    on_channel::<H>(|channel| {
        with_queue(channel, |channel, queue| {
            channel.tx_select(tx::Select, ok).expect("open");
            for round in 0..50 {
                publish(channel, &queue, (2 * round).to_string());
                channel.tx_commit(tx::Commit, ok).expect("open");
                publish(channel, &queue, (2 * round + 1).to_string());
                channel.tx_rollback(tx::Rollback, ok).expect("open");
            }
            drain(channel, queue.into(), |channel, there| {
                assert_eq!(there, (0..50).map(|round| 2 * round).collect::<Vec<_>>());
                done(channel);
            });
        });
    });
}

/// Slow ones (a durable queue has the disk in it) and quick ones, all asked for at once.
fn requests_complete_in_their_order<H: Host>() {
    let log = Log::default();
    let lines = log.clone();
    on_channel::<H>(move |channel| {
        let name = format!("haypile-order-{}-{}", std::process::id(), H::NAME);
        for round in 0..20 {
            let queue = format!("{name}-{round}");
            let note = |what: &str| {
                let (lines, line) = (lines.clone(), format!("{what} {round}"));
                move || lines.add(line)
            };
            let declare = queue::Declare {
                queue: queue.as_str().into(),
                durable: true,
                exclusive: true,
                ..Default::default()
            };
            let noted = note("declare");
            channel.queue_declare(declare, move |_, _| noted()).expect("open");
            let noted = note("qos");
            channel.basic_qos(basic::Qos::default(), move |_, _| noted()).expect("open");
            let noted = note("get");
            let get = basic::Get { queue: queue.as_str().into(), no_ack: true };
            channel
                .basic_get(get, move |_, got| {
                    assert!(got.expect("it is there").is_none());
                    noted();
                })
                .expect("open");
            let noted = note("delete");
            let delete = queue::Delete { queue: queue.as_str().into(), ..Default::default() };
            channel.queue_delete(delete, move |_, _| noted()).expect("open");
        }
        let declare = queue::Declare { exclusive: true, ..Default::default() };
        channel.queue_declare(declare, |channel, _| done(channel)).expect("open");
    });
    let round = |round| ["declare", "qos", "get", "delete"].map(|what| format!("{what} {round}"));
    assert_eq!(log.lines(), (0..20).flat_map(round).collect::<Vec<_>>());
}

fn bound_exchanges_pass_messages_on_until_they_are_unbound<H: Host>() {
    let names =
        ["from", "to"].map(|part| format!("haypile-{part}-{}-{}", std::process::id(), H::NAME));
    on_channel::<H>(move |channel| {
        let [from, to] = names;
        for name in [&from, &to] {
            let (exchange, exchange_type) = (name.into(), "fanout".into());
            let declare = exchange::Declare {
                exchange,
                exchange_type,
                auto_delete: true,
                ..Default::default()
            };
            channel.exchange_declare(declare, ok).expect("open");
        }
        let back = Rc::new(RefCell::new(Vec::new()));
        let came = Rc::clone(&back);
        let on_return = move |_: &Channel, message: &ReturnedMessage<'_>| {
            came.borrow_mut().push(number(message.body()));
        };
        channel.add_on_return_callback(on_return).expect("open");
        with_queue(channel, move |channel, queue| {
            let (source, destination) = (from.as_str(), to.as_str());
            let publish = |body: &str| {
                let exchange = source.into();
                let to = basic::Publish { exchange, mandatory: true, ..Default::default() };
                channel.basic_publish(to, &BasicProperties::default(), body).expect("open");
            };
            let bind = queue::Bind {
                queue: queue.as_str().into(),
                exchange: destination.into(),
                ..Default::default()
            };
            channel.queue_bind(bind, ok).expect("open");
            publish("0");
            let (source, destination) = (source.into(), destination.into());
            let bind = exchange::Bind { source, destination, ..Default::default() };
            let unbind = exchange::Unbind {
                source: bind.source.clone(),
                destination: bind.destination.clone(),
                ..Default::default()
            };
            // Held by a second binding: an exchange that deletes itself goes with the last.
            let keep = exchange::Bind { destination: "amq.fanout".into(), ..bind.clone() };
            channel.exchange_bind(keep, ok).expect("open");
            channel.exchange_bind(bind, ok).expect("open");
            publish("1");
            channel.exchange_unbind(unbind, ok).expect("open");
            publish("2");
            drain(channel, queue.into(), move |channel, there| {
                assert_eq!(there, [1]);
                assert_eq!(*back.borrow(), [0, 2]);
                done(channel);
            });
        });
    });
}

fn flow_is_answered<H: Host>() {
    on_channel::<H>(|channel| {
        let flowing = |channel: &Channel, flowing: Result<FlowOk>| {
            assert_eq!(flowing, Ok(FlowOk { active: true }));
            done(channel);
        };
        channel.flow(Flow { active: true }, flowing).expect("open");
    });
}

fn a_flow_that_pauses_is_refused<H: Host>() {
    let told = Rc::new(Cell::new(0));
    let count = Rc::clone(&told);
    let ended = support::on_channel(&H::new(), broker(), move |channel| {
        let refused = move |_: &Channel, flowing: Result<FlowOk>| {
            assert!(flowing.is_err());
            count.set(count.get() + 1);
        };
        channel.flow(Flow { active: false }, refused).expect("open");
    });
    let Error::ConnectionClosed(closed) = ended else { panic!("{ended}") };
    assert_eq!((closed.by, closed.reply_code, closed.cause), (Party::Broker, 540, (20, 20)));
    assert_eq!(told.get(), 1);
}

fn an_unknown_delivery_tag_closes_the_channel_alone<H: Host>() {
    on_channel::<H>(|channel| {
        ack(channel, 7);
        let log = Log::default();
        let told = log.clone();
        let declare = queue::Declare { exclusive: true, ..Default::default() };
        channel
            .queue_declare(declare, move |_, declared| told.add(declared.is_err()))
            .expect("open");
        let closed = move |channel: &Channel, reason: Error| {
            let Error::ChannelClosed(Closed { by, reply_code, cause, .. }) = reason else {
                panic!("{reason}")
            };
            assert_eq!((by, reply_code, cause), (Party::Broker, 406, (60, 80)));
            assert_eq!(log.lines(), ["true"], "what was asked for is told first");
            assert!(channel.is_closed() && channel.connection().is_open());
            done(channel);
        };
        channel.add_on_close_callback(closed).expect("open");
    });
}
