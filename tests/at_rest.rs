//! What a connection takes of memory while nothing happens on it, in bytes that the loop's thread
//! holds: however many there are of it, of its channels and consumers, and after whatever burst.

mod support;

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use haypile::protocol::{self, FrameKind, Method, encode_heartbeat};
use haypile::{
    Channel, Connection, ConnectionCallbacks, ConnectionParameters, Counters, Delivery, Error,
    Heartbeat, Result, basic, queue,
};
use support::allocations::{Allocations, Counting};
use support::peers::{self, Peer, Wire};
use support::{Host, broker, every_host};

every_host!(
    an_idle_connection_takes_little,
    a_channel_takes_little,
    a_consumer_takes_little,
    heartbeats_touch_no_heap,
    a_call_that_sends_nothing_keeps_no_buffer,
    a_burst_of_publishes_leaves_nothing,
    a_burst_of_confirms_leaves_little,
    a_burst_of_deliveries_leaves_nothing,
    a_burst_of_acknowledgements_out_of_order_leaves_nothing,
    a_burst_of_requests_leaves_nothing,
    a_burst_of_failures_leaves_nothing,
    a_burst_of_channels_leaves_nothing,
    a_burst_of_consumers_leaves_nothing,
);

#[global_allocator]
static COUNTING: Counting = Counting;

fn live() -> isize {
    Allocations::now().live
}

/// Runs the loop until what `start` begins calls what it is given, and on until nothing is left
/// to do.
fn until<H: Host>(host: &H, start: impl FnOnce(Rc<dyn Fn()>)) {
    start(host.stopper());
    host.run();
    for _ in 0..3 {
        let stop = host.stopper();
        host.services().add_callback(move || stop());
        host.run();
    }
}

fn connect<H: Host>(host: &H, parameters: ConnectionParameters) -> Connection {
    let open = Rc::new(OnceCell::new());
    until(host, |done| {
        let (note, ended) = (Rc::clone(&open), Rc::clone(&done));
        let callbacks = ConnectionCallbacks::new()
            .on_open(move |connection| {
                note.set(connection.clone()).expect("it opens once");
                done();
            })
            .on_close(move |_, _| ended());
        drop(host.connect(parameters, callbacks));
    });
    open.get().expect("it is open").clone()
}

/// Calls what it holds when all of its clones have been dropped.
#[derive(Clone)]
struct WhenAll(#[expect(dead_code, reason = "it is there to be dropped")] Rc<Last>);

struct Last(Rc<dyn Fn()>);

impl WhenAll {
    fn are_dropped(done: Rc<dyn Fn()>) -> Self {
        Self(Rc::new(Last(done)))
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn open_channels<H: Host>(host: &H, connection: &Connection, count: usize) -> Vec<Channel> {
    let mut channels = Vec::with_capacity(count);
    until(host, |done| {
        let all = WhenAll::are_dropped(done);
        channels.extend((0..count).map(|_| {
            let part = all.clone();
            let opened = move |_: &Channel, opened: Result<()>| {
                opened.expect("the channel opens");
                drop(part);
            };
            connection.channel(None, opened).expect("it is open")
        }));
    });
    channels
}

/// Starts consumers, half of them by tags of the user's.
fn consume(channel: &Channel, count: usize, done: Rc<dyn Fn()>) {
    let all = WhenAll::are_dropped(done);
    for number in 0..count {
        let tag = if number % 2 == 0 { String::new() } else { format!("consumer {number}") };
        let consume =
            basic::Consume { queue: "idle".into(), consumer_tag: tag.into(), ..Default::default() };
        let part = all.clone();
        let started = move |_: &Channel, started: Result<basic::ConsumeOk<'static>>| {
            started.expect("the consumer starts");
            drop(part);
        };
        channel.basic_consume(consume, |_, _| (), started).expect("it is open");
    }
}

/// How many bytes one of several idle connections takes.
fn one_of_many<H: Host>(parameters: &ConnectionParameters) -> isize {
    const COUNT: isize = 32;
    let host = H::new();
    // With the first come things that the loop shares.
    connect(&host, parameters.clone());
    let before = live();
    (0..COUNT).for_each(|_| drop(connect(&host, parameters.clone())));
    (live() - before) / COUNT
}

fn an_idle_connection_takes_little<H: Host>() {
    let each = one_of_many::<H>(&broker());
    println!("an idle connection: {each} bytes");
    assert!(each < 3500, "{each} bytes");
}

#[cfg(feature = "tls")]
mod over_tls {
    use super::{Host, every_host, one_of_many, support};

    every_host!(an_idle_connection_takes_little);

    fn an_idle_connection_takes_little<H: Host>() {
        let each = one_of_many::<H>(&support::tls::broker());
        println!("an idle connection over TLS: {each} bytes");
        assert!(each < 8192, "{each} bytes");
    }
}

fn a_channel_takes_little<H: Host>() {
    const COUNT: usize = 1000;
    let host = H::new();
    let connection = connect(&host, broker());
    let first = open_channels(&host, &connection, 1);
    let before = live() + (COUNT * size_of::<Channel>()) as isize;
    let channels = open_channels(&host, &connection, COUNT);
    let each = (live() - before) / COUNT as isize;
    println!("a channel: {each} bytes");
    assert!(each < 768, "{each} bytes");
    drop((first, channels));
}

fn a_consumer_takes_little<H: Host>() {
    const COUNT: usize = 1000;
    let host = H::new();
    let connection = connect(&host, broker());
    let channel = open_channels(&host, &connection, 1).remove(0);
    until(&host, |done| {
        let declare =
            queue::Declare { queue: "idle".into(), exclusive: true, ..Default::default() };
        let declared = move |_: &Channel, ok: Result<queue::DeclareOk<'static>>| {
            ok.expect("declared");
            done();
        };
        channel.queue_declare(declare, declared).expect("it is open");
    });
    let before = live();
    until(&host, |done| consume(&channel, COUNT, done));
    let each = (live() - before) / COUNT as isize;
    println!("a consumer: {each} bytes");
    assert!(each < 200, "{each} bytes");
}

fn heartbeats_touch_no_heap<H: Host>() {
    let host = H::new();
    let peer = Peer::new(|wire| {
        wire.open();
        let mut heartbeat = Vec::new();
        encode_heartbeat(&mut heartbeat);
        while let Some(frame) = wire.frame() {
            if frame.kind == FrameKind::Heartbeat {
                wire.send(&heartbeat);
            }
        }
    });
    let mut parameters = peer.parameters();
    parameters.set_heartbeat(Heartbeat::Exactly(1));
    let connection = connect(&host, parameters);
    // Both timers are there before anything is counted.
    let seen = Rc::new(RefCell::new(Vec::with_capacity(2)));
    for (after, stop) in [(1_300, None), (3_300, Some(host.stopper()))] {
        let (seen, connection) = (Rc::clone(&seen), connection.clone());
        host.services().call_later(Duration::from_millis(after), move || {
            seen.borrow_mut().push((Allocations::now().count, connection.counters()));
            stop.iter().for_each(|stop| stop());
        });
    }
    host.run();
    let &[before, after] = &seen.borrow()[..] else { panic!("both timers have fired") };
    let beats = |of: fn(&Counters) -> u64| of(&after.1) - of(&before.1);
    let (sent, received) = (beats(|it| it.frames_sent), beats(|it| it.frames_received));
    assert!(sent >= 3 && received >= 3, "{sent} heartbeats sent, {received} received");
    // A host may allocate by itself for each descriptor and each timer that it is asked to wait for.
    let allocations = after.0 - before.0;
    assert!(allocations <= (sent + received) * 2 * H::ALLOCATES, "{allocations} allocations");
    drop(host);
    peer.join();
}

/// The loop's one buffer for output goes from connection to connection.
fn a_call_that_sends_nothing_keeps_no_buffer<H: Host>() {
    fn burst(channel: &Channel, done: Rc<dyn Fn()>) {
        (0..500).for_each(|_| support::publish(channel, "burst", &[7; 100]));
        ask(channel, move |answered| {
            answered.expect("an answer");
            done();
        });
    }
    let host = H::new();
    let connections = [(); 2].map(|()| connect(&host, broker()));
    let [busy, idle] = connections.each_ref().map(|it| open_channels(&host, it, 1).remove(0));
    until(&host, |done| burst(&busy, done));
    let before = live();
    connections[1].set_request_timeout(None).expect("it is open");
    let unknown = basic::Cancel { consumer_tag: "nobody".into() };
    idle.basic_cancel(unknown, |_, _| ()).expect_err("there is none");
    let beyond = basic::Publish { routing_key: "x".repeat(256).into(), ..Default::default() };
    let refused = idle.basic_publish(beyond, &Default::default(), "");
    refused.expect_err("it is too long");
    until(&host, |done| burst(&busy, done));
    let grown = live() - before;
    assert!(grown < 1024, "{grown} bytes");
}

/// Checks that a connection holds hardly more after a burst on it than before, when it is at rest.
fn leaves_nothing<H: Host>(
    script: impl FnMut(&mut Wire) + Send + 'static,
    burst: impl Fn(&Channel, Rc<dyn Fn()>),
) {
    leaves_less_than::<H>(1024, script, burst);
}

fn leaves_less_than<H: Host>(
    most: isize,
    script: impl FnMut(&mut Wire) + Send + 'static,
    burst: impl Fn(&Channel, Rc<dyn Fn()>),
) {
    const TIMES: usize = 4;
    let host = H::new();
    let peer = Peer::several(TIMES, script);
    // What the loop shares grows to its size in the first of them. How far it does in which is up to
    // how soon the peer reads; what a connection keeps is left each time.
    let mut least = isize::MAX;
    for _ in 0..TIMES {
        let mut parameters = peer.parameters();
        parameters.set_water_marks(0, usize::MAX).expect("no bound");
        let connection = connect(&host, parameters);
        let channel = open_channels(&host, &connection, 1).remove(0);
        let before = live();
        Allocations::watch_most();
        until(&host, |done| burst(&channel, done));
        let left = live() - before;
        println!("{left} bytes are left, of {}", Allocations::now().most - before);
        least = least.min(left);
        assert!(connection.is_open());
        until(&host, |_| support::close(&connection));
    }
    assert!(least < most, "{least} bytes");
    peer.join();
}

fn obey(wire: &mut Wire) {
    wire.open();
    assert!(wire.obey());
}

fn ask(channel: &Channel, then: impl FnOnce(Result<()>) + 'static) {
    let declare = queue::Declare { queue: "burst".into(), ..Default::default() };
    channel.queue_declare(declare, |_, ok| then(ok.map(drop))).expect("it is open");
}

fn a_burst_of_publishes_leaves_nothing<H: Host>() {
    leaves_nothing::<H>(obey, |channel, done| {
        for number in 0..4_000 {
            // Every other goes by reference.
            let size = if number % 2 == 0 { 100 } else { 9_000 };
            support::publish(channel, "burst", vec![7; size]);
        }
        ask(channel, move |answered| {
            answered.expect("an answer");
            done();
        });
    });
}

fn a_burst_of_confirms_leaves_little<H: Host>() {
    const COUNT: u64 = 20_000;
    fn confirm(wire: &mut Wire) {
        wire.open();
        let mut published = 0;
        while let Some(frame) = wire.frame() {
            if wire.answer(&frame) {
                return;
            }
            if frame.kind == FrameKind::Method && frame.method().name() == "basic.publish" {
                published += 1;
                if published == COUNT {
                    let (delivery_tag, multiple) = (COUNT, true);
                    wire.method(frame.channel, &basic::Ack { delivery_tag, multiple });
                }
            }
        }
    }
    // A ring for some hundreds of publishes is kept, lest each batch of these makes another.
    leaves_less_than::<H>(9 * 1024, confirm, |channel, done| {
        let left = Cell::new(COUNT);
        let on_confirm = move |_: &Channel, _: haypile::Confirm<'_>| {
            left.set(left.get() - 1);
            if left.get() == 0 {
                done();
            }
        };
        channel.confirm_delivery(on_confirm, |_, ok| ok.expect("selected")).expect("it is open");
        (0..COUNT).for_each(|_| support::publish(channel, "burst", &[7; 10]));
    });
}

/// A script that sends messages of these sizes to whoever consumes.
fn sends(sizes: impl Fn() -> Vec<usize> + Send + 'static) -> impl FnMut(&mut Wire) + Send {
    move |wire| {
        wire.open();
        while let Some(frame) = wire.frame() {
            if wire.answer(&frame) {
                return;
            }
            if frame.kind != FrameKind::Method {
                continue;
            }
            if let Method::Basic(protocol::basic::Method::Consume(consume)) = frame.method() {
                let tag = consume.consumer_tag.to_string();
                for (number, size) in sizes().into_iter().enumerate() {
                    let body = vec![7; size];
                    wire.send(peers::delivery(frame.channel, &tag, number as u64 + 1, &body));
                }
            }
        }
    }
}

/// Takes so many messages, and cancels.
fn take(
    channel: &Channel,
    count: usize,
    mut on_message: impl FnMut(&Channel, u64) + 'static,
    done: Rc<dyn Fn()>,
) {
    let (mut left, mut done) = (count, Some(done));
    let take = move |channel: &Channel, delivery: &Delivery<'_>| {
        on_message(channel, delivery.delivery_tag());
        left -= 1;
        if left == 0 {
            let done = done.take().expect("no more than were sent");
            let consumer_tag = delivery.consumer_tag().clone().into_owned();
            let cancel = basic::Cancel { consumer_tag };
            channel.basic_cancel(cancel, move |_, _| done()).expect("it is open");
        }
    };
    channel.basic_consume(basic::Consume::default(), take, |_, _| ()).expect("it is open");
}

fn a_burst_of_deliveries_leaves_nothing<H: Host>() {
    // Most reads end within a message: within a small one, or within one that comes in parts.
    const SIZES: [usize; 4] = [100, 3_000, 60_000, 130_000];
    const COUNT: usize = 400;
    let sizes = || SIZES.into_iter().cycle().take(COUNT).collect();
    leaves_nothing::<H>(sends(sizes), |channel, done| {
        let ack = |channel: &Channel, delivery_tag| {
            channel.basic_ack(basic::Ack { delivery_tag, multiple: false }).expect("it is open");
        };
        take(channel, COUNT, ack, done);
    });
}

fn a_burst_of_acknowledgements_out_of_order_leaves_nothing<H: Host>() {
    const COUNT: usize = 10_000;
    leaves_nothing::<H>(sends(|| vec![1; COUNT]), |channel, done| {
        let ack = |channel: &Channel, delivery_tag| {
            if delivery_tag == COUNT as u64 {
                let (even, odd) = ((2..=delivery_tag).step_by(2), (1..delivery_tag).step_by(2));
                for delivery_tag in even.chain(odd) {
                    let ack = basic::Ack { delivery_tag, multiple: false };
                    channel.basic_ack(ack).expect("it is open");
                }
            }
        };
        take(channel, COUNT, ack, done);
    });
}

fn a_burst_of_requests_leaves_nothing<H: Host>() {
    leaves_nothing::<H>(obey, |channel, done| {
        let all = WhenAll::are_dropped(done);
        for _ in 0..2_000 {
            let part = all.clone();
            ask(channel, move |answered| {
                answered.expect("an answer");
                drop(part);
            });
            support::publish(channel, "burst", &[7; 10]);
        }
    });
}

fn a_burst_of_failures_leaves_nothing<H: Host>() {
    fn fail(wire: &mut Wire) {
        wire.open();
        while let Some(frame) = wire.frame() {
            let is_declare =
                frame.kind == FrameKind::Method && frame.method().name() == "queue.declare";
            if is_declare {
                let close = protocol::channel::Close {
                    reply_code: 403,
                    reply_text: "no".into(),
                    class_id: 50,
                    method_id: 10,
                };
                wire.method(frame.channel, &close);
            } else if wire.answer(&frame) {
                return;
            }
        }
    }
    leaves_nothing::<H>(fail, |channel, done| {
        let all = WhenAll::are_dropped(done);
        let opened = move |channel: &Channel, opened: Result<()>| {
            opened.expect("the channel opens");
            for _ in 0..2_000 {
                let part = all.clone();
                ask(channel, move |answered| {
                    assert!(matches!(answered, Err(Error::ChannelClosed(_))), "{answered:?}");
                    drop(part);
                });
            }
        };
        channel.connection().channel(None, opened).expect("it is open");
    });
}

fn a_burst_of_channels_leaves_nothing<H: Host>() {
    leaves_nothing::<H>(obey, |channel, done| {
        let all = WhenAll::are_dropped(done);
        let open = Rc::new(RefCell::new(Vec::new()));
        for _ in 0..2_000 {
            let (part, open) = (all.clone(), Rc::clone(&open));
            let opened = move |channel: &Channel, opened: Result<()>| {
                opened.expect("the channel opens");
                let closed = move |_: &Channel, _: Error| drop(part);
                channel.add_on_close_callback(closed).expect("it is open");
                open.borrow_mut().push(channel.clone());
                if open.borrow().len() == 2_000 {
                    for channel in open.borrow().iter() {
                        channel.close(200, "all were there").expect("it is open");
                    }
                }
            };
            channel.connection().channel(None, opened).expect("it is open");
        }
    });
}

fn a_burst_of_consumers_leaves_nothing<H: Host>() {
    leaves_nothing::<H>(obey, |channel, done| {
        let all = WhenAll::are_dropped(done);
        let tags = (0..2_000).map(|number| {
            let tag = if number % 2 == 0 { String::new() } else { format!("consumer {number}") };
            let consume = basic::Consume { consumer_tag: tag.into(), ..Default::default() };
            channel.basic_consume(consume, |_, _| (), |_, _| ()).expect("it is open")
        });
        for consumer_tag in tags.collect::<Vec<_>>() {
            let part = all.clone();
            let cancelled = move |_: &Channel, cancelled: Result<basic::CancelOk<'static>>| {
                cancelled.expect("an answer");
                drop(part);
            };
            channel.basic_cancel(basic::Cancel { consumer_tag }, cancelled).expect("it is open");
        }
    });
}
