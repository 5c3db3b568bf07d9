//! A connection on a loop that haypile knows nothing of. `poll_loop.rs` is that loop, `adapter.rs` all
//! that it takes; `docs/write-an-adapter.md` goes through it.
//!
//! ```text
//! scripts/with-broker cargo run --example poll_loop
//! ```

mod adapter;
mod poll_loop;

use std::error::Error;
use std::rc::Rc;

use adapter::PollServices;
use haypile::{
    BasicProperties, Channel, ConnectionCallbacks, ConnectionParameters, Delivery, Result, basic,
    queue,
};
use poll_loop::PollLoop;

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".into());
    let parameters: ConnectionParameters = url.parse()?;
    let poll_loop = Rc::new(PollLoop::default());
    let adapter = PollServices::attach(&poll_loop)?;
    let (on_error, on_closed) = (Rc::clone(&poll_loop), Rc::clone(&poll_loop));
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            connection.channel(None, on_channel_open).expect("the connection is open");
        })
        .on_open_error(move |_, error| {
            eprintln!("{error}");
            on_error.stop();
        })
        .on_close(move |_, reason| {
            println!("{reason}");
            on_closed.stop();
        });
    let services = adapter.services();
    services.connect(parameters, callbacks);
    poll_loop.run()?;
    services.core().detach();
    Ok(())
}

fn on_channel_open(channel: &Channel, opened: Result<()>) {
    opened.expect("the broker opens a channel");
    let declare = queue::Declare { exclusive: true, ..Default::default() };
    let declared = |channel: &Channel, declared: Result<queue::DeclareOk<'static>>| {
        let queue = declared.expect("the broker declares a queue").queue;
        let to = basic::Publish { routing_key: queue.clone(), ..Default::default() };
        let sent = channel.basic_publish(to, &BasicProperties::default(), "Hello, poll!");
        sent.expect("the channel is open");
        let consume = basic::Consume { queue, no_ack: true, ..Default::default() };
        let consuming = |_: &Channel, consuming: Result<_>| drop(consuming.expect("it consumes"));
        channel.basic_consume(consume, on_message, consuming).expect("the channel is open");
    };
    channel.queue_declare(declare, declared).expect("the channel is open");
}

fn on_message(channel: &Channel, delivery: &Delivery<'_>) {
    println!("received {}", String::from_utf8_lossy(delivery.body()));
    channel.connection().close(200, "bye").expect("the connection is open");
}
