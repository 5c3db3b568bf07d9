//! amqprs, on a current-thread tokio.

use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, BasicPublishArguments, BasicQosArguments, Channel,
    ConsumerMessage, QueueDeclareArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::{BasicProperties, error::Error};
use futures_util::future::join_all;
use tokio::sync::mpsc::UnboundedReceiver;

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
        Job::Publish => run(work, true),
        // There is nothing to batch.
        Job::Confirm | Job::Consume | Job::ConsumeAck | Job::Rpc => Ok(None),
    }
}

fn run(work: &Work, batched: bool) -> Result<Option<Outcome>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let arguments = OpenConnectionArguments::new(&work.host, work.port, "guest", "guest");
        let connection = Connection::open(&arguments).await?;
        let channel = connection.open_channel(None).await?;
        let outcome = match work.job {
            Job::Publish => publish(&channel, work, if batched { work.window } else { 1 }).await,
            // It tells of confirms to a callback, and keeps no account of them.
            Job::Confirm => return Ok(None),
            Job::Consume => consume(&channel, work, false).await,
            Job::ConsumeAck => consume(&channel, work, true).await,
            Job::Rpc => rpc(&channel, work).await,
        }?;
        Ok(Some(outcome))
    })
}

async fn publish(channel: &Channel, work: &Work, at_once: u64) -> Result<Outcome, Error> {
    let body = vec![b'x'; work.size];
    let timing = Timing::begin();
    let mut left = work.messages;
    while left > 0 {
        let now = left.min(at_once);
        match now {
            1 => send(channel, "sink", &body).await?,
            _ => {
                for sent in join_all((0..now).map(|_| send(channel, "sink", &body))).await {
                    sent?;
                }
            }
        }
        left -= now;
    }
    channel.queue_declare(QueueDeclareArguments::new("last")).await?;
    Ok(timing.end(work.messages))
}

async fn consume(channel: &Channel, work: &Work, ack: bool) -> Result<Outcome, Error> {
    if ack {
        let prefetch = u16::try_from(work.window).unwrap_or(u16::MAX);
        channel.basic_qos(BasicQosArguments::new(0, prefetch, false)).await?;
    }
    let timing = Timing::begin();
    let mut messages = start_consumer(channel, &work.flood(), ack).await?;
    for _ in 0..work.messages {
        let Some(message) = messages.recv().await else { break };
        if let (true, Some(deliver)) = (ack, message.deliver) {
            channel.basic_ack(BasicAckArguments::new(deliver.delivery_tag(), false)).await?;
        }
    }
    channel.queue_declare(QueueDeclareArguments::new("last")).await?;
    Ok(timing.end(work.messages))
}

async fn rpc(channel: &Channel, work: &Work) -> Result<Outcome, Error> {
    let mut messages = start_consumer(channel, "echo", false).await?;
    let body = vec![b'x'; work.size];
    let timing = Timing::begin();
    for _ in 0..work.messages {
        send(channel, "echo", &body).await?;
        if messages.recv().await.is_none() {
            break;
        }
    }
    Ok(timing.end(work.messages))
}

async fn send(channel: &Channel, routing_key: &str, body: &[u8]) -> Result<(), Error> {
    let arguments = BasicPublishArguments::new("", routing_key);
    channel.basic_publish(BasicProperties::default(), body.to_vec(), arguments).await
}

async fn start_consumer(
    channel: &Channel,
    queue: &str,
    ack: bool,
) -> Result<UnboundedReceiver<ConsumerMessage>, Error> {
    let mut arguments = BasicConsumeArguments::new(queue, "ctag");
    arguments.manual_ack(ack);
    Ok(channel.basic_consume_rx(arguments).await?.1)
}
