//! Consumers as streams.

use std::pin::Pin;
use std::task::{Context, Waker};

use futures_core::Stream;
use haypile::futures::ConsumerEnd;
use haypile::{BasicProperties, Error, Misuse, Party, basic, queue};

use crate::support::{Host, broker, every_host, logs};
use crate::task::{
    block_on, connect_with_channel, consume, look_at, own_queue, publish, until_queue_has,
};

every_host!(
    messages_come_in_order,
    no_more_waits_than_the_prefetch,
    a_stream_ends_when_it_is_cancelled,
    a_stream_ends_when_the_broker_cancels_it,
    a_stream_ends_with_its_channel,
    a_tag_can_be_used_again,
    a_consumer_that_is_refused_says_so,
    it_is_a_stream_of_futures_core,
);

fn messages_come_in_order<H: Host>() {
    const MESSAGES: usize = 1_000;
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    block_on(&host, async {
        let queue = own_queue(&channel).await;
        channel.basic_qos(basic::Qos { prefetch_count: 10, ..Default::default() }).await?;
        let mut consumer = channel.basic_consume(consume(&queue)).await?;
        let properties =
            BasicProperties { content_type: Some("text/plain".into()), ..Default::default() };
        for number in 0..MESSAGES {
            channel.writable().await?;
            let to = basic::Publish { routing_key: queue.as_borrowed(), ..Default::default() };
            channel.basic_publish(to, &properties, format!("{number}"))?;
        }
        for number in 0..MESSAGES {
            let delivery = consumer.next().await.expect("one more");
            assert_eq!(delivery.body(), format!("{number}").as_bytes());
            assert_eq!(delivery.consumer_tag(), consumer.consumer_tag());
            assert_eq!(*delivery.routing_key(), queue);
            let properties = delivery.properties().expect("they can be decoded");
            assert_eq!(properties.content_type.expect("it has one"), "text/plain");
            if number % 2 == 0 {
                let delivery_tag = delivery.delivery_tag();
                channel.basic_ack(basic::Ack { delivery_tag, multiple: false })?;
            } else {
                delivery.acker().ack()?;
            }
        }
        assert_eq!(consumer.end(), None);
        Ok::<_, Error>(())
    })
    .expect("all goes well");
}

fn no_more_waits_than_the_prefetch<H: Host>() {
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    block_on(&host, async {
        let queue = own_queue(&channel).await;
        for number in 0..50 {
            publish(&channel, &queue, &format!("{number}"));
        }
        channel
            .basic_qos(basic::Qos { prefetch_count: 10, ..Default::default() })
            .await
            .expect("granted");
        let consumer = channel.basic_consume(consume(&queue)).await.expect("it starts");
        until_queue_has(&channel, &queue, (40, 1)).await;
        while consumer.size_hint() != (10, None) {
            look_at(&channel, &queue).await;
        }
        assert_eq!(look_at(&channel, &queue).await, (40, 1));
        assert_eq!(consumer.size_hint(), (10, None));
    });
}

fn a_stream_ends_when_it_is_cancelled<H: Host>() {
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    block_on(&host, async {
        let queue = own_queue(&channel).await;
        let mut consumer = channel.basic_consume(consume(&queue)).await.expect("it starts");
        publish(&channel, &queue, "one");
        while consumer.size_hint().0 == 0 {
            look_at(&channel, &queue).await;
        }
        let consumer_tag = consumer.consumer_tag().clone();
        let cancelled = channel.basic_cancel(basic::Cancel { consumer_tag }).await;
        assert_eq!(cancelled.expect("it is cancelled").consumer_tag, *consumer.consumer_tag());
        let end = ConsumerEnd::Cancelled(Party::Client);
        assert_eq!(consumer.next().await.expect("what came before").body(), b"one");
        assert!(consumer.next().await.is_none());
        assert_eq!(consumer.end(), Some(&end));
        assert!(consumer.next().await.is_none(), "and none after that");
        let consumer_tag = consumer.consumer_tag().clone();
        let again = channel.basic_cancel(basic::Cancel { consumer_tag }).await.unwrap_err();
        assert!(matches!(again, Error::Misuse(Misuse::UnknownConsumerTag(_))), "{again:?}");
        // It was taken, and not acknowledged.
        drop(consumer);
        assert_eq!(look_at(&channel, &queue).await, (0, 0));
    });
    assert!(channel.is_open());
}

fn a_stream_ends_when_the_broker_cancels_it<H: Host>() {
    logs::keep();
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    block_on(&host, async {
        let queue = own_queue(&channel).await;
        let mut consumer = channel.basic_consume(consume(&queue)).await.expect("it starts");
        publish(&channel, &queue, "one");
        until_queue_has(&channel, &queue, (0, 1)).await;
        drop(channel.queue_delete(queue::Delete { queue, ..Default::default() }));
        assert_eq!(consumer.next().await.expect("what came before").body(), b"one");
        assert!(consumer.next().await.is_none());
        assert_eq!(consumer.end(), Some(&ConsumerEnd::Cancelled(Party::Broker)));
        assert!(logs::take().iter().all(|line| !line.starts_with("WARN")), "its stream has told");
    });
    assert!(channel.is_open());
}

fn a_stream_ends_with_its_channel<H: Host>() {
    let host = H::new();
    let (connection, channel) = connect_with_channel(&host, broker());
    block_on(&host, async {
        let queue = own_queue(&channel).await;
        let mut consumer = channel.basic_consume(consume(&queue)).await.expect("it starts");
        let nowhere = basic::Publish { exchange: "no-such-exchange".into(), ..Default::default() };
        channel.basic_publish(nowhere, &Default::default(), "x").expect("it is open");
        assert!(consumer.next().await.is_none());
        let Some(ConsumerEnd::Channel(cause)) = consumer.end() else {
            panic!("{:?}", consumer.end())
        };
        assert!(matches!(cause, Error::ChannelClosed(it) if it.reply_code == 404), "{cause}");
        assert_eq!(*cause, channel.closed().await);

        let channel = connection.open_channel().await.expect("another one");
        let mut consumer = channel.basic_consume(consume(&queue)).await.expect("it starts");
        connection.close(200, "bye").await.expect("it closes");
        assert!(consumer.next().await.is_none());
        let reason = connection.closed().await;
        assert_eq!(consumer.end(), Some(&ConsumerEnd::Channel(reason)));
    });
}

fn a_tag_can_be_used_again<H: Host>() {
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    block_on(&host, async {
        let queue = own_queue(&channel).await;
        let mine = || basic::Consume { consumer_tag: "mine".into(), ..consume(&queue) };
        let first = channel.basic_consume(mine()).await.expect("it starts");
        let refused = channel.basic_consume(mine()).await.unwrap_err();
        assert!(matches!(refused, Error::Misuse(Misuse::ConsumerTagInUse(_))), "{refused:?}");
        assert_eq!(first.end(), None);
        drop(first);
        until_queue_has(&channel, &queue, (0, 0)).await;
        let mut second = channel.basic_consume(mine()).await.expect("it starts");
        publish(&channel, &queue, "one");
        assert_eq!(second.next().await.expect("it comes").body(), b"one");
        channel.queue_delete(queue::Delete { queue, ..Default::default() }).await.expect("granted");
        assert!(second.next().await.is_none());
        assert_eq!(second.end(), Some(&ConsumerEnd::Cancelled(Party::Broker)));
    });
}

fn a_consumer_that_is_refused_says_so<H: Host>() {
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    let refused = block_on(&host, channel.basic_consume(consume(&"no-such-queue".into())));
    let error = refused.unwrap_err();
    assert!(matches!(&error, Error::ChannelClosed(it) if it.reply_code == 404), "{error}");
    let refused = block_on(&host, channel.basic_consume(consume(&"no-such-queue".into())));
    assert_eq!(refused.unwrap_err(), Misuse::ChannelNotOpen.into());
}

fn it_is_a_stream_of_futures_core<H: Host>() {
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    let queue = block_on(&host, own_queue(&channel));
    let mut consumer = block_on(&host, channel.basic_consume(consume(&queue))).expect("it starts");
    let stream: &mut (dyn Stream<Item = haypile::Delivery<'static>> + Unpin) = &mut consumer;
    let polled = Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
}
