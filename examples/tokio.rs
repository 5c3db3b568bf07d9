//! Publishes a message a second by tokio's timer, consumes them, and stops after ten.
//!
//! ```text
//! scripts/with-broker cargo run --features tokio --example tokio
//! ```
//!
//! The broker is the one that `AMQP_URL` names; without it, the one on this host. An argument is
//! another interval, in milliseconds.

use std::error::Error;
use std::time::Duration;

use haypile::{
    BasicProperties, Channel, ConnectionCallbacks, ConnectionParameters, Delivery, Result,
    ShortStr, TokioConnection, basic, queue,
};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};

const MESSAGES: u64 = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".into());
    let parameters: ConnectionParameters = url.parse()?;
    let (end, ended) = oneshot::channel();
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            println!("connected");
            connection.channel(None, on_channel_open).expect("the connection is open");
        })
        .on_open_error(|_, error| eprintln!("{error}"))
        .on_close(move |_, reason| drop(end.send(reason)));
    let _connection = TokioConnection::new(parameters, callbacks);
    println!("{}", ended.await?);
    Ok(())
}

fn on_channel_open(channel: &Channel, opened: Result<()>) {
    opened.expect("the broker opens a channel");
    let declare = queue::Declare { exclusive: true, ..Default::default() };
    channel.queue_declare(declare, on_declared).expect("the channel is open");
}

fn on_declared(channel: &Channel, declared: Result<queue::DeclareOk<'static>>) {
    let queue = declared.expect("the broker declares a queue").queue;
    let consume = basic::Consume { queue: queue.clone(), ..Default::default() };
    let started = |_: &Channel, started: Result<_>| {
        started.expect("the broker starts the consumer");
    };
    channel.basic_consume(consume, on_message, started).expect("the channel is open");

    let channel = channel.clone();
    spawn_local(async move {
        for number in 1..=MESSAGES {
            tokio::time::sleep(interval()).await;
            publish(&channel, &queue, number);
        }
    });
}

fn publish(channel: &Channel, queue: &ShortStr<'_>, number: u64) {
    let to = basic::Publish { routing_key: queue.clone(), ..Default::default() };
    let body = format!("message {number}");
    channel.basic_publish(to, &BasicProperties::default(), body).expect("the channel is open");
}

fn on_message(channel: &Channel, delivery: &Delivery<'_>) {
    println!("received {}", String::from_utf8_lossy(delivery.body()));
    let delivery_tag = delivery.delivery_tag();
    let ack = basic::Ack { delivery_tag, multiple: false };
    channel.basic_ack(ack).expect("the channel is open");
    if delivery_tag == MESSAGES {
        channel.connection().close(200, "bye").expect("the connection is open");
    }
}

fn interval() -> Duration {
    let argument = std::env::args().nth(1).map(|text| text.parse().expect("milliseconds"));
    Duration::from_millis(argument.unwrap_or(1000))
}
