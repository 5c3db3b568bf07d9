//! Publishes a message a second, consumes them, and stops after ten: by async and await, on tokio.
//!
//! ```text
//! scripts/with-broker cargo run --features futures,tokio --example async_await
//! ```
//!
//! The broker is the one that `AMQP_URL` names; without it, the one on this host. An argument is
//! another interval, in milliseconds.

use std::error::Error;
use std::time::Duration;

use haypile::futures::AsyncChannel;
use haypile::{
    BasicProperties, ConnectionCallbacks, ConnectionParameters, Result, ShortStr, TokioConnection,
    basic, queue,
};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};

const MESSAGES: u64 = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".into());
    let parameters: ConnectionParameters = url.parse()?;
    let connection = TokioConnection::new(parameters, ConnectionCallbacks::new()).opened().await?;
    println!("connected");
    let channel = connection.open_channel().await?;
    let declare = queue::Declare { exclusive: true, ..Default::default() };
    let queue = channel.queue_declare(declare).await?.queue;

    channel.basic_qos(basic::Qos { prefetch_count: 10, ..Default::default() }).await?;
    let consume = basic::Consume { queue: queue.clone(), ..Default::default() };
    let mut consumer = channel.basic_consume(consume).await?;
    let publisher = spawn_local(publish(connection.open_channel().await?, queue));
    for _ in 0..MESSAGES {
        let Some(delivery) = consumer.next().await else {
            return Err(format!("no more messages: {:?}", consumer.end()).into());
        };
        println!("received {}", String::from_utf8_lossy(delivery.body()));
        let delivery_tag = delivery.delivery_tag();
        channel.basic_ack(basic::Ack { delivery_tag, multiple: false })?;
    }
    publisher.await??;

    connection.close(200, "bye").await?;
    println!("{}", connection.closed().await);
    Ok(())
}

/// Publishes a message at a time, and waits until the broker has it.
async fn publish(channel: AsyncChannel, queue: ShortStr<'static>) -> Result<()> {
    channel.confirm_delivery().await?;
    for number in 1..=MESSAGES {
        tokio::time::sleep(interval()).await;
        let to = basic::Publish { routing_key: queue.clone(), ..Default::default() };
        let body = format!("message {number}");
        let confirmation = channel.publish(to, &BasicProperties::default(), body).await?;
        assert!(confirmation.is_acked(), "{confirmation:?}");
    }
    Ok(())
}

fn interval() -> Duration {
    let argument = std::env::args().nth(1).map(|text| text.parse().expect("milliseconds"));
    Duration::from_millis(argument.unwrap_or(1000))
}
