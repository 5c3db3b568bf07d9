//! The edges of AMQP, where RabbitMQ can be brought to them.

mod support;

use std::cell::Cell;
use std::rc::Rc;

use haypile::{
    BasicProperties, Channel, Closed, Connection, ConnectionCallbacks, Delivery, Error, GetMessage,
    Misuse, Party, Result, basic, queue,
};
use support::{Host, broker, close, every_host, publish, with_queue};

every_host!(
    bodies_of_whole_frames,
    deliveries_for_a_channel_that_is_closing,
    closes_that_cross,
    all_channel_numbers_and_one_more,
    ten_thousand_channels_one_after_another,
    a_consumer_whose_queue_another_connection_deletes,
);

/// The names of queues, of all tests in this file at once.
fn unique() -> String {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("haypile-rabbitmq-{}-{number}", std::process::id())
}

fn on_channel<H: Host>(scenario: impl FnOnce(&Channel) + 'static) {
    let ended = support::on_channel(&H::new(), broker(), scenario);
    assert!(matches!(ended, Error::ConnectionClosed(Closed { by: Party::Client, .. })), "{ended}");
}

fn open(connection: &Connection, then: impl FnOnce(&Channel) + 'static) -> Channel {
    let opened = |channel: &Channel, opened: Result<()>| {
        opened.expect("the channel opens");
        then(channel);
    };
    connection.channel(None, opened).expect("the connection is open")
}

/// Hazard 6: a body of nothing, of exactly so many frames, and of an octet less and more, both ways.
fn bodies_of_whole_frames<H: Host>() {
    const FRAME_MAX: u32 = 8192;
    let chunk = FRAME_MAX as usize - 8;
    let around = [1, 2, 3, 10].map(|frames| frames * chunk);
    let mut sizes: Vec<_> = around.iter().flat_map(|size| [size - 1, *size, size + 1]).collect();
    sizes.extend([0, 1]);

    fn there_and_back(channel: &Channel, queue: String, mut sizes: Vec<usize>) {
        let Some(size) = sizes.pop() else { return close(&channel.connection()) };
        publish(channel, &queue, vec![size as u8; size]);
        let get = basic::Get { queue: queue.as_str().into(), no_ack: true };
        let name = queue.clone();
        let got = move |channel: &Channel, got: Result<Option<GetMessage<'_>>>| {
            let got = got.expect("an answer").expect("a message");
            assert!(got.body() == vec![size as u8; size], "{} of {size}", got.body().len());
            there_and_back(channel, name, sizes);
        };
        channel.basic_get(get, got).expect("open");
    }
    let mut parameters = broker();
    parameters.set_frame_max(FRAME_MAX).expect("in range");
    let ended = support::on_channel(&H::new(), parameters, |channel| {
        with_queue(channel, |channel, queue| there_and_back(channel, queue, sizes));
    });
    assert!(matches!(ended, Error::ConnectionClosed(_)), "{ended}");
}

/// Hazard 12: what was on its way is dropped, and the connection lives.
fn deliveries_for_a_channel_that_is_closing<H: Host>() {
    fn round(connection: &Connection, queue: Rc<str>, left: usize) {
        if left == 0 {
            return close(connection);
        }
        open(connection, move |channel| {
            let closes = Rc::new(Cell::new(0));
            let name = Rc::clone(&queue);
            let closed = move |channel: &Channel, reason| {
                assert!(matches!(reason, Error::ChannelClosed(Closed { by: Party::Client, .. })));
                round(&channel.connection(), name, left - 1);
            };
            channel.add_on_close_callback(closed).expect("open");
            let on_message = move |channel: &Channel, delivery: &Delivery<'_>| {
                assert_eq!(closes.replace(1), 0, "a delivery on a closing channel");
                assert_eq!(delivery.body(), [7; 100]);
                channel.close(0, "enough").expect("open");
            };
            // Not acknowledged: the messages are back for the next round.
            let consume = basic::Consume { queue: (&*queue).into(), ..Default::default() };
            let started = |_: &Channel, started: Result<basic::ConsumeOk<'static>>| {
                started.expect("consuming");
            };
            channel.basic_consume(consume, on_message, started).expect("open");
        });
    }
    on_channel::<H>(|channel| {
        with_queue(channel, |channel, queue| {
            (0..200).for_each(|_| publish(channel, &queue, vec![7; 100]));
            round(&channel.connection(), queue.into(), 100);
        });
    });
}

/// Hazard 12: the broker closes a channel while we do. Each ends once, whoever was first, and the
/// connection lives.
fn closes_that_cross<H: Host>() {
    const ROUNDS: usize = 300;
    fn round(connection: &Connection, ends: Rc<Cell<[usize; 2]>>, left: usize) {
        if left == 0 {
            return close(connection);
        }
        open(connection, move |channel| {
            let closed = move |channel: &Channel, reason| {
                let Error::ChannelClosed(closed) = reason else { panic!("{reason}") };
                let [brokers, ours] = ends.get();
                ends.set(match closed.by {
                    Party::Broker => [brokers + 1, ours],
                    Party::Client => [brokers, ours + 1],
                });
                round(&channel.connection(), ends, left - 1);
            };
            channel.add_on_close_callback(closed).expect("open");
            // Has no reply: the broker answers by Close, our Close is on its way by then.
            let to = basic::Publish { exchange: "no such".into(), ..Default::default() };
            channel.basic_publish(to, &BasicProperties::default(), "").expect("open");
            channel.close(0, "meanwhile").expect("open");
        });
    }
    let ends = Rc::new(Cell::new([0; 2]));
    let count = Rc::clone(&ends);
    on_channel::<H>(move |channel| round(&channel.connection(), count, ROUNDS));
    let [brokers, ours] = ends.get();
    println!("{brokers} closed by the broker first, {ours} by us");
    assert_eq!(brokers + ours, ROUNDS);
    assert!(brokers > 0, "none crossed");
}

/// Hazard 13.
fn all_channel_numbers_and_one_more<H: Host>() {
    let host = H::new();
    let mut parameters = broker();
    parameters.set_channel_max(3).expect("in range");
    let stop = host.stopper();
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            let again = |channel: &Channel, _| {
                let again = open(&channel.connection(), |channel| close(&channel.connection()));
                assert_eq!(again.channel_number(), 2);
            };
            // It and the third may be told of the close first: channels open in no certain
            // order.
            let first = connection.channel(None, |_, _| ()).expect("open");
            assert_eq!(first.channel_number(), 1);
            let second = open(connection, |channel| {
                let more = channel.connection().channel(None, |_, _| unreachable!("refused"));
                assert_eq!(more.expect_err("no more"), Misuse::NoFreeChannels(3).into());
                channel.close(0, "one less").expect("open");
            });
            second.add_on_close_callback(again).expect("not ended");
            let third = connection.channel(None, |_, _| ()).expect("open");
            assert_eq!(third.channel_number(), 3);
            let more = connection.channel(None, |_, _| unreachable!("refused"));
            assert_eq!(more.expect_err("no more"), Misuse::NoFreeChannels(3).into());
        })
        .on_close(move |_, reason| {
            assert!(matches!(reason, Error::ConnectionClosed(_)), "{reason}");
            stop();
        });
    drop(host.connect(parameters, callbacks));
    host.run();
}

/// Hazard 13: their number is free again each time.
fn ten_thousand_channels_one_after_another<H: Host>() {
    fn next(connection: &Connection, left: usize) {
        if left == 0 {
            return close(connection);
        }
        let channel = open(connection, move |channel| {
            let closed = move |channel: &Channel, _| next(&channel.connection(), left - 1);
            channel.add_on_close_callback(closed).expect("open");
            channel.close(0, "next").expect("open");
        });
        assert_eq!(channel.channel_number(), 2);
    }
    on_channel::<H>(|channel| next(&channel.connection(), 10_000));
}

/// Hazard 20.
fn a_consumer_whose_queue_another_connection_deletes<H: Host>() {
    on_channel::<H>(|channel| {
        let name = unique();
        let declare = queue::Declare { queue: name.as_str().into(), ..Default::default() };
        channel
            .queue_declare(declare, |_, declared| drop(declared.expect("declared")))
            .expect("open");
        let consume = basic::Consume {
            queue: name.clone().into(),
            consumer_tag: "mine".into(),
            ..Default::default()
        };
        let on_cancel = |channel: &Channel, tag: &haypile::ShortStr<'_>| {
            assert_eq!(*tag, "mine");
            let cancel = basic::Cancel { consumer_tag: "mine".into() };
            let gone = channel.basic_cancel(cancel, |_, _| unreachable!("refused"));
            assert_eq!(gone, Err(Misuse::UnknownConsumerTag("mine".into()).into()));
            close(&channel.connection());
        };
        channel.add_on_cancel_callback(on_cancel).expect("open");
        let started = move |_: &Channel, started: Result<basic::ConsumeOk<'static>>| {
            started.expect("consuming");
            let other = move || {
                on_channel::<crate::support::hosts::Select>(|channel| {
                    let delete = queue::Delete { queue: name.into(), ..Default::default() };
                    let deleted = |channel: &Channel, deleted: Result<queue::DeleteOk>| {
                        deleted.expect("deleted");
                        close(&channel.connection());
                    };
                    channel.queue_delete(delete, deleted).expect("open");
                });
            };
            std::thread::spawn(other);
        };
        channel.basic_consume(consume, |_, _| (), started).expect("open");
    });
}
