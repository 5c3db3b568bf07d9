//! lapin, on a current-thread tokio.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Instant;

use futures_util::future::join_all;
use futures_util::stream::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer, PublisherConfirm,
};

use super::job::{ENDED, Job, Work};
use crate::Result;
use crate::outcome::{Outcome, Samples, Timing};

/// Each call awaited before the next.
pub fn plain(work: &Work) -> Result<Option<Outcome>> {
    run(work, false)
}

/// A thousand futures at once.
pub fn batched(work: &Work) -> Result<Option<Outcome>> {
    match work.job {
        Job::Publish | Job::Confirm | Job::ConsumeAck => run(work, true),
        // There is nothing to batch.
        _ => Ok(None),
    }
}

fn run(work: &Work, batched: bool) -> Result<Option<Outcome>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let connection = Connection::connect(&work.url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let outcome = match (work.job, batched) {
            (Job::Publish, false) => publish(&channel, work).await?,
            (Job::Publish, true) => publish_batched(&channel, work).await?,
            (Job::Confirm, false) => confirm(&channel, work).await?,
            (Job::Confirm, true) => confirm_batched(&channel, work).await?,
            (Job::Consume, _) => consume(&channel, work).await?,
            (Job::ConsumeAck, false) => consume_ack(&channel, work).await?,
            (Job::ConsumeAck, true) => consume_ack_batched(&channel, work).await?,
            (Job::Rpc | Job::LatencyRpc | Job::LatencyPublishDeliver, _) => {
                rpc(&channel, work).await?
            }
        };
        Ok(Some(outcome))
    })
}

async fn publish(channel: &Channel, work: &Work) -> lapin::Result<Outcome> {
    let body = work.body();
    let timing = Timing::begin();
    for _ in 0..work.messages {
        send(channel, work, &body).await?;
    }
    declare(channel, work).await?;
    Ok(timing.end(work.messages))
}

async fn publish_batched(channel: &Channel, work: &Work) -> lapin::Result<Outcome> {
    let body = work.body();
    let timing = Timing::begin();
    let mut left = work.messages;
    while left > 0 {
        let now = left.min(work.window);
        for sent in join_all((0..now).map(|_| send(channel, work, &body))).await {
            sent?;
        }
        left -= now;
    }
    declare(channel, work).await?;
    Ok(timing.end(work.messages))
}

async fn confirm(channel: &Channel, work: &Work) -> lapin::Result<Outcome> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let body = work.body();
    let timing = Timing::begin();
    let mut under_way: VecDeque<PublisherConfirm> = VecDeque::new();
    for _ in 0..work.messages {
        if under_way.len() as u64 == work.window
            && let Some(first) = under_way.pop_front()
        {
            first.await?;
        }
        under_way.push_back(send(channel, work, &body).await?);
    }
    for one in under_way {
        one.await?;
    }
    declare(channel, work).await?;
    Ok(timing.end(work.messages))
}

async fn confirm_batched(channel: &Channel, work: &Work) -> lapin::Result<Outcome> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let body = work.body();
    let timing = Timing::begin();
    let mut left = work.messages;
    while left > 0 {
        let now = left.min(work.window);
        let confirmed = (0..now).map(|_| async { send(channel, work, &body).await?.await });
        for one in join_all(confirmed).await {
            one?;
        }
        left -= now;
    }
    declare(channel, work).await?;
    Ok(timing.end(work.messages))
}

async fn consume(channel: &Channel, work: &Work) -> Result<Outcome> {
    let timing = Timing::begin();
    let mut consumer = start_consumer(channel, work, true).await?;
    for _ in 0..work.messages {
        consumer.next().await.ok_or(ENDED)??;
    }
    declare(channel, work).await?;
    Ok(timing.end(work.messages))
}

async fn consume_ack(channel: &Channel, work: &Work) -> Result<Outcome> {
    channel.basic_qos(work.prefetch(), BasicQosOptions::default()).await?;
    let timing = Timing::begin();
    let mut consumer = start_consumer(channel, work, false).await?;
    for _ in 0..work.messages {
        let delivery = consumer.next().await.ok_or(ENDED)??;
        delivery.ack(BasicAckOptions::default()).await?;
    }
    declare(channel, work).await?;
    Ok(timing.end(work.messages))
}

/// All that have come by now are acknowledged at once.
async fn consume_ack_batched(channel: &Channel, work: &Work) -> Result<Outcome> {
    channel.basic_qos(work.prefetch(), BasicQosOptions::default()).await?;
    let timing = Timing::begin();
    let consumer = start_consumer(channel, work, false).await?;
    let mut batches = consumer.ready_chunks(usize::from(work.prefetch()));
    let mut left = work.messages;
    while left > 0 {
        let batch = batches.next().await.ok_or(ENDED)?;
        left -= batch.len() as u64;
        let acks = batch
            .into_iter()
            .map(|delivery| async { delivery?.ack(BasicAckOptions::default()).await });
        for acknowledged in join_all(acks).await {
            acknowledged?;
        }
    }
    declare(channel, work).await?;
    Ok(timing.end(work.messages))
}

async fn rpc(channel: &Channel, work: &Work) -> Result<Outcome> {
    let mut consumer = start_consumer(channel, work, true).await?;
    let body = work.body();
    let mut trips = Samples::default();
    let timing = Timing::begin();
    for _ in 0..work.messages {
        if let Some(pause) = work.pause() {
            tokio::time::sleep(pause).await;
        }
        let sent = Instant::now();
        send(channel, work, &body).await?;
        consumer.next().await.ok_or(ENDED)??;
        trips.add(sent);
    }
    Ok(trips.report(timing.end(work.messages), ""))
}

fn send<'a>(
    channel: &'a Channel,
    work: &'a Work,
    body: &'a [u8],
) -> impl Future<Output = lapin::Result<PublisherConfirm>> + 'a {
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    channel.basic_publish("".into(), work.queue.as_str().into(), options, body, properties)
}

async fn start_consumer(channel: &Channel, work: &Work, no_ack: bool) -> lapin::Result<Consumer> {
    let options = BasicConsumeOptions { no_ack, ..Default::default() };
    channel
        .basic_consume(work.queue.as_str().into(), "ctag".into(), options, FieldTable::default())
        .await
}

async fn declare(channel: &Channel, work: &Work) -> lapin::Result<()> {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    channel.queue_declare(work.queue.as_str().into(), options, FieldTable::default()).await?;
    Ok(())
}
