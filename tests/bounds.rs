//! Bounds on memory, over real sockets (hazard 22): however slow the peer is, what waits for it
//! stays under the high water mark and one message, and nothing is lost or sent twice.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use haypile::protocol::FrameKind;
use haypile::{
    BasicProperties, Channel, Connection, ConnectionCallbacks, Delivery, PublishError, Result,
    basic, queue,
};
use support::allocations::{Allocations, Counting};
use support::peers::Peer;
use support::{Host, Log, broker, every_host};

every_host!(
    a_peer_that_does_not_read_costs_no_more_memory_than_the_mark,
    a_socket_that_is_full_is_not_asked_in_every_turn,
    a_publisher_that_waits_for_room_gets_everything_to_the_broker_once,
    what_never_left_is_counted_in_on_close,
    a_message_that_is_too_large_closes_its_channel_and_is_requeued,
);

#[global_allocator]
static COUNTING: Counting = Counting;

/// Not what a vector that doubles would grow to anyway.
const HIGH: usize = 1_300_000;
const LOW: usize = 256 * 1024;

/// Publishes numbered messages of these sizes in turn, until refused or done.
struct Publisher {
    sizes: &'static [usize],
    next: Cell<usize>,
    count: usize,
    refusals: Cell<usize>,
}

impl Publisher {
    fn new(sizes: &'static [usize], count: usize) -> Rc<Self> {
        Rc::new(Self { sizes, next: Cell::new(0), count, refusals: Cell::new(0) })
    }

    fn size(&self, number: usize) -> usize {
        self.sizes[number % self.sizes.len()]
    }

    /// Gives whether all are published.
    fn publish(&self, channel: &Channel, routing_key: &str) -> bool {
        while self.next.get() < self.count {
            let number = self.next.get();
            let to = basic::Publish { routing_key: routing_key.into(), ..Default::default() };
            let mut body = number.to_be_bytes().to_vec();
            body.resize(self.size(number).max(8), number as u8);
            match channel.basic_publish(to, &BasicProperties::default(), body) {
                Ok(sequence_number) => assert_eq!(sequence_number, number as u64 + 1),
                Err(PublishError::Full) => {
                    self.refusals.set(self.refusals.get() + 1);
                    return false;
                }
                Err(error) => panic!("{error}"),
            }
            self.next.set(number + 1);
        }
        true
    }
}

fn a_peer_that_does_not_read_costs_no_more_memory_than_the_mark<H: Host>() {
    // Bodies that are copied and bodies that go by reference, 66 MB in all; the largest is 100 KB.
    costs_no_more_memory_than_the_mark::<H>(&[100, 1_000, 9_000, 20, 100_000], 3_000);
    // All of what waits is one run of encoded bytes: 20 MB.
    costs_no_more_memory_than_the_mark::<H>(&[1_000], 20_000);
}

fn costs_no_more_memory_than_the_mark<H: Host>(sizes: &'static [usize], all: usize) {
    let (cue, wait) = mpsc::channel();
    let peer = Peer::new(move |wire| {
        wire.open();
        wire.grant("channel.open");
        wait.recv().expect("a cue");
        let (mut number, mut size, mut missing) = (0, 0, 0);
        while number < all || missing > 0 {
            let frame = wire.frame().expect("more");
            match frame.kind {
                FrameKind::Method => assert_eq!(frame.method().name(), "basic.publish"),
                FrameKind::Header => {
                    size = sizes[number % sizes.len()];
                    missing = size;
                }
                FrameKind::Body => {
                    if missing == size {
                        assert_eq!(frame.payload()[..8], number.to_be_bytes(), "in order, once");
                        number += 1;
                    }
                    missing -= frame.payload().len();
                }
                FrameKind::Heartbeat => unreachable!(),
            }
        }
        assert!(wire.obey());
    });

    let host = H::new();
    let mut parameters = peer.parameters();
    parameters.set_water_marks(LOW, HIGH).unwrap();
    let publisher = Publisher::new(sizes, all);
    let (log, stop, services) = (Log::default(), host.stopper(), host.services());
    let (told, writes_on) = (log.clone(), Rc::clone(&publisher));
    let channel = Rc::new(RefCell::new(None::<Channel>));
    let (kept, opened) = (Rc::clone(&channel), Rc::clone(&publisher));
    let callbacks = ConnectionCallbacks::new()
        .on_open(move |connection| {
            let on_channel = move |channel: &Channel, opening: Result<()>| {
                opening.unwrap();
                kept.replace(Some(channel.clone()));
                let before = Allocations::now().live;
                Allocations::watch_most();
                assert!(!opened.publish(channel, ""), "it must be refused");
                // Nobody reads: nothing changes, however often it is tried.
                let (channel, taken) = (channel.clone(), opened.next.get());
                services.call_later(Duration::from_millis(100), move || {
                    assert!(!opened.publish(&channel, ""));
                    let taken = opened.next.get() - taken;
                    assert!(taken < 100, "{taken} more: the kernel's buffers grow, but not so");
                    let most = Allocations::now().most - before;
                    println!("at most {most} bytes of memory for a mark of {HIGH}");
                    assert!(most as usize <= HIGH + HIGH / 4 + 3 * 100_000, "{most} bytes");
                    cue.send(()).expect("the peer waits");
                });
            };
            connection.channel(None, on_channel).expect("it is open");
        })
        .on_writable(move |connection: &Connection| {
            told.add("writable");
            let channel = channel.borrow().clone().expect("it is open");
            if writes_on.publish(&channel, "") {
                connection.close(200, "all is said").expect("it is open");
            }
        })
        .on_close(move |_, reason| {
            assert_eq!(reason.to_string(), "connection closed by this client: (200) all is said");
            stop();
        });
    drop(host.connect(parameters, callbacks));
    host.run();
    peer.join();
    let most = Allocations::now().most;
    assert!(most as usize <= 3 * HIGH, "{most} bytes, with all that else is in this thread");
    let told = log.lines().len();
    assert!((1..publisher.refusals.get()).contains(&told), "{told} times");
}

fn a_socket_that_is_full_is_not_asked_in_every_turn<H: Host>() {
    const TURNS: u64 = 500;
    /// Publishes something in each of so many turns.
    fn in_each_turn(channel: Channel, left: u64, done: impl FnOnce(&Channel) + 'static) {
        if left == 0 {
            return done(&channel);
        }
        support::publish(&channel, "", "small");
        let services = channel.connection().services().expect("the loop runs");
        services.add_callback(move || in_each_turn(channel, left - 1, done));
    }

    let (cue, wait) = mpsc::channel();
    let peer = Peer::new(move |wire| {
        wire.open();
        wire.grant("channel.open");
        wait.recv().expect("a cue");
        assert!(wire.obey());
    });
    let mut parameters = peer.parameters();
    parameters.set_water_marks(0, usize::MAX).unwrap();
    let ended = support::on_channel(&H::new(), parameters, move |channel| {
        let connection = channel.connection();
        // Little waits: much would be written, or not, by the call that makes it.
        while connection.counters().buffered_out == 0 {
            support::publish(channel, "", vec![0; 4096]);
            connection.flush();
        }
        let before = connection.counters().writes;
        in_each_turn(channel.clone(), TURNS, move |channel| {
            let writes = channel.connection().counters().writes - before;
            // The kernel's buffers may have grown a few times.
            assert!(writes < TURNS / 5, "{writes} writes in {TURNS} turns");
            cue.send(()).expect("the peer waits");
            support::close(&channel.connection());
        });
    });
    assert!(matches!(ended, haypile::Error::ConnectionClosed(_)), "{ended}");
    peer.join();
}

fn a_publisher_that_waits_for_room_gets_everything_to_the_broker_once<H: Host>() {
    const SIZES: &[usize] = &[100, 20_000];
    const COUNT: usize = 4_000; // of 40 MB in all
    let host = H::new();
    let mut parameters = broker();
    // Less than what is written before the end of a turn.
    parameters.set_water_marks(8 * 1024, 32 * 1024).unwrap();
    let publisher = Publisher::new(SIZES, COUNT);
    let (received, result) = (Rc::new(Cell::new(0_usize)), Rc::clone(&publisher));
    let count = Rc::clone(&received);
    let ended = support::on_channel(&host, parameters, move |channel| {
        let declare = queue::Declare { exclusive: true, ..Default::default() };
        let declared = move |channel: &Channel, ok: Result<queue::DeclareOk<'static>>| {
            let queue = ok.expect("declared").queue.to_string();
            let consume =
                basic::Consume { queue: (&queue).into(), no_ack: true, ..Default::default() };
            let on_message = move |channel: &Channel, delivery: &Delivery<'_>| {
                let number = count.get();
                assert_eq!(delivery.body()[..8], number.to_be_bytes(), "in order, once");
                count.set(number + 1);
                if number + 1 == COUNT {
                    channel.connection().close(200, "all is here").expect("it is open");
                }
            };
            channel.basic_consume(consume, on_message, |_, ok| drop(ok.unwrap())).unwrap();
            let (again, writer, key) = (Rc::clone(&publisher), channel.clone(), queue.clone());
            let on_writable = move |_: &Connection| {
                again.publish(&writer, &key);
            };
            channel.connection().add_on_writable_callback(on_writable).unwrap();
            publisher.publish(channel, &queue);
        };
        channel.queue_declare(declare, declared).expect("it is open");
    });
    assert_eq!(ended.to_string(), "connection closed by this client: (200) all is here");
    assert_eq!(received.get(), COUNT);
    println!("{} refusals", result.refusals.get());
    assert!(result.refusals.get() > COUNT / 10, "that shows nothing");
}

fn what_never_left_is_counted_in_on_close<H: Host>() {
    const COUNT: u64 = 3_000;
    let (cue, wait) = mpsc::channel();
    let peer = Peer::new(move |wire| {
        wire.open();
        wire.grant("channel.open");
        wait.recv().expect("a cue");
    });
    let host = H::new();
    let mut parameters = peer.parameters();
    parameters.set_water_marks(0, usize::MAX).unwrap();
    // What was sent before the first publish, and how many bytes each is.
    let sizes = Rc::new(Cell::new((0, 0)));
    let (note, stop) = (Rc::clone(&sizes), host.stopper());
    let callbacks = ConnectionCallbacks::new()
        .on_open(move |connection| {
            let opened = move |channel: &Channel, opening: Result<()>| {
                opening.unwrap();
                let connection = channel.connection();
                connection.flush();
                let before = connection.counters();
                for number in 0..COUNT {
                    let to = basic::Publish::default();
                    let body = vec![7; 10_000];
                    channel.basic_publish(to, &BasicProperties::default(), body).unwrap();
                    if number == 0 {
                        let size = connection.counters().buffered_out - before.buffered_out;
                        note.set((before.bytes_sent, size as u64));
                    }
                }
                connection.flush();
                cue.send(()).expect("the peer waits");
            };
            connection.channel(None, opened).expect("it is open");
        })
        .on_close(move |connection, _| {
            let (counters, undelivered) = (connection.counters(), connection.undelivered());
            let (before, size) = sizes.get();
            assert_eq!(counters.messages_published, COUNT);
            let sent = (counters.bytes_sent - before) / size;
            println!("{sent} messages sent, {undelivered:?}");
            assert!(sent > 0 && sent < COUNT, "{sent} of {COUNT}: that shows nothing");
            assert_eq!(undelivered.unsent_messages, COUNT - sent);
            assert_eq!(undelivered.unsent_bytes, before + COUNT * size - counters.bytes_sent);
            assert_eq!(counters.buffered_out as u64, undelivered.unsent_bytes);
            stop();
        });
    drop(host.connect(parameters, callbacks));
    host.run();
    peer.join();
}

fn a_message_that_is_too_large_closes_its_channel_and_is_requeued<H: Host>() {
    const LIMIT: usize = 500_000;
    let host = H::new();
    let mut parameters = broker();
    parameters.set_max_message_size(LIMIT);
    let log = Log::default();
    let told = log.clone();
    let ended = support::on_channel(&host, parameters, move |channel| {
        support::with_queue(channel, move |channel, queue| {
            support::publish(channel, &queue, vec![1; LIMIT]);
            support::publish(channel, &queue, vec![2; LIMIT + 1]);
            let consume = basic::Consume { queue: (&queue).into(), ..Default::default() };
            let taken = told.clone();
            let on_message = move |_: &Channel, delivery: &Delivery<'_>| {
                taken.add(format!("{} bytes", delivery.body().len()));
            };
            channel.basic_consume(consume, on_message, |_, ok| drop(ok.unwrap())).unwrap();
            let on_close = move |channel: &Channel, error| {
                told.add(error);
                // The connection is well.
                let told = told.clone();
                let on_channel = move |channel: &Channel, opened: Result<()>| {
                    opened.unwrap();
                    until_two_wait(channel, queue, told);
                };
                channel.connection().channel(None, on_channel).unwrap();
            };
            channel.add_on_close_callback(on_close).unwrap();
        });
    });
    assert_eq!(ended.to_string(), "connection closed by this client: (200) seen");
    let refused =
        "channel closed by this client: (311) a message of 500001 bytes, the limit is 500000";
    assert_eq!(log.lines(), ["500000 bytes", refused, "2 messages"]);
}

/// Asks how many messages there are until both have come back: the broker takes its time.
fn until_two_wait(channel: &Channel, queue: String, log: Log) {
    let name = queue.as_str().into();
    let declare = queue::Declare { queue: name, passive: true, ..Default::default() };
    let declare = declare.into_owned();
    let counted = move |channel: &Channel, ok: Result<queue::DeclareOk<'static>>| match ok
        .unwrap()
        .message_count
    {
        2 => {
            log.add("2 messages");
            channel.connection().close(200, "seen").unwrap();
        }
        _ => until_two_wait(channel, queue, log),
    };
    channel.queue_declare(declare, counted).unwrap();
}
