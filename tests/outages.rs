//! A broker that is killed, and one that is silent. The broker is one for all tests, so that these
//! take turns.

mod support;

use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use haypile::{
    BasicProperties, Channel, Delivery, Error, Heartbeat, Result, Services, basic, queue,
};
use support::{BrokerControl, Host, Lag, broker, close, every_host};

every_host!(
    a_broker_that_is_killed_at_rest,
    a_broker_that_is_paused_at_rest,
    a_broker_that_is_paused_while_we_publish,
    a_broker_that_is_paused_while_we_consume,
);

/// What a session sends when the broker is to fail.
type Cue = Sender<()>;

/// Runs a session, and does `action` to the broker when the session says so. Gives what the session
/// gives, and when the action began. The broker runs again then, and takes connections.
fn outage<H: Host, R>(action: &str, session: impl FnOnce(Cue) -> R) -> (R, Instant) {
    let control = BrokerControl::take();
    let outcome = thread::scope(|scope| {
        let (cue, cued) = channel();
        let fail = scope.spawn(|| {
            let cued = cued; // dropped with this thread
            cued.recv().expect("a cue");
            let begun = Instant::now();
            control.run(action);
            begun
        });
        (session(cue), fail.join().expect("it was done"))
    });
    drop(control);
    let ended = support::on_channel(&H::new(), broker(), |channel| close(&channel.connection()));
    assert!(matches!(ended, Error::ConnectionClosed(_)), "{ended}");
    outcome
}

fn a_broker_that_is_killed_at_rest<H: Host>() {
    let (ended, _) = outage::<H, _>("kill", |cue| {
        support::on_channel(&H::new(), broker(), move |_| cue.send(()).expect("somebody waits"))
    });
    assert!(matches!(ended, Error::StreamLost(_)), "{ended}");
}

/// Pauses the broker while `work` is under way; it is given up within two heartbeat intervals.
fn paused<H: Host>(work: impl FnOnce(&Channel, Services) + 'static) {
    let interval = Duration::from_secs(1);
    let host = H::new();
    let lag = Lag::watch(&host.services());
    let ((ended, when), begun) = outage::<H, _>("pause", |cue| {
        let mut parameters = broker();
        parameters.set_heartbeat(Heartbeat::Exactly(1));
        let services = host.services();
        let ended = support::on_channel(&host, parameters, move |channel| {
            work(channel, services.clone());
            // Well on its way.
            services.call_later(interval / 2, move || cue.send(()).expect("somebody waits"));
        });
        (ended, Instant::now())
    });
    assert_eq!(ended, Error::HeartbeatTimeout { interval });
    lag.assert_within(2 * interval, begun, when);
}

fn a_broker_that_is_paused_at_rest<H: Host>() {
    paused::<H>(|_, _| ());
}

fn a_broker_that_is_paused_while_we_publish<H: Host>() {
    paused::<H>(|channel, services| {
        let (channel, body) = (channel.clone(), vec![0; 4096]);
        services.call_every(Duration::from_millis(1), move || {
            // Routed to no queue.
            let to = basic::Publish { routing_key: "nowhere".into(), ..Default::default() };
            if channel.is_open() {
                channel.basic_publish(to, &BasicProperties::default(), &body[..]).expect("open");
            }
        });
    });
}

/// A few messages that are put back as soon as they come.
fn a_broker_that_is_paused_while_we_consume<H: Host>() {
    paused::<H>(|channel, _| {
        let declare = queue::Declare { exclusive: true, ..Default::default() };
        let declared = |channel: &Channel, declared: Result<queue::DeclareOk<'static>>| {
            let queue = declared.expect("declared").queue;
            for _ in 0..10 {
                let to = basic::Publish { routing_key: queue.clone(), ..Default::default() };
                channel.basic_publish(to, &BasicProperties::default(), "again").expect("open");
            }
            let on_message = |channel: &Channel, delivery: &Delivery<'_>| {
                let reject = basic::Reject { delivery_tag: delivery.delivery_tag(), requeue: true };
                channel.basic_reject(reject).expect("open");
            };
            let consume = basic::Consume { queue, ..Default::default() };
            let started = |_: &Channel, started: Result<basic::ConsumeOk<'static>>| {
                started.expect("consuming");
            };
            channel.basic_consume(consume, on_message, started).expect("open");
        };
        channel.queue_declare(declare, declared).expect("open");
    });
}
