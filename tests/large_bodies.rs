//! What large bodies cost, counted exactly: writes outward, memory inward.

mod support;

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use haypile::{BasicProperties, Channel, Counters, Delivery, Result, basic};
use support::allocations::{Allocations, Counting};
use support::peers::{Peer, delivery};
use support::{Host, broker, every_host, on_channel};

every_host!(
    large_bodies_leave_several_at_once_and_from_where_they_lie,
    a_large_body_that_reads_cut_lies_in_memory_once
);

#[global_allocator]
static COUNTING: Counting = Counting;

const SIZE: usize = 64 * 1024;

fn large_bodies_leave_several_at_once_and_from_where_they_lie<H: Host>() {
    const MESSAGES: u64 = 100;
    let host = H::new();
    let counted = Rc::new(Cell::new(None));
    let result = Rc::clone(&counted);
    on_channel(&host, broker(), move |channel| {
        let body = Bytes::from(vec![7; SIZE]);
        let calls = |channel: &Channel| channel.connection().counters();
        let before = calls(channel);
        Allocations::watch_most();
        let live = Allocations::now().live;
        for _ in 0..MESSAGES {
            // Nobody gets them.
            let to = basic::Publish { routing_key: "nowhere".into(), ..Default::default() };
            channel.basic_publish(to, &BasicProperties::default(), body.clone()).expect("open");
        }
        let copied = Allocations::now().most - live;
        // What is answered behind them was sent behind them.
        support::with_queue(channel, move |channel, _| {
            let Counters { writes, bytes_sent, .. } = calls(channel);
            result.set(Some((writes - before.writes, bytes_sent - before.bytes_sent, copied)));
            support::close(&channel.connection());
        });
    });
    let (writes, bytes, copied) = counted.get().expect("all have left");
    println!("{MESSAGES} publishes of {SIZE} bytes: {writes} writes, {copied} bytes of memory");
    assert!(bytes > MESSAGES * SIZE as u64);
    assert!(writes <= MESSAGES / 2, "{writes} writes");
    assert!(copied < SIZE as isize, "{copied} bytes of memory");
}

fn a_large_body_that_reads_cut_lies_in_memory_once<H: Host>() {
    const MESSAGES: u64 = 50;
    const TAG: &str = "c";
    let peer = Peer::new(|wire| {
        wire.open();
        wire.grant("channel.open");
        wire.grant("basic.consume");
        // In reads of what the client has room for, hardly one of which ends with a message.
        let all = (1..=MESSAGES).flat_map(|tag| delivery(1, TAG, tag, &[tag as u8; SIZE]));
        wire.send(all.collect::<Vec<u8>>());
        wire.obey();
    });
    let host = H::new();
    let received = Rc::new(Cell::new((0, 0)));
    let result = Rc::clone(&received);
    on_channel(&host, peer.parameters(), move |channel| {
        let mut least = isize::MAX;
        let on_message = move |channel: &Channel, delivery: &Delivery<'_>| {
            let number = result.get().0 + 1;
            assert_eq!(delivery.body(), [number as u8; SIZE]);
            if number == 1 {
                Allocations::watch_most();
            }
            // With a message that lies in the read buffer, that is all there is.
            least = least.min(Allocations::now().live);
            result.set((number, Allocations::now().most - least));
            if number == MESSAGES {
                support::close(&channel.connection());
            }
        };
        let consume =
            basic::Consume { consumer_tag: TAG.into(), no_ack: true, ..Default::default() };
        let started = |_: &Channel, started: Result<basic::ConsumeOk<'static>>| {
            started.expect("consuming");
        };
        channel.basic_consume(consume, on_message, started).expect("open");
    });
    let (number, most) = received.get();
    println!("{MESSAGES} messages of {SIZE} bytes: {most} bytes of memory");
    assert_eq!(number, MESSAGES);
    assert!(most < 3 * SIZE as isize / 2, "{most} bytes of memory");
    peer.join();
}
