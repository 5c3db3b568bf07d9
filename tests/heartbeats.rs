//! Heartbeats on real loops (hazard 15). Seconds are the least that AMQP can agree on, so these
//! tests take some.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::{Channel, ConnectionCallbacks, Delivery, Error, Heartbeat, Result, basic};
use support::peers::Peer;
use support::{Host, broker, every_host};

every_host!(
    an_idle_connection_is_kept_by_heartbeats,
    one_that_only_publishes_and_one_that_only_consumes_are_kept,
    a_silent_broker_is_found_in_two_intervals
);

/// RabbitMQ closes a connection from which nothing comes for two intervals.
fn an_idle_connection_is_kept_by_heartbeats<H: Host>() {
    let host = H::new();
    let mut parameters = broker();
    parameters.set_heartbeat(Heartbeat::Negotiate(1));
    let (services, stop) = (host.services(), host.stopper());
    let callbacks = ConnectionCallbacks::new()
        .on_open(move |connection| {
            let connection = connection.clone();
            services.call_later(Duration::from_secs(5), move || {
                let writes = connection.counters().writes;
                // Header, StartOk, TuneOk with Open; then at most one each half second.
                assert!((3 + 4..=3 + 10).contains(&writes), "{writes} writes");
                connection.close(200, "still here").expect("it is open");
            });
        })
        .on_close(move |_, reason| {
            assert_eq!(reason.to_string(), "connection closed by this client: (200) still here");
            stop();
        });
    drop(host.connect(parameters, callbacks));
    host.run();
}

fn one_that_only_publishes_and_one_that_only_consumes_are_kept<H: Host>() {
    fn publish_on(channel: Channel, queue: Rc<str>) {
        if channel.is_open() {
            support::publish(&channel, &queue, "x");
            let services = channel.connection().services().expect("it is open");
            services.call_later(Duration::from_millis(100), move || publish_on(channel, queue));
        }
    }

    let host = H::new();
    let mut parameters = broker();
    parameters.set_heartbeat(Heartbeat::Negotiate(1));
    let received = Rc::new(Cell::new(0_u64));
    let (count, services) = (Rc::clone(&received), host.services());
    let (publishers, loops) = (parameters.clone(), host.services());
    let ended = support::on_channel(&host, parameters, move |channel| {
        support::with_queue(channel, move |channel, queue| {
            let queue: Rc<str> = queue.into();
            let consume =
                basic::Consume { queue: (&*queue).into(), no_ack: true, ..Default::default() };
            let on_message = move |_: &Channel, _: &Delivery<'_>| count.set(count.get() + 1);
            channel.basic_consume(consume, on_message, |_, ok| drop(ok.unwrap())).unwrap();
            let callbacks = ConnectionCallbacks::new()
                .on_open(move |connection| {
                    let opened = move |channel: &Channel, opened: Result<()>| {
                        opened.unwrap();
                        publish_on(channel.clone(), queue);
                    };
                    connection.channel(None, opened).unwrap();
                })
                .on_close(|_, reason| panic!("the publisher's connection has ended: {reason}"));
            let publisher = loops.connect(publishers, callbacks);
            let (consumer, before) = (channel.connection(), channel.connection().counters());
            services.call_later(Duration::from_secs(5), move || {
                assert!(publisher.is_open() && publisher.counters().frames_received > 5);
                let published = publisher.counters();
                // It says enough without: method, header and body of each, and what opened it.
                assert!(published.frames_sent <= 3 * published.messages_published + 10);
                let beats = consumer.counters().frames_sent - before.frames_sent;
                assert!((4..=20).contains(&beats), "{beats} heartbeats: none, or a storm");
                support::close(&consumer);
            });
        });
    });
    assert!(matches!(ended, Error::ConnectionClosed(_)), "{ended}");
    assert!(received.get() > 20, "{} messages", received.get());
}

fn a_silent_broker_is_found_in_two_intervals<H: Host>() {
    let host = H::new();
    let peer = Peer::new(|wire| {
        wire.open();
        // Reads, but says no more.
        wire.read_to_end();
    });
    let mut parameters = peer.parameters();
    parameters.set_heartbeat(Heartbeat::Exactly(1));
    let (opened, stop) = (Rc::new(Cell::new(None)), host.stopper());
    let when = Rc::clone(&opened);
    let callbacks = ConnectionCallbacks::new()
        .on_open(move |_| when.set(Some(Instant::now())))
        .on_close(move |_, reason| {
            let interval = Duration::from_secs(1);
            assert_eq!(reason, Error::HeartbeatTimeout { interval });
            stop();
        });
    drop(host.connect(parameters, callbacks));
    host.run();
    let silent = opened.get().expect("it was open").elapsed();
    // Not before one and a half intervals. That it is not after two is shown under a virtual clock;
    // here the machine may be busy.
    assert!(silent > Duration::from_millis(1400), "{silent:?}");
    peer.join();
}
