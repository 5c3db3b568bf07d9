//! amqprs, on a current-thread tokio.

use std::time::Instant;

use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, BasicPublishArguments, BasicQosArguments, Channel,
    ConsumerMessage, QueueDeclareArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::{BasicProperties, error::Error};
use futures_util::future::join_all;
use tokio::sync::mpsc::UnboundedReceiver;

use super::endpoint::Endpoint;
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
        Job::Publish | Job::ConsumeAck => run(work, true),
        // There is nothing to batch.
        _ => Ok(None),
    }
}

fn run(work: &Work, batched: bool) -> Result<Option<Outcome>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let at = Endpoint::parse(&work.url)?;
        let mut arguments = OpenConnectionArguments::new(&at.host, at.port, &at.user, &at.password);
        arguments.virtual_host(&at.virtual_host);
        let connection = Connection::open(&arguments).await?;
        let channel = connection.open_channel(None).await?;
        let outcome = match work.job {
            Job::Publish => publish(&channel, work, if batched { work.window } else { 1 }).await?,
            // It tells of confirms to a callback, and keeps no account of them.
            Job::Confirm => return Ok(None),
            Job::Consume => consume(&channel, work, false).await?,
            Job::ConsumeAck if batched => consume_ack_batched(&channel, work).await?,
            Job::ConsumeAck => consume(&channel, work, true).await?,
            Job::Rpc | Job::LatencyRpc | Job::LatencyPublishDeliver => rpc(&channel, work).await?,
        };
        Ok(Some(outcome))
    })
}

async fn publish(channel: &Channel, work: &Work, at_once: u64) -> Result<Outcome, Error> {
    let body = work.body();
    let timing = Timing::begin();
    let mut left = work.messages;
    while left > 0 {
        let now = left.min(at_once);
        match now {
            1 => send(channel, work, &body).await?,
            _ => {
                for sent in join_all((0..now).map(|_| send(channel, work, &body))).await {
                    sent?;
                }
            }
        }
        left -= now;
    }
    declare(channel, work).await?;
    Ok(timing.end(work.messages))
}

async fn consume(channel: &Channel, work: &Work, ack: bool) -> Result<Outcome> {
    if ack {
        channel.basic_qos(BasicQosArguments::new(0, work.prefetch(), false)).await?;
    }
    let timing = Timing::begin();
    let mut messages = start_consumer(channel, work, ack).await?;
    for _ in 0..work.messages {
        let message = messages.recv().await.ok_or(ENDED)?;
        if ack {
            acknowledge(channel, message).await?;
        }
    }
    declare(channel, work).await?;
    Ok(timing.end(work.messages))
}

/// All that have come by now are acknowledged at once.
async fn consume_ack_batched(channel: &Channel, work: &Work) -> Result<Outcome> {
    channel.basic_qos(BasicQosArguments::new(0, work.prefetch(), false)).await?;
    let timing = Timing::begin();
    let mut messages = start_consumer(channel, work, true).await?;
    let (mut batch, mut left) = (Vec::new(), work.messages);
    while left > 0 {
        match messages.recv_many(&mut batch, work.prefetch().into()).await {
            0 => return Err(ENDED.into()),
            came => left -= came as u64,
        }
        let acks = batch.drain(..).map(|message| acknowledge(channel, message));
        for acknowledged in join_all(acks).await {
            acknowledged?;
        }
    }
    declare(channel, work).await?;
    Ok(timing.end(work.messages))
}

async fn acknowledge(channel: &Channel, message: ConsumerMessage) -> Result<()> {
    let deliver = message.deliver.ok_or("a message that was not delivered")?;
    Ok(channel.basic_ack(BasicAckArguments::new(deliver.delivery_tag(), false)).await?)
}

async fn rpc(channel: &Channel, work: &Work) -> Result<Outcome> {
    let mut messages = start_consumer(channel, work, false).await?;
    let body = work.body();
    let mut trips = Samples::default();
    let timing = Timing::begin();
    for _ in 0..work.messages {
        if let Some(pause) = work.pause() {
            tokio::time::sleep(pause).await;
        }
        let sent = Instant::now();
        send(channel, work, &body).await?;
        messages.recv().await.ok_or(ENDED)?;
        trips.add(sent);
    }
    Ok(trips.report(timing.end(work.messages), ""))
}

async fn send(channel: &Channel, work: &Work, body: &[u8]) -> Result<(), Error> {
    let arguments = BasicPublishArguments::new("", &work.queue);
    channel.basic_publish(BasicProperties::default(), body.to_vec(), arguments).await
}

async fn start_consumer(
    channel: &Channel,
    work: &Work,
    ack: bool,
) -> Result<UnboundedReceiver<ConsumerMessage>, Error> {
    let mut arguments = BasicConsumeArguments::new(&work.queue, "ctag");
    arguments.manual_ack(ack);
    Ok(channel.basic_consume_rx(arguments).await?.1)
}

async fn declare(channel: &Channel, work: &Work) -> Result<(), Error> {
    let mut arguments = QueueDeclareArguments::new(&work.queue);
    arguments.passive(true);
    channel.queue_declare(arguments).await?;
    Ok(())
}
