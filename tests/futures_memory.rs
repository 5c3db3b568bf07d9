//! What futures take of memory, and that they give it back. A program of its own, since a log that is
//! kept, as others do, takes memory too.
#![cfg(feature = "futures")]

mod support;
#[path = "futures/task.rs"]
mod task;

use haypile::{BasicProperties, basic};

use support::allocations::{Allocations, Counting};
use support::{Host, broker, every_host};
use task::{block_on, connect_with_channel, consume, own_queue, poll, publish, to};

every_host!(
    futures_that_were_dropped_leave_nothing,
    a_poll_allocates_nothing,
    a_message_takes_few_allocations,
);

#[global_allocator]
static COUNTING: Counting = Counting;

fn futures_that_were_dropped_leave_nothing<H: Host>() {
    const ROUNDS: usize = 50;
    let host = H::new();
    let (connection, channel) = connect_with_channel(&host, broker());
    block_on(&host, channel.confirm_delivery()).expect("granted");
    let queue = block_on(&host, own_queue(&channel));
    let round = || {
        block_on(&host, async {
            drop(connection.opened().await);
            drop((connection.opened(), connection.closed(), channel.closed(), channel.writable()));
            let mut polled = (connection.closed(), channel.closed(), channel.writable());
            let _ = (poll(&mut polled.0), poll(&mut polled.1), poll(&mut polled.2));
            drop(polled);
            drop(channel.queue_purge(haypile::queue::Purge { queue: queue.as_borrowed() }));
            drop(channel.publish(to(&queue), &BasicProperties::default(), "x"));
            drop(channel.wait_for_confirms());
            drop(channel.basic_get(basic::Get { queue: queue.as_borrowed(), no_ack: false }));
            drop(channel.basic_consume(consume(&queue)));
            let mut consumer = channel.basic_consume(consume(&queue)).await.expect("it starts");
            publish(&channel, &queue, "one");
            drop(consumer.next().await);
            drop(consumer);
            connection.open_channel().await.expect("it opens").close(200, "bye").await
        })
        .expect("it closes");
        // All that was abandoned has come to its end.
        block_on(&host, async {
            channel.basic_recover(basic::Recover { requeue: true }).await.expect("granted");
            let purge = haypile::queue::Purge { queue: queue.as_borrowed() };
            channel.queue_purge(purge).await.expect("granted");
        });
    };
    (0..ROUNDS).for_each(|_| round());
    let before = Allocations::now();
    (0..ROUNDS).for_each(|_| round());
    let after = Allocations::now();
    let grown = after.live - before.live;
    println!("{ROUNDS} rounds, {} allocations: {grown} bytes more", after.count - before.count);
    if !H::FREES_ELSEWHERE {
        assert!(grown < 2_000, "{grown} bytes");
    }
}

fn a_poll_allocates_nothing<H: Host>() {
    let host = H::new();
    let (connection, channel) = connect_with_channel(&host, broker());
    let queue = block_on(&host, own_queue(&channel));
    let mut consumer = block_on(&host, channel.basic_consume(consume(&queue))).expect("it starts");
    let mut reply = channel.basic_qos(basic::Qos::default());
    let (mut closed, mut ended) = (connection.closed(), channel.closed());
    let mut next = Box::pin(consumer.next());
    let mut poll_all = || {
        assert!(poll(&mut reply).is_pending() && poll(&mut closed).is_pending());
        assert!(poll(&mut ended).is_pending() && poll(&mut next).is_pending());
    };
    poll_all(); // the first notes who waits
    let before = Allocations::now().count;
    (0..100).for_each(|_| poll_all());
    assert_eq!(Allocations::now().count - before, 0);
    // That is a new one each time, which itself is one.
    (0..100).for_each(|_| assert!(poll(&mut channel.writable()).is_ready()));
    let count = Allocations::now().count - before;
    assert!(count <= 100, "{count} allocations");
}

/// What the documentation of a `Consumer` says.
fn a_message_takes_few_allocations<H: Host>() {
    const MESSAGES: u64 = 1_000;
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    let queue = block_on(&host, own_queue(&channel));
    let mut consumer = block_on(&host, channel.basic_consume(consume(&queue))).expect("it starts");
    let mut each = |messages: u64| {
        for _ in 0..messages {
            publish(&channel, &queue, "a small message");
        }
        let mut taken = Vec::with_capacity(messages as usize);
        let mut counters = (channel.connection().counters().reads, Allocations::now().count);
        counters = block_on(&host, async {
            for _ in 0..messages {
                taken.push(consumer.next().await.expect("one more"));
            }
            let last = taken.last().expect("the last").delivery_tag();
            channel.basic_ack(basic::Ack { delivery_tag: last, multiple: true }).expect("open");
            let now = (channel.connection().counters().reads, Allocations::now().count);
            (now.0 - counters.0, now.1 - counters.1)
        });
        counters
    };
    each(2 * MESSAGES);
    let (reads, allocations) = each(MESSAGES);
    println!("{MESSAGES} messages: {allocations} allocations in {reads} reads");
    // Waking and waiting cost some for each read, whatever the loop.
    let others = reads * (8 + H::ALLOCATES);
    assert!(allocations <= 4 * MESSAGES + others, "{allocations} allocations in {reads} reads");
}
