//! Futures that are dropped harm nothing.

use haypile::futures::AsyncChannel;
use haypile::{BasicProperties, basic, queue};

use crate::support::{Host, broker, every_host};
use crate::task::{
    block_on, connect, connect_with_channel, consume, look_at, own_queue, poll, publish, to,
    until_queue_has,
};

every_host!(
    replies_of_dropped_requests_are_taken_off,
    a_channel_that_opens_for_nobody_is_closed,
    a_message_fetched_for_nobody_goes_back,
    a_consumer_that_starts_for_nobody_is_cancelled,
    a_dropped_consumer_is_cancelled_and_gives_back_what_was_not_taken,
    a_dropped_consumer_without_acknowledgements_leaves_its_channel_open,
    a_dropped_confirmation_leaves_the_others,
    a_next_that_is_dropped_takes_no_message,
);

fn replies_of_dropped_requests_are_taken_off<H: Host>() {
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    let named = |name: &str| {
        let queue = format!("futures-{}-{name}", H::NAME).into();
        queue::Declare { queue, exclusive: true, ..Default::default() }
    };
    // Before it was sent; when it was polled; in the midst of others; when it has been answered.
    drop(channel.queue_declare(named("one")));
    let mut polled = channel.queue_declare(named("two"));
    assert!(poll(&mut polled).is_pending());
    let third = channel.queue_declare(named("three"));
    drop(polled);
    let fourth = channel.queue_declare(named("four"));
    let fifth = channel.queue_declare(named("five"));
    let declared = block_on(&host, third).expect("it is declared");
    assert_eq!(declared.queue, named("three").queue);
    let declared = block_on(&host, fifth).expect("it is declared");
    assert_eq!(declared.queue, named("five").queue);
    drop(fourth);
    // Each was made all the same.
    for name in ["one", "two", "three", "four", "five"] {
        assert_eq!(block_on(&host, look_at(&channel, &named(name).queue)), (0, 0));
    }
    assert!(channel.is_open());
}

async fn until_channels_are(channel: &AsyncChannel, count: usize) {
    while channel.connection().counters().channels != count {
        own_queue(channel).await;
    }
}

fn a_channel_that_opens_for_nobody_is_closed<H: Host>() {
    let host = H::new();
    let connection = connect(&host, broker());
    drop(connection.open_channel());
    let mut polled = connection.open_channel();
    assert!(poll(&mut polled).is_pending());
    let ready = connection.open_channel();
    let channel = block_on(&host, connection.open_channel()).expect("the fourth");
    assert_eq!(channel.channel_number(), 4);
    drop(polled);
    block_on(&host, until_channels_are(&channel, 2));
    // That one is open by now, and nobody has looked.
    drop(ready);
    block_on(&host, until_channels_are(&channel, 1));
    let next = block_on(&host, connection.open_channel()).expect("their numbers are free");
    assert_eq!(next.channel_number(), 1);
}

fn a_message_fetched_for_nobody_goes_back<H: Host>() {
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    block_on(&host, async {
        let queue = own_queue(&channel).await;
        let get = |no_ack| channel.basic_get(basic::Get { queue: queue.as_borrowed(), no_ack });
        publish(&channel, &queue, "one");
        until_queue_has(&channel, &queue, (1, 0)).await;
        drop(get(false));
        // One that has come, and that nobody has looked at.
        until_queue_has(&channel, &queue, (1, 0)).await;
        let came = get(false);
        until_queue_has(&channel, &queue, (0, 0)).await;
        drop(came);
        until_queue_has(&channel, &queue, (1, 0)).await;
        let message = get(false).await.expect("an answer").expect("it is there");
        assert!(message.method().redelivered);
        message.acker().reject(true).expect("the loop is there");
        until_queue_has(&channel, &queue, (1, 0)).await;
        drop(get(true));
        assert_eq!(look_at(&channel, &queue).await, (0, 0), "that one is lost");
    });
    assert!(channel.is_open());
}

fn a_consumer_that_starts_for_nobody_is_cancelled<H: Host>() {
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    block_on(&host, async {
        let queue = own_queue(&channel).await;
        publish(&channel, &queue, "one");
        drop(channel.basic_consume(consume(&queue)));
        until_queue_has(&channel, &queue, (1, 0)).await;
        // One that has started, and that nobody has looked at.
        let started = channel.basic_consume(consume(&queue));
        until_queue_has(&channel, &queue, (0, 1)).await;
        drop(started);
        until_queue_has(&channel, &queue, (1, 0)).await;
    });
    assert!(channel.is_open() && channel.consumer_tags().is_empty());
}

fn a_dropped_consumer_is_cancelled_and_gives_back_what_was_not_taken<H: Host>() {
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    block_on(&host, async {
        let queue = own_queue(&channel).await;
        for number in 0..5 {
            publish(&channel, &queue, &format!("{number}"));
        }
        let mut consumer = channel.basic_consume(consume(&queue)).await.expect("it starts");
        let taken = consumer.next().await.expect("the first");
        until_queue_has(&channel, &queue, (0, 1)).await;
        drop(consumer);
        until_queue_has(&channel, &queue, (4, 0)).await;
        // What was taken is its taker's, now too.
        let delivery_tag = taken.delivery_tag();
        channel.basic_ack(basic::Ack { delivery_tag, multiple: false }).expect("it is open");
        assert_eq!(look_at(&channel, &queue).await, (4, 0));
        let mut consumer = channel.basic_consume(consume(&queue)).await.expect("it starts");
        for number in 1..5 {
            let delivery = consumer.next().await.expect("the others");
            assert_eq!(delivery.body(), format!("{number}").as_bytes(), "in order");
            assert!(delivery.redelivered());
        }
    });
    assert!(channel.is_open());
}

fn a_dropped_consumer_without_acknowledgements_leaves_its_channel_open<H: Host>() {
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    block_on(&host, async {
        let queue = own_queue(&channel).await;
        let no_ack = basic::Consume { no_ack: true, ..consume(&queue) };
        let consumer = channel.basic_consume(no_ack).await.expect("it starts");
        publish(&channel, &queue, "lost");
        while futures_core::Stream::size_hint(&consumer).0 == 0 {
            look_at(&channel, &queue).await;
        }
        drop(consumer);
        until_queue_has(&channel, &queue, (0, 0)).await;
    });
    assert!(channel.is_open());
}

fn a_dropped_confirmation_leaves_the_others<H: Host>() {
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    block_on(&host, async {
        let queue = own_queue(&channel).await;
        drop(channel.confirm_delivery());
        let publish = || channel.publish(to(&queue), &BasicProperties::default(), "x");
        let (first, second, third) = (publish(), publish(), publish());
        drop(second);
        assert!(third.await.expect("it is confirmed").is_acked());
        assert!(first.await.expect("it is confirmed").is_acked());
        let summary = channel.wait_for_confirms().await.expect("all are confirmed");
        assert_eq!(summary.acked, 3, "the one that nobody waits for was published too");
    });
}

fn a_next_that_is_dropped_takes_no_message<H: Host>() {
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    let queue = block_on(&host, own_queue(&channel));
    let mut consumer = block_on(&host, channel.basic_consume(consume(&queue))).expect("it starts");
    {
        let mut next = Box::pin(consumer.next());
        assert!(poll(&mut next).is_pending());
        publish(&channel, &queue, "one");
        while channel.connection().counters().messages_received == 0 {
            block_on(&host, look_at(&channel, &queue));
        }
    }
    let delivery = block_on(&host, consumer.next()).expect("it is still there");
    assert_eq!(delivery.body(), b"one");
}
