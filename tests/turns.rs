//! What a turn of the loop reads and writes, counted exactly: no more system calls than it takes, and
//! no more of them for one connection than for another.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use haypile::protocol::FrameKind;
use haypile::{
    BasicProperties, Channel, ConnectionCallbacks, Counters, Delivery, Result, Services, basic,
};
use support::peers::{Peer, Wire, delivery};
use support::{Host, every_host, on_channel};

every_host!(
    a_round_trip_is_one_read_and_one_write,
    acknowledgements_leave_in_one_write_for_each_read,
    a_connection_that_is_flooded_is_read_once_a_turn,
);

const TAG: &str = "c";

/// Opens the connection, a channel, and a consumer on it.
fn serve_consumer(wire: &mut Wire) {
    wire.open();
    wire.grant("channel.open");
    wire.grant("basic.consume");
}

/// Starts that consumer.
fn consume(
    channel: &Channel,
    no_ack: bool,
    on_message: impl FnMut(&Channel, &Delivery<'_>) + 'static,
    then: impl FnOnce(&Channel) + 'static,
) {
    let consume = basic::Consume { consumer_tag: TAG.into(), no_ack, ..Default::default() };
    let started = |channel: &Channel, started: Result<basic::ConsumeOk<'static>>| {
        started.expect("consuming");
        then(channel);
    };
    channel.basic_consume(consume, on_message, started).expect("the channel is open");
}

/// System calls that have read and written.
fn calls(channel: &Channel) -> (u64, u64) {
    let Counters { reads, writes, .. } = channel.connection().counters();
    (reads, writes)
}

fn a_round_trip_is_one_read_and_one_write<H: Host>() {
    const ROUNDS: u64 = 200;
    let peer = Peer::new(|wire| {
        serve_consumer(wire);
        let mut tag = 0;
        while let Some(frame) = wire.frame() {
            if frame.kind == FrameKind::Body {
                tag += 1;
                wire.send(delivery(frame.channel, TAG, tag, frame.payload()));
            }
            if wire.answer(&frame) {
                return;
            }
        }
    });
    fn ask(channel: &Channel) {
        let to = basic::Publish::default();
        channel.basic_publish(to, &BasicProperties::default(), &[7; 100]).expect("open");
    }
    let host = H::new();
    let counted = Rc::new(Cell::new(None));
    let result = Rc::clone(&counted);
    on_channel(&host, peer.parameters(), move |channel| {
        let mut before = (0, 0);
        let on_message = move |channel: &Channel, delivery: &Delivery<'_>| {
            let (reads, writes) = calls(channel);
            match delivery.delivery_tag() {
                1 => before = (reads, writes),
                tag if tag == ROUNDS + 1 => {
                    result.set(Some((reads - before.0, writes - before.1)));
                    return channel.connection().close(200, "counted").expect("open");
                }
                _ => {}
            }
            ask(channel);
        };
        consume(channel, true, on_message, ask);
    });
    assert_eq!(counted.get(), Some((ROUNDS, ROUNDS)));
    peer.join();
}

fn acknowledgements_leave_in_one_write_for_each_read<H: Host>() {
    const MESSAGES: u64 = 500;
    let peer = Peer::new(|wire| {
        serve_consumer(wire);
        let all: Vec<u8> =
            (1..=MESSAGES).flat_map(|tag| delivery(1, TAG, tag, &[7; 100])).collect();
        wire.send(all);
        for _ in 0..MESSAGES {
            wire.expect("basic.ack");
        }
        wire.send(delivery(1, TAG, MESSAGES + 1, b"last"));
        wire.obey();
    });
    let host = H::new();
    let counted = Rc::new(Cell::new((0, 0)));
    let result = Rc::clone(&counted);
    on_channel(&host, peer.parameters(), move |channel| {
        let mut before = None;
        let on_message = move |channel: &Channel, delivery: &Delivery<'_>| {
            let (reads, writes) = calls(channel);
            // The read that brought the first was before it.
            let before = *before.get_or_insert((reads - 1, writes));
            let delivery_tag = delivery.delivery_tag();
            if delivery_tag <= MESSAGES {
                let ack = basic::Ack { delivery_tag, multiple: false };
                return channel.basic_ack(ack).expect("open");
            }
            // But for the read that brought the last.
            result.set((reads - before.0 - 1, writes - before.1));
            channel.connection().close(200, "counted").expect("open");
        };
        consume(channel, false, on_message, |_| {});
    });
    let (reads, writes) = counted.get();
    println!("{MESSAGES} deliveries acknowledged: {reads} reads, {writes} writes");
    assert_eq!(writes, reads);
    assert!(reads <= MESSAGES / 10, "they came one by one: that shows nothing");
    peer.join();
}

/// A peer that sends messages without end, until it is told to stop.
fn flood(stop: &Arc<AtomicBool>) -> Peer {
    let stop = Arc::clone(stop);
    Peer::new(move |wire| {
        serve_consumer(wire);
        let some = delivery(1, TAG, 1, &[7; 1000]).repeat(1000);
        while !stop.load(Ordering::Relaxed) {
            wire.send(&some);
        }
        wire.obey();
    })
}

/// Calls `look` once in each turn, until it says that it has seen enough.
fn each_turn(services: Services, mut look: impl FnMut() -> bool + 'static) {
    let next = services.clone();
    services.add_callback(move || {
        if look() {
            each_turn(next, look);
        }
    });
}

/// At most. Async runtimes have many turns between two looks at their descriptors.
fn a_connection_that_is_flooded_is_read_once_a_turn<H: Host>() {
    /// So many of the connection that has less.
    const READS: u64 = 50;
    const READ_BUFFER: u64 = 256 * 1024;
    let stop_flood = Arc::new(AtomicBool::new(false));
    let peers = [flood(&stop_flood), flood(&stop_flood)];
    let host = H::new();
    let channels = Rc::new(RefCell::new(Vec::<Channel>::new()));
    let closed = Rc::new(Cell::new(0));
    for peer in &peers {
        let (started, closed, stop) = (Rc::clone(&channels), Rc::clone(&closed), host.stopper());
        let (services, stop_flood) = (host.services().clone(), Arc::clone(&stop_flood));
        let callbacks = ConnectionCallbacks::new()
            .on_open(|connection| {
                let opened = |channel: &Channel, opened: Result<()>| {
                    opened.expect("the channel opens");
                    consume(
                        channel,
                        true,
                        |_, _| {},
                        move |channel| {
                            started.borrow_mut().push(channel.clone());
                            if started.borrow().len() == 2 {
                                watch(services, started, stop_flood);
                            }
                        },
                    );
                };
                connection.channel(None, opened).expect("the connection is open");
            })
            .on_close(move |_, _| {
                closed.set(closed.get() + 1);
                if closed.get() == 2 {
                    stop();
                }
            });
        drop(host.connect(peer.parameters(), callbacks));
    }

    /// Looks at both in each turn, and closes them after the last.
    fn watch(services: Services, channels: Rc<RefCell<Vec<Channel>>>, stop: Arc<AtomicBool>) {
        let channels = channels.take();
        let connections = channels.iter().map(Channel::connection).collect::<Vec<_>>();
        let counters = move || [0, 1].map(|at: usize| channels[at].connection().counters());
        // The turn under way is not counted: the descriptors that are ready with it come before the
        // next, or after.
        let (mut since, mut turns) = (None, 0);
        each_turn(services.clone(), move || {
            let now = counters();
            let (first, last) = since.unwrap_or((now, now));
            since = Some((first, now));
            for (now, last) in now.iter().zip(&last) {
                assert!(
                    now.reads - last.reads <= 1,
                    "{} reads in turn {turns}",
                    now.reads - last.reads
                );
                assert!(now.bytes_received - last.bytes_received <= READ_BUFFER);
            }
            turns += 1;
            let reads = [0, 1].map(|at: usize| now[at].reads - first[at].reads);
            // Neither lives at the cost of the other.
            assert!(reads[0].max(reads[1]) < 20 * READS, "{reads:?} reads in {turns} turns");
            if reads[0].min(reads[1]) < READS {
                return true;
            }
            println!("{reads:?} reads in {turns} turns");
            stop.store(true, Ordering::Relaxed);
            connections.iter().for_each(support::close);
            false
        });
    }
    host.run();
    peers.into_iter().for_each(Peer::join);
}
