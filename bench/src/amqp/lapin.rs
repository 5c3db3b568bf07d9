//! lapin, on a current-thread tokio.

use std::collections::VecDeque;
use std::future::Future;

use futures_lite::StreamExt;
use futures_util::future::join_all;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer, PublisherConfirm,
};

use super::job::{Job, Work};
use crate::Result;
use crate::outcome::{Outcome, Timing};

/// Each call awaited before the next.
pub fn plain(work: &Work) -> Result<Option<Outcome>> {
    run(work, false)
}

/// A thousand futures at once.
pub fn batched(work: &Work) -> Result<Option<Outcome>> {
    match work.job {
        Job::Publish | Job::Confirm => run(work, true),
        // There is nothing to batch.
        Job::Consume | Job::ConsumeAck | Job::Rpc => Ok(None),
    }
}

fn run(work: &Work, batched: bool) -> Result<Option<Outcome>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let url = format!("amqp://guest:guest@{}:{}/%2f", work.host, work.port);
        let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let outcome = match (work.job, batched) {
            (Job::Publish, false) => publish(&channel, work).await,
            (Job::Publish, true) => publish_batched(&channel, work).await,
            (Job::Confirm, false) => confirm(&channel, work).await,
            (Job::Confirm, true) => confirm_batched(&channel, work).await,
            (Job::Consume, _) => consume(&channel, work).await,
            (Job::ConsumeAck, _) => consume_ack(&channel, work).await,
            (Job::Rpc, _) => rpc(&channel, work).await,
        }?;
        Ok(Some(outcome))
    })
}

async fn publish(channel: &Channel, work: &Work) -> lapin::Result<Outcome> {
    let body = vec![b'x'; work.size];
    let timing = Timing::begin();
    for _ in 0..work.messages {
        send(channel, "sink", &body).await?;
    }
    declare(channel).await?;
    Ok(timing.end(work.messages))
}

async fn publish_batched(channel: &Channel, work: &Work) -> lapin::Result<Outcome> {
    let body = vec![b'x'; work.size];
    let timing = Timing::begin();
    let mut left = work.messages;
    while left > 0 {
        let now = left.min(work.window);
        for sent in join_all((0..now).map(|_| send(channel, "sink", &body))).await {
            sent?;
        }
        left -= now;
    }
    declare(channel).await?;
    Ok(timing.end(work.messages))
}

async fn confirm(channel: &Channel, work: &Work) -> lapin::Result<Outcome> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let body = vec![b'x'; work.size];
    let timing = Timing::begin();
    let mut under_way: VecDeque<PublisherConfirm> = VecDeque::new();
    for _ in 0..work.messages {
        if under_way.len() as u64 == work.window
            && let Some(first) = under_way.pop_front()
        {
            first.await?;
        }
        under_way.push_back(send(channel, "sink", &body).await?);
    }
    for one in under_way {
        one.await?;
    }
    declare(channel).await?;
    Ok(timing.end(work.messages))
}

async fn confirm_batched(channel: &Channel, work: &Work) -> lapin::Result<Outcome> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let body = vec![b'x'; work.size];
    let timing = Timing::begin();
    let mut left = work.messages;
    while left > 0 {
        let now = left.min(work.window);
        let confirmed = (0..now).map(|_| async { send(channel, "sink", &body).await?.await });
        for one in join_all(confirmed).await {
            one?;
        }
        left -= now;
    }
    declare(channel).await?;
    Ok(timing.end(work.messages))
}

async fn consume(channel: &Channel, work: &Work) -> lapin::Result<Outcome> {
    let timing = Timing::begin();
    let mut consumer = start_consumer(channel, &work.flood(), true).await?;
    for _ in 0..work.messages {
        if let Some(delivery) = consumer.next().await {
            delivery?;
        }
    }
    declare(channel).await?;
    Ok(timing.end(work.messages))
}

async fn consume_ack(channel: &Channel, work: &Work) -> lapin::Result<Outcome> {
    let prefetch = u16::try_from(work.window).unwrap_or(u16::MAX);
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let timing = Timing::begin();
    let mut consumer = start_consumer(channel, &work.flood(), false).await?;
    for _ in 0..work.messages {
        if let Some(delivery) = consumer.next().await {
            delivery?.ack(BasicAckOptions::default()).await?;
        }
    }
    declare(channel).await?;
    Ok(timing.end(work.messages))
}

async fn rpc(channel: &Channel, work: &Work) -> lapin::Result<Outcome> {
    let mut consumer = start_consumer(channel, "echo", true).await?;
    let body = vec![b'x'; work.size];
    let timing = Timing::begin();
    for _ in 0..work.messages {
        send(channel, "echo", &body).await?;
        if let Some(delivery) = consumer.next().await {
            delivery?;
        }
    }
    Ok(timing.end(work.messages))
}

fn send<'a>(
    channel: &'a Channel,
    routing_key: &'a str,
    body: &'a [u8],
) -> impl Future<Output = lapin::Result<PublisherConfirm>> + 'a {
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    channel.basic_publish("".into(), routing_key.into(), options, body, properties)
}

async fn start_consumer(channel: &Channel, queue: &str, no_ack: bool) -> lapin::Result<Consumer> {
    let options = BasicConsumeOptions { no_ack, ..Default::default() };
    channel.basic_consume(queue.into(), "ctag".into(), options, FieldTable::default()).await
}

async fn declare(channel: &Channel) -> lapin::Result<()> {
    let options = QueueDeclareOptions::default();
    channel.queue_declare("last".into(), options, FieldTable::default()).await?;
    Ok(())
}
