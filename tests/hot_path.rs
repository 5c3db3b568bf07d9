//! What the hot path costs, counted exactly: allocations and writes.
//!
//! The tests share an allocator that counts, so each counts on its own thread only.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use haypile::{
    BasicProperties, Channel, Confirm, ConnectionCallbacks, ConnectionParameters, Counters,
    Delivery, FieldTable, PublishOutcome, Result, basic, queue,
};
use support::allocations::{Allocations, Counting};
use support::{Host, broker, every_host};

every_host!(
    a_hundred_thousand_small_messages_allocate_nothing_each,
    a_hundred_thousand_confirmed_publishes_allocate_nothing_each,
    a_thousand_publishes_leave_in_four_writes
);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Connects, opens a channel, declares a queue, consumes from it, and goes on.
fn consuming<H: Host>(
    parameters: ConnectionParameters,
    no_ack: bool,
    on_message: impl FnMut(&Channel, &Delivery<'_>) + 'static,
    then: impl FnOnce(&Channel, Rc<str>) + 'static,
) {
    let host = H::new();
    let stop = host.stopper();
    let callbacks = ConnectionCallbacks::new()
        .on_open(move |connection| {
            let opened = move |channel: &Channel, opened: Result<()>| {
                opened.expect("the channel opens");
                let declare = queue::Declare { exclusive: true, ..Default::default() };
                let declared = move |channel: &Channel, ok: Result<queue::DeclareOk<'static>>| {
                    let queue: Rc<str> = ok.expect("declared").queue.to_string().into();
                    let name = haypile::ShortStr::from(&*queue).into_owned();
                    let consume = basic::Consume { queue: name, no_ack, ..Default::default() };
                    channel
                        .basic_consume(consume, on_message, move |channel, ok| {
                            ok.expect("consuming");
                            then(channel, queue);
                        })
                        .expect("the channel is open");
                };
                channel.queue_declare(declare, declared).expect("the channel is open");
            };
            connection.channel(None, opened).expect("the connection is open");
        })
        .on_close(move |_, _| stop());
    drop(host.connect(parameters, callbacks));
    host.run();
}

/// What a hundred thousand small messages, out and back, have cost.
struct Cost {
    /// Beside the messages that were kept.
    allocations: u64,
    largest: usize,
    reads: u64,
}

fn small_messages<H: Host>(parameters: ConnectionParameters, no_ack: bool) -> Cost {
    /// Until the buffers have their sizes.
    const WARM_UP: u64 = 20_000;
    const MEASURED: u64 = 100_000;
    const BATCH: u64 = 500;
    const BODY: [u8; 100] = [b'x'; 100];

    #[derive(Clone, Copy, Debug)]
    struct Snapshot {
        allocations: Allocations,
        counters: Counters,
    }
    fn snapshot(channel: &Channel) -> Snapshot {
        Allocations::watch_most();
        Snapshot { allocations: Allocations::now(), counters: channel.connection().counters() }
    }
    fn publish(channel: &Channel, queue: &str) {
        for _ in 0..BATCH {
            let to = basic::Publish { routing_key: queue.into(), ..Default::default() };
            channel.basic_publish(to, &BasicProperties::default(), &BODY).expect("open");
        }
    }

    let kept = Rc::new(RefCell::new(Vec::with_capacity((WARM_UP + MEASURED) as usize / 100)));
    let (keep, mut received) = (Rc::clone(&kept), 0_u64);
    let mut before = None;
    let after = Rc::new(Cell::new(None));
    let (result, to) = (Rc::clone(&after), Rc::new(RefCell::new(Rc::<str>::from(""))));
    let queue = Rc::clone(&to);
    let on_message = move |channel: &Channel, delivery: &Delivery<'_>| {
        received += 1;
        if !no_ack {
            let delivery_tag = delivery.delivery_tag();
            channel.basic_ack(basic::Ack { delivery_tag, multiple: false }).expect("open");
        }
        // What a program keeps is its own: a copy, for a body this small.
        if received.is_multiple_of(100) {
            keep.borrow_mut().push(delivery.to_bytes());
        }
        // The next batch goes out when this one has come back.
        if received.is_multiple_of(BATCH) && received < WARM_UP + MEASURED {
            publish(channel, &queue.borrow());
        }
        if received == WARM_UP {
            before = Some(snapshot(channel));
        }
        if received == WARM_UP + MEASURED {
            let largest = Allocations::now().largest;
            let mut last = snapshot(channel);
            last.allocations.largest = largest;
            result.set(before.map(|before| (before, last)));
            channel.connection().close(200, "measured").expect("open");
        }
    };
    consuming::<H>(parameters, no_ack, on_message, move |channel, queue| {
        to.replace(queue);
        publish(channel, &to.borrow());
    });

    let (before, after) = after.get().expect("the run came to its end");
    let allocations = after.allocations.count - before.allocations.count;
    let reads = after.counters.reads - before.counters.reads;
    let writes = after.counters.writes - before.counters.writes;
    let kept_now = MEASURED / 100;
    println!(
        "{MEASURED} out and back: {allocations} allocations, of which {kept_now} kept messages; \
         {reads} reads, {writes} writes, the largest {} bytes",
        after.allocations.largest
    );
    assert!(reads < MEASURED / 4, "the messages came one by one: that measures nothing");
    // What was kept pins no read buffer: the memory in use has grown by the messages alone.
    let grown = after.allocations.live - before.allocations.live;
    assert!(grown < kept_now as isize * 400, "{grown} bytes for {kept_now} kept messages");
    assert_eq!(kept.borrow().len() as u64, (WARM_UP + MEASURED) / 100);
    // The kept messages are copies, each its own.
    let (allocations, largest) = (allocations - kept_now, after.allocations.largest);
    Cost { allocations, largest, reads }
}

fn a_hundred_thousand_small_messages_allocate_nothing_each<H: Host>() {
    for no_ack in [false, true] {
        let Cost { allocations, largest, reads, .. } = small_messages::<H>(broker(), no_ack);
        // At most one for each read, and there are many messages in a read.
        assert!(
            allocations <= reads * (1 + H::ALLOCATES),
            "{allocations} allocations in {reads} reads"
        );
        assert!(largest < 16 * 1024, "{largest} bytes at once");
    }
}

#[cfg(feature = "tls")]
mod over_tls {
    use super::{Cost, Host, every_host, small_messages, support};

    every_host!(records_allocate_and_messages_do_not);

    fn records_allocate_and_messages_do_not<H: Host>() {
        let Cost { allocations, largest, .. } = small_messages::<H>(support::tls::broker(), false);
        // rustls makes buffers for each record, and the broker makes the records.
        assert!(allocations < 50_000, "{allocations} allocations for 100,000 messages");
        assert!(largest < 17 * 1024, "{largest} bytes at once");
    }
}

fn a_hundred_thousand_confirmed_publishes_allocate_nothing_each<H: Host>() {
    const WARM_UP: u64 = 20_000;
    const MEASURED: u64 = 100_000;
    const BATCH: u64 = 500;

    /// Every other may come back, and is kept in mind by what tells it from others.
    fn publish(channel: &Channel, queue: &str) {
        for number in 0..BATCH {
            let (routing_key, mandatory) = (queue.into(), number % 2 == 0);
            let to = basic::Publish { routing_key, mandatory, ..Default::default() };
            channel.basic_publish(to, &BasicProperties::default(), &[b'x'; 100]).expect("open");
        }
    }

    let counted = Rc::new(Cell::new(None));
    let result = Rc::clone(&counted);
    let host = H::new();
    support::on_channel(&host, broker(), move |channel| {
        // Nobody consumes: only the last few are kept.
        let arguments = FieldTable::new().with("x-max-length", 100).expect("a table");
        let declare = queue::Declare { exclusive: true, arguments, ..Default::default() };
        let declared = |channel: &Channel, ok: Result<queue::DeclareOk<'static>>| {
            let queue = ok.expect("declared").queue.to_string();
            let (to, mut before) = (queue.clone(), (0, 0));
            let on_confirm = move |channel: &Channel, confirm: Confirm<'_>| {
                assert_eq!(confirm.outcome, PublishOutcome::Acked);
                let number = confirm.sequence_number;
                let now = || (Allocations::now().count, channel.connection().counters().reads);
                if number == WARM_UP {
                    before = now();
                }
                if number == WARM_UP + MEASURED {
                    let after = now();
                    result.set(Some((after.0 - before.0, after.1 - before.1)));
                    channel.connection().close(200, "measured").expect("open");
                } else if number.is_multiple_of(BATCH) {
                    publish(channel, &to);
                }
            };
            channel.confirm_delivery(on_confirm, |_, ok| ok.expect("selected")).expect("open");
            publish(channel, &queue);
        };
        channel.queue_declare(declare, declared).expect("open");
    });
    let (allocations, reads) = counted.get().expect("the run came to its end");
    println!("{MEASURED} published and confirmed: {allocations} allocations in {reads} reads");
    assert!(
        allocations <= reads * (1 + H::ALLOCATES),
        "{allocations} allocations in {reads} reads"
    );
    assert!(reads < MEASURED / 4, "the confirms came one by one: that measures nothing");
}

fn a_thousand_publishes_leave_in_four_writes<H: Host>() {
    const MESSAGES: u64 = 1_000;
    let writes = Rc::new(Cell::new((0, 0)));
    let (at_start, at_end) = (Rc::clone(&writes), Rc::clone(&writes));
    let mut received = 0;
    let on_message = move |channel: &Channel, _: &Delivery<'_>| {
        received += 1;
        if received == MESSAGES {
            at_end.set((at_end.get().0, channel.connection().counters().writes));
            channel.connection().close(200, "measured").expect("open");
        }
    };
    consuming::<H>(broker(), false, on_message, move |channel, queue| {
        at_start.set((channel.connection().counters().writes, 0));
        for _ in 0..MESSAGES {
            let to = basic::Publish { routing_key: (&*queue).into(), ..Default::default() };
            channel.basic_publish(to, &BasicProperties::default(), &[7; 100]).expect("open");
        }
    });
    let (before, after) = writes.get();
    println!("{MESSAGES} publishes: {} writes", after - before);
    assert!((1..=4).contains(&(after - before)), "{} writes", after - before);
}
