//! A broker that is killed, and one that is silent. The broker is one for all tests, so that these
//! take turns.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use haypile::{
    BasicProperties, Channel, Confirm, Delivery, Error, Heartbeat, PublishOutcome, Result,
    Services, basic, queue,
};
use support::{BrokerControl, Host, Lag, broker, close, every_host, publish, with_queue};

every_host!(
    a_broker_that_is_killed_amid_confirmed_publishes,
    a_broker_that_is_paused_at_rest,
    a_broker_that_is_paused_while_we_publish,
    a_broker_that_is_paused_while_we_consume,
);

/// What a session sends when the broker is to fail.
type Cue = Sender<()>;

/// Runs a session, and does `action` to the broker when the session says so. Gives what the session
/// gives, and when the action began. The broker runs again then, and takes connections.
fn outage<H: Host, R>(
    action: &str,
    session: impl FnOnce(&BrokerControl, Cue) -> R,
) -> (R, Instant) {
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
        (session(&control, cue), fail.join().expect("it was done"))
    });
    drop(control);
    let ended = support::on_channel(&H::new(), broker(), |channel| close(&channel.connection()));
    assert!(matches!(ended, Error::ConnectionClosed(_)), "{ended}");
    outcome
}

/// Each publish is confirmed or lost, once, whatever becomes of the broker; and what was confirmed
/// is there when the broker is back.
fn a_broker_that_is_killed_amid_confirmed_publishes<H: Host>() {
    const MESSAGES: usize = 100_000;
    const KILLED_AT: usize = 20_000;
    let queue = format!("haypile-outage-{}-{}", std::process::id(), H::NAME);
    let fates = Rc::new(RefCell::new(vec![None; MESSAGES]));

    let (name, told) = (queue.clone(), Rc::clone(&fates));
    let all_published = Rc::new(Cell::new(false));
    let (ended, _) = outage::<H, _>("kill", |control, cue| {
        declare::<H>(name.clone());
        // RabbitMQ answers a declare before it is on disk, as much as two seconds before.
        control.ctl(&["eval", "mnesia:sync_log()."]);
        support::on_channel(&H::new(), broker(), move |channel| {
            let (mut confirmed, mut cue) = (0, Some(cue));
            let published = Rc::clone(&all_published);
            let on_confirm = move |_: &Channel, confirm: Confirm<'_>| {
                let fate = match confirm.outcome {
                    PublishOutcome::Acked => Fate::Confirmed,
                    PublishOutcome::Lost(_) => Fate::Lost,
                    ref other => panic!("{other:?}"),
                };
                let index = confirm.sequence_number as usize - 1;
                let before = told.borrow_mut()[index].replace(fate);
                assert_eq!(before, None, "publish {index} was told before");
                confirmed += usize::from(fate == Fate::Confirmed);
                if confirmed >= KILLED_AT && published.get() {
                    cue.take().into_iter().for_each(|cue| cue.send(()).expect("somebody waits"));
                }
            };
            let selected = |_: &Channel, ok: Result<()>| ok.expect("confirm mode");
            channel.confirm_delivery(on_confirm, selected).expect("open");
            publish_all(channel, name, 0, MESSAGES, move || all_published.set(true));
        })
    });
    assert!(matches!(ended, Error::StreamLost(_)), "{ended}");

    let fates = fates.take();
    let kept = drain::<H>(queue, MESSAGES);
    let count = |fate, there| {
        let alike = fates.iter().zip(&kept).filter(|alike| *alike == (&Some(fate), &there));
        alike.count()
    };
    println!(
        "of {MESSAGES}: {} confirmed, {} of them gone; {} lost, {} of them there",
        count(Fate::Confirmed, true),
        count(Fate::Confirmed, false),
        count(Fate::Lost, true) + count(Fate::Lost, false),
        count(Fate::Lost, true),
    );
    assert!(!fates.contains(&None), "some were never told");
    assert_eq!(count(Fate::Confirmed, false), 0, "confirmed, and gone");
    assert!(count(Fate::Confirmed, true) >= KILLED_AT);
    assert!(fates.contains(&Some(Fate::Lost)), "it was killed too late");
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Confirmed,
    Lost,
}

fn declare<H: Host>(queue: String) {
    support::on_channel(&H::new(), broker(), |channel| {
        let declare = queue::Declare { queue: queue.into(), durable: true, ..Default::default() };
        let declared = |channel: &Channel, declared: Result<queue::DeclareOk<'static>>| {
            declared.expect("declared");
            close(&channel.connection());
        };
        channel.queue_declare(declare, declared).expect("open");
    });
}

/// Publishes persistent messages, each with its number, a thousand in each turn of the loop.
fn publish_all(
    channel: &Channel,
    queue: String,
    first: usize,
    end: usize,
    done: impl FnOnce() + 'static,
) {
    let properties = BasicProperties { delivery_mode: Some(2), ..Default::default() };
    for number in first..end.min(first + 1000) {
        let to = basic::Publish { routing_key: queue.as_str().into(), ..Default::default() };
        channel.basic_publish(to, &properties, number.to_string()).expect("open");
    }
    if first + 1000 < end {
        let (again, services) = (channel.clone(), channel.connection().services());
        let services = services.expect("the connection is open");
        services.add_callback(move || publish_all(&again, queue, first + 1000, end, done));
    } else {
        done();
    }
}

/// Takes everything out of the queue and deletes it. Gives which of so many numbers were in it.
fn drain<H: Host>(queue: String, numbers: usize) -> Vec<bool> {
    let kept = Rc::new(RefCell::new(vec![false; numbers]));
    let keep = Rc::clone(&kept);
    let ended = support::on_channel(&H::new(), broker(), move |channel| {
        let name = queue.clone();
        let declare = queue::Declare {
            queue: queue.into(),
            durable: true,
            passive: true,
            ..Default::default()
        };
        let declared = move |channel: &Channel, declared: Result<queue::DeclareOk<'static>>| {
            let mut left = declared.expect("it is durable").message_count;
            let queue = name.clone();
            let on_message = move |channel: &Channel, delivery: &Delivery<'_>| {
                let number = std::str::from_utf8(delivery.body()).expect("digits").parse::<usize>();
                let before =
                    std::mem::replace(&mut keep.borrow_mut()[number.expect("digits")], true);
                assert!(!before, "it is there twice");
                left -= 1;
                if left == 0 {
                    let delete =
                        queue::Delete { queue: queue.as_str().into(), ..Default::default() };
                    let deleted = |channel: &Channel, deleted: Result<queue::DeleteOk>| {
                        assert_eq!(deleted.expect("deleted").message_count, 0);
                        close(&channel.connection());
                    };
                    channel.queue_delete(delete, deleted).expect("open");
                }
            };
            let consume = basic::Consume { queue: name.into(), no_ack: true, ..Default::default() };
            let started = |_: &Channel, started: Result<basic::ConsumeOk<'static>>| {
                started.expect("consuming");
            };
            channel.basic_consume(consume, on_message, started).expect("open");
        };
        channel.queue_declare(declare, declared).expect("open");
    });
    assert!(matches!(ended, Error::ConnectionClosed(_)), "{ended}");
    kept.take()
}

/// Pauses the broker while `work` is under way; it is given up within two heartbeat intervals.
fn paused<H: Host>(work: impl FnOnce(&Channel, Services) + 'static) {
    let interval = Duration::from_secs(1);
    let host = H::new();
    let lag = Lag::watch(&host.services());
    let ((ended, when), begun) = outage::<H, _>("pause", |_, cue| {
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
            if channel.is_open() {
                publish(&channel, "nowhere", &body[..]);
            }
        });
    });
}

/// A few messages that are put back as soon as they come.
fn a_broker_that_is_paused_while_we_consume<H: Host>() {
    paused::<H>(|channel, _| {
        with_queue(channel, |channel, queue| {
            (0..10).for_each(|_| publish(channel, &queue, "again"));
            let on_message = |channel: &Channel, delivery: &Delivery<'_>| {
                let reject = basic::Reject { delivery_tag: delivery.delivery_tag(), requeue: true };
                channel.basic_reject(reject).expect("open");
            };
            let consume = basic::Consume { queue: queue.into(), ..Default::default() };
            let started = |_: &Channel, started: Result<basic::ConsumeOk<'static>>| {
                started.expect("consuming");
            };
            channel.basic_consume(consume, on_message, started).expect("open");
        });
    });
}
