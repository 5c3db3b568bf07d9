//! amiquip, which has a thread of its own for the socket.

use amiquip::{
    Channel, Confirm, Connection, Consumer, ConsumerMessage, ConsumerOptions, Exchange, Publish,
    QueueDeclareOptions,
};

use super::job::{Job, Work};
use crate::Result;
use crate::outcome::{Outcome, Timing};

pub fn run(work: &Work) -> Result<Option<Outcome>> {
    let url = format!("amqp://guest:guest@{}:{}/%2f", work.host, work.port);
    let mut connection = Connection::insecure_open(&url)?;
    let channel = connection.open_channel(None)?;
    let outcome = match work.job {
        Job::Publish => publish(&channel, work),
        Job::Confirm => confirm(&channel, work),
        Job::Consume => consume(&channel, work, false),
        Job::ConsumeAck => consume(&channel, work, true),
        Job::Rpc => rpc(&channel, work),
    }?;
    Ok(Some(outcome))
}

fn publish(channel: &Channel, work: &Work) -> amiquip::Result<Outcome> {
    let exchange = Exchange::direct(channel);
    let body = vec![b'x'; work.size];
    let timing = Timing::begin();
    for _ in 0..work.messages {
        exchange.publish(Publish::new(&body, "sink"))?;
    }
    declare(channel)?;
    Ok(timing.end(work.messages))
}

fn confirm(channel: &Channel, work: &Work) -> amiquip::Result<Outcome> {
    let exchange = Exchange::direct(channel);
    let confirms = channel.listen_for_publisher_confirms()?;
    channel.enable_publisher_confirms()?;
    let body = vec![b'x'; work.size];
    let timing = Timing::begin();
    let (mut sent, mut confirmed) = (0, 0);
    while confirmed < work.messages {
        while sent < work.messages && sent - confirmed < work.window {
            exchange.publish(Publish::new(&body, "sink"))?;
            sent += 1;
        }
        match confirms.recv() {
            Ok(Confirm::Ack(ack)) if ack.multiple => confirmed = ack.delivery_tag,
            Ok(Confirm::Ack(_)) => confirmed += 1,
            Ok(Confirm::Nack(_)) | Err(_) => break,
        }
    }
    declare(channel)?;
    Ok(timing.end(work.messages))
}

fn consume(channel: &Channel, work: &Work, ack: bool) -> amiquip::Result<Outcome> {
    if ack {
        channel.qos(0, u16::try_from(work.window).unwrap_or(u16::MAX), false)?;
    }
    let timing = Timing::begin();
    let consumer = start_consumer(channel, &work.flood(), !ack)?;
    for message in consumer.receiver().iter().take(work.messages as usize) {
        match message {
            ConsumerMessage::Delivery(delivery) if ack => consumer.ack(delivery)?,
            _ => {}
        }
    }
    declare(channel)?;
    Ok(timing.end(work.messages))
}

fn rpc(channel: &Channel, work: &Work) -> amiquip::Result<Outcome> {
    let exchange = Exchange::direct(channel);
    let consumer = start_consumer(channel, "echo", true)?;
    let body = vec![b'x'; work.size];
    let timing = Timing::begin();
    for _ in 0..work.messages {
        exchange.publish(Publish::new(&body, "echo"))?;
        if consumer.receiver().recv().is_err() {
            break;
        }
    }
    Ok(timing.end(work.messages))
}

fn start_consumer<'a>(
    channel: &'a Channel,
    queue: &str,
    no_ack: bool,
) -> amiquip::Result<Consumer<'a>> {
    channel.basic_consume(queue, ConsumerOptions { no_ack, ..Default::default() })
}

fn declare(channel: &Channel) -> amiquip::Result<()> {
    channel.queue_declare("last", QueueDeclareOptions::default())?;
    Ok(())
}
