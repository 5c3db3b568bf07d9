//! Publishes ten messages, consumes and acknowledges them, prints what it sees, closes cleanly.
//!
//! ```text
//! scripts/with-broker cargo run --example hello
//! ```
//!
//! The broker is the one that `AMQP_URL` names; without it, the one on this host.

use haypile::{
    BasicProperties, Channel, ConnectionCallbacks, ConnectionParameters, Delivery, IOLoop, Result,
    SelectConnection, basic, queue,
};

const MESSAGES: u64 = 10;

fn main() -> Result<()> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".into());
    let parameters: ConnectionParameters = url.parse()?;

    let ioloop = IOLoop::new()?;
    let handle = ioloop.handle();
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            println!("connected");
            connection.channel(None, on_channel_open).expect("the connection is open");
        })
        .on_close(move |_, reason| {
            println!("{reason}");
            handle.stop();
        });
    // Nothing else is needed for a connection that fails: without `on_open_error`, `start` returns
    // the error.
    let _connection = SelectConnection::with_ioloop(parameters, callbacks, &ioloop)?;
    ioloop.start()
}

fn on_channel_open(channel: &Channel, opened: Result<()>) {
    opened.expect("the broker opens a channel");
    // A queue without a name: the broker chooses one. It goes with the connection.
    let declare = queue::Declare { exclusive: true, ..Default::default() };
    channel.queue_declare(declare, on_declared).expect("the channel is open");
}

fn on_declared(channel: &Channel, declared: Result<queue::DeclareOk<'static>>) {
    let queue = declared.expect("the broker declares a queue").queue;
    println!("queue {queue}");
    for number in 1..=MESSAGES {
        let to = basic::Publish { routing_key: queue.clone(), ..Default::default() };
        let properties =
            BasicProperties { content_type: Some("text/plain".into()), ..Default::default() };
        let body = format!("message {number}");
        channel.basic_publish(to, &properties, body).expect("the channel is open");
    }
    println!("published {MESSAGES}");
    let consume = basic::Consume { queue, ..Default::default() };
    let started = |_: &Channel, started: Result<_>| {
        started.expect("the broker starts the consumer");
    };
    channel.basic_consume(consume, on_message, started).expect("the channel is open");
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
