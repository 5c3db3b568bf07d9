//! Publishes a message a second by async-io's timer, consumes them, and stops after ten.
//!
//! ```text
//! scripts/with-broker cargo run --features async-io --example async_io
//! ```
//!
//! The broker is the one that `AMQP_URL` names; without it, the one on this host. An argument is
//! another interval, in milliseconds.

use std::rc::Rc;
use std::time::Duration;

use async_executor::LocalExecutor;
use async_io::{Timer, block_on};
use haypile::{
    AsyncIoConnection, BasicProperties, Channel, ConnectionCallbacks, ConnectionParameters,
    Delivery, Result, ShortStr, basic, queue,
};

const MESSAGES: u64 = 10;

type Executor = Rc<LocalExecutor<'static>>;

fn main() -> Result<()> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".into());
    let parameters: ConnectionParameters = url.parse()?;
    let executor = Executor::default();
    let tasks = Rc::clone(&executor);
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            println!("connected");
            let opened = |channel: &Channel, opened| on_channel_open(channel, opened, tasks);
            connection.channel(None, opened).expect("the connection is open");
        })
        .on_open_error(|_, error| eprintln!("{error}"))
        .on_close(|_, reason| println!("{reason}"));
    let (connection, driver) = AsyncIoConnection::new(parameters, callbacks);
    // The driver ends with the connection, once nobody holds its services.
    drop(connection);
    block_on(executor.run(driver));
    Ok(())
}

fn on_channel_open(channel: &Channel, opened: Result<()>, tasks: Executor) {
    opened.expect("the broker opens a channel");
    let declare = queue::Declare { exclusive: true, ..Default::default() };
    let declared = move |channel: &Channel, declared: Result<_>| {
        on_declared(channel, declared, &tasks);
    };
    channel.queue_declare(declare, declared).expect("the channel is open");
}

fn on_declared(channel: &Channel, declared: Result<queue::DeclareOk<'static>>, tasks: &Executor) {
    let queue = declared.expect("the broker declares a queue").queue;
    let consume = basic::Consume { queue: queue.clone(), ..Default::default() };
    let started = |_: &Channel, started: Result<_>| {
        started.expect("the broker starts the consumer");
    };
    channel.basic_consume(consume, on_message, started).expect("the channel is open");

    let channel = channel.clone();
    let publishing = async move {
        for number in 1..=MESSAGES {
            Timer::after(interval()).await;
            publish(&channel, &queue, number);
        }
    };
    tasks.spawn(publishing).detach();
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
