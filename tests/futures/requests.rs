//! Every request of a channel as a future, against RabbitMQ.

use haypile::{Error, FieldTable, Misuse, Party, basic, exchange, protocol, queue, tx};

use crate::support::{Host, broker, every_host, logs};
use crate::task::{
    block_on, connect_with_channel, look_at, own_queue, poll, publish, until_queue_has,
};

every_host!(
    every_request_is_answered,
    requests_made_in_a_row_are_answered_in_order,
    a_request_that_closes_its_channel_is_told_why,
    a_channel_is_closed_by_either_side,
    an_end_that_nobody_waits_for_is_logged,
    messages_are_fetched,
);

fn every_request_is_answered<H: Host>() {
    let host = H::new();
    let (connection, channel) = connect_with_channel(&host, broker());
    let names = [1, 2].map(|number| format!("futures-{}-{number}", H::NAME));
    let [name, other] = [&names[0], &names[1]];
    block_on(&host, async {
        channel.basic_qos(basic::Qos { prefetch_count: 3, ..Default::default() }).await?;
        assert!(channel.flow(protocol::channel::Flow { active: true }).await?.active);
        for name in &names {
            let auto_delete = true;
            let declare = exchange::Declare {
                exchange: name.into(),
                exchange_type: "fanout".into(),
                auto_delete,
                ..Default::default()
            };
            channel.exchange_declare(declare).await?;
        }
        let (destination, source, arguments) = (name.into(), other.into(), FieldTable::new());
        let bind = exchange::Bind { destination, source, routing_key: "".into(), arguments };
        channel.exchange_bind(bind.clone()).await?;
        let queue = own_queue(&channel).await;
        let bind_queue =
            queue::Bind { queue: queue.as_borrowed(), exchange: name.into(), ..Default::default() };
        channel.queue_bind(bind_queue).await?;
        publish(&channel, &queue, "one");
        until_queue_has(&channel, &queue, (1, 0)).await;
        let purged = channel.queue_purge(queue::Purge { queue: queue.as_borrowed() }).await?;
        assert_eq!(purged.message_count, 1);
        channel.basic_recover(basic::Recover { requeue: true }).await?;
        let exchange::Bind { destination, source, routing_key, arguments } = bind;
        let unbind = exchange::Unbind { destination, source, routing_key, arguments };
        channel.exchange_unbind(unbind).await?;
        let unbind_queue = queue::Unbind {
            queue: queue.as_borrowed(),
            exchange: name.into(),
            ..Default::default()
        };
        channel.queue_unbind(unbind_queue).await?;
        channel.queue_delete(queue::Delete { queue, ..Default::default() }).await?;
        for name in &names {
            let delete = exchange::Delete { exchange: name.into(), ..Default::default() };
            channel.exchange_delete(delete).await?;
        }
        let channel = connection.open_channel().await?;
        channel.tx_select(tx::Select {}).await?;
        channel.tx_commit(tx::Commit {}).await?;
        channel.tx_rollback(tx::Rollback {}).await?;
        channel.close(200, "bye").await?;
        connection.close(200, "bye").await
    })
    .expect("each is granted");
}

fn requests_made_in_a_row_are_answered_in_order<H: Host>() {
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    let names: Vec<_> = (0..20).map(|number| format!("futures-{}-row-{number}", H::NAME)).collect();
    let replies: Vec<_> = names
        .iter()
        .map(|name| {
            let queue = name.into();
            channel.queue_declare(queue::Declare { queue, exclusive: true, ..Default::default() })
        })
        .collect();
    let writes = channel.connection().counters().writes;
    // Awaited in another order than they were made.
    for (name, reply) in names.iter().zip(replies).rev() {
        let declared = block_on(&host, reply).expect("it is declared");
        assert_eq!(declared.queue, name.as_str());
    }
    assert!(channel.connection().counters().writes > writes, "nothing left before the loop ran");
}

fn a_request_that_closes_its_channel_is_told_why<H: Host>() {
    let host = H::new();
    let (connection, channel) = connect_with_channel(&host, broker());
    let missing =
        || queue::Declare { queue: "no-such-queue".into(), passive: true, ..Default::default() };
    let behind = channel.queue_declare(missing());
    let closed = channel.closed();
    let error = block_on(&host, channel.queue_declare(missing())).unwrap_err();
    let Error::ChannelClosed(reason) = &error else { panic!("{error:?}") };
    assert_eq!((reason.by, reason.reply_code), (Party::Broker, 404));
    assert_eq!(block_on(&host, behind).unwrap_err(), error);
    assert_eq!(block_on(&host, closed), error);
    let refused = Error::from(Misuse::ChannelNotOpen);
    assert_eq!(block_on(&host, channel.queue_declare(missing())).unwrap_err(), refused);
    assert_eq!(block_on(&host, channel.writable()).unwrap_err(), error);
    assert!(connection.is_open());
    assert!(block_on(&host, connection.open_channel()).is_ok());
}

fn a_channel_is_closed_by_either_side<H: Host>() {
    let host = H::new();
    let (connection, channel) = connect_with_channel(&host, broker());
    let mut closed = channel.closed();
    assert!(poll(&mut closed).is_pending());
    assert_eq!(block_on(&host, channel.close(200, "bye")), Ok(()));
    let reason = block_on(&host, closed);
    assert!(matches!(&reason, Error::ChannelClosed(it) if it.by == Party::Client), "{reason}");
    assert_eq!(block_on(&host, channel.closed()), reason, "later, too");

    // The broker is faster than the user.
    let channel = block_on(&host, connection.open_channel()).expect("another one");
    let nowhere = basic::Publish { exchange: "no-such-exchange".into(), ..Default::default() };
    channel.basic_publish(nowhere, &Default::default(), "x").expect("it is open");
    let error = block_on(&host, channel.close(200, "bye")).unwrap_err();
    assert!(matches!(&error, Error::ChannelClosed(it) if it.reply_code == 404), "{error}");
}

fn an_end_that_nobody_waits_for_is_logged<H: Host>() {
    logs::keep();
    let host = H::new();
    let (connection, channel) = connect_with_channel(&host, broker());
    for is_awaited in [false, true] {
        let doomed = block_on(&host, connection.open_channel()).expect("it opens");
        logs::take();
        let closed = is_awaited.then(|| doomed.closed());
        let nowhere = basic::Publish { exchange: "no-such-exchange".into(), ..Default::default() };
        doomed.basic_publish(nowhere, &Default::default(), "x").expect("it is open");
        while !doomed.is_closed() {
            block_on(&host, own_queue(&channel));
        }
        let is_logged = logs::take().iter().any(|line| line.contains("no-such-exchange"));
        assert_eq!(is_logged, !is_awaited);
        drop(closed);
    }
}

fn messages_are_fetched<H: Host>() {
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    block_on(&host, async {
        let queue = own_queue(&channel).await;
        let get = || basic::Get { queue: queue.as_borrowed(), no_ack: false };
        assert!(channel.basic_get(get()).await.expect("an answer").is_none());
        publish(&channel, &queue, "one");
        let message = loop {
            if let Some(message) = channel.basic_get(get()).await.expect("an answer") {
                break message;
            }
        };
        assert_eq!(message.body(), b"one");
        let delivery_tag = message.method().delivery_tag;
        channel.basic_ack(basic::Ack { delivery_tag, multiple: false }).expect("it is open");
        assert_eq!(look_at(&channel, &queue).await, (0, 0));
    });
}
