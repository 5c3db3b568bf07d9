//! What an operator does to the broker, and what its connections make of it. The broker is one for
//! all tests, so that these take turns.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use haypile::{
    BasicProperties, Channel, Closed, Connection, ConnectionCallbacks, Delivery, Error, Party,
    Result, basic,
};
use support::{BrokerControl, Host, Log, broker, close, every_host, with_queue};

every_host!(a_broker_without_memory_blocks_publishers, all_connections_are_closed);

/// Runs a session, and `rabbitmqctl` with these arguments each time that the session says so.
fn with_operator(commands: &[&[&str]], session: impl FnOnce(Sender<()>)) {
    let control = BrokerControl::take();
    thread::scope(|scope| {
        let (cue, cued) = channel();
        let control = &control;
        scope.spawn(move || {
            for command in commands {
                match cued.recv() {
                    Ok(()) => control.ctl(command),
                    Err(_) => return, // the session has panicked
                }
            }
        });
        session(cue);
    });
}

/// The memory limit of the node is its own affair, and has to be put back.
struct Watermark;

impl Drop for Watermark {
    fn drop(&mut self) {
        BrokerControl::take().ctl(&["set_vm_memory_high_watermark", "0.9"]);
    }
}

fn publish(channel: &Channel) {
    let properties = BasicProperties::default();
    channel.basic_publish(basic::Publish::default(), &properties, "x").expect("it is open");
}

/// Publishes now and then, as long as the channel is open: RabbitMQ blocks who publishes.
fn go_on_publishing(channel: &Channel) {
    if channel.is_open() {
        publish(channel);
        let (channel, services) = (channel.clone(), channel.connection().services().unwrap());
        services.call_later(Duration::from_millis(50), move || go_on_publishing(&channel));
    }
}

/// One connection waits until it is unblocked, one runs into its timeout, one is closed while it is
/// blocked, and one does not publish. Hazard 17.
fn a_broker_without_memory_blocks_publishers<H: Host>() {
    let _watermark = Watermark;
    let (block, unblock) =
        (["set_vm_memory_high_watermark", "0"], ["set_vm_memory_high_watermark", "0.9"]);
    with_operator(&[&block, &unblock], |cue| {
        let host = H::new();
        let log = Log::default();
        let (open, blocked) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let start = |name: &'static str, timeout: Option<Duration>, on_blocked: Act| {
            let mut parameters = broker();
            parameters.set_blocked_connection_timeout(timeout);
            // What a close may take.
            parameters.set_stack_timeout(Some(Duration::from_secs(5))).unwrap();
            let (log, unblocked, told) = (log.clone(), log.clone(), log.clone());
            let (open, counts, blocked) = (Rc::clone(&open), Rc::clone(&open), Rc::clone(&blocked));
            let (cue, done, stop) = (cue.clone(), cue.clone(), host.stopper());
            let callbacks = ConnectionCallbacks::new()
                .on_open(move |connection| {
                    let opened = move |channel: &Channel, opened: Result<()>| {
                        opened.unwrap();
                        if name != "idle" {
                            go_on_publishing(channel);
                        }
                        open.set(open.get() + 1);
                        if open.get() == 4 {
                            cue.send(()).unwrap();
                        }
                    };
                    connection.channel(None, opened).unwrap();
                })
                .on_blocked(move |connection, reason| {
                    assert!(connection.is_blocked() && connection.is_open());
                    told.add(format!("{name} is blocked: {reason}"));
                    blocked.set(blocked.get() + 1);
                    on_blocked(connection);
                })
                .on_unblocked(move |connection| {
                    assert!(!connection.is_blocked());
                    unblocked.add(format!("{name} is unblocked"));
                    close(connection);
                })
                .on_close(move |_, reason| {
                    log.add(format!("{name}: {reason}"));
                    counts.set(counts.get() - 1);
                    match counts.get() {
                        // The one that waits, and the one that is idle.
                        2 => done.send(()).unwrap(),
                        0 => stop(),
                        _ => {}
                    }
                });
            host.connect(parameters, callbacks)
        };
        let idle = start("idle", None, |_| unreachable!("it publishes nothing"));
        let ends = [
            start("waits", None, |_| ()),
            start("times out", Some(Duration::from_millis(500)), |_| ()),
            start("is closed", None, close),
        ];
        let (services, quiet, answered) = (host.services(), (*idle).clone(), log.clone());
        let still = Rc::clone(&blocked);
        ask_when(
            services,
            move || still.get() == 3,
            move || {
                // Whoever publishes nothing is served.
                let channel = quiet.channel(None, |channel, opened| {
                    opened.unwrap();
                    with_queue(channel, move |channel, _| {
                        answered.add("idle is answered");
                        close(&channel.connection());
                    });
                });
                channel.unwrap();
            },
        );
        host.run();
        drop(ends);
        let reason = "low on memory";
        for line in [
            format!("waits is blocked: {reason}"),
            format!("times out is blocked: {reason}"),
            format!("is closed is blocked: {reason}"),
            "idle is answered".into(),
            "idle: connection closed by this client: (200) the test is done".into(),
            "times out: the broker has kept the connection blocked for 500ms".into(),
            "is closed: connection closed by this client: (200) the test is done".into(),
            "waits is unblocked".into(),
            "waits: connection closed by this client: (200) the test is done".into(),
        ] {
            let count = log.lines().iter().filter(|told| **told == line).count();
            assert_eq!(count, 1, "{line:?} in {:#?}", log.lines());
        }
    });
}

type Act = fn(&Connection);

/// Calls `then` from the loop when something has come about.
fn ask_when(
    services: haypile::Services,
    is_so: impl Fn() -> bool + 'static,
    then: impl FnOnce() + 'static,
) {
    let weak = services.downgrade();
    services.call_later(Duration::from_millis(10), move || match is_so() {
        true => then(),
        false => ask_when(weak.upgrade().expect("the loop runs"), is_so, then),
    });
}

/// Amid publishing and consuming.
fn all_connections_are_closed<H: Host>() {
    with_operator(&[&["close_all_connections", "maintenance"]], |cue| {
        let host = H::new();
        let count = Rc::new(Cell::new(0));
        let ended = support::on_channel(&host, broker(), move |channel| {
            with_queue(channel, move |channel, queue| {
                let name = queue.clone();
                let on_message = move |channel: &Channel, delivery: &Delivery<'_>| {
                    let delivery_tag = delivery.delivery_tag();
                    channel.basic_ack(basic::Ack { delivery_tag, multiple: false }).unwrap();
                    support::publish(channel, &name, "again and again");
                    count.set(count.get() + 1);
                    if count.get() == 1_000 {
                        cue.send(()).unwrap();
                    }
                };
                let consume = basic::Consume { queue: (&queue).into(), ..Default::default() };
                channel.basic_consume(consume, on_message, |_, ok| drop(ok.unwrap())).unwrap();
                for _ in 0..100 {
                    support::publish(channel, &queue, "again and again");
                }
                channel.add_on_close_callback(|_, error| assert!(is_forced(&error))).unwrap();
            });
        });
        assert!(is_forced(&ended), "{ended}");
    });
}

fn is_forced(error: &Error) -> bool {
    let reply_text = "CONNECTION_FORCED - maintenance".to_owned();
    *error
        == Error::ConnectionClosed(Closed {
            by: Party::Broker,
            reply_code: 320,
            reply_text,
            cause: (0, 0),
        })
}
