//! An event loop of the program's own, which a connection shares: a message every two seconds by
//! the loop's timer, and another timer that closes the connection after ten.
//!
//! ```text
//! scripts/with-broker cargo run --example select_custom_ioloop
//! ```

use std::time::Duration;

use haypile::{
    BasicProperties, Channel, ConnectionCallbacks, ConnectionParameters, IOLoop, LoopHandle,
    Result, SelectConnection, basic,
};

fn main() -> Result<()> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".into());
    let parameters: ConnectionParameters = url.parse()?;

    let ioloop = IOLoop::new()?; // the owner of all that runs on it
    let (on_channel, on_closed) = (ioloop.handle(), ioloop.handle());
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            println!("connected");
            let opened = |channel: &Channel, opened: Result<()>| {
                opened.expect("the broker opens a channel");
                publish(channel.clone(), on_channel, 1);
            };
            connection.channel(None, opened).expect("the connection is open");
        })
        .on_close(move |_, reason| {
            println!("{reason}");
            on_closed.stop();
        });
    let connection = SelectConnection::with_ioloop(parameters, callbacks, &ioloop)?;
    ioloop.call_later(Duration::from_secs(10), move || {
        println!("closing");
        connection.close(200, "ten seconds are over").expect("the connection is open");
    });
    ioloop.start()
}

/// Publishes a message, and the next one two seconds later.
fn publish(channel: Channel, ioloop: LoopHandle, number: u32) {
    if !channel.is_open() {
        return;
    }
    let to = basic::Publish { exchange: "amq.fanout".into(), ..Default::default() };
    let body = format!("message {number}");
    channel.basic_publish(to, &BasicProperties::default(), body).expect("the channel is open");
    println!("published message {number}");
    let next = ioloop.clone();
    ioloop.call_later(Duration::from_secs(2), move || publish(channel, next, number + 1));
}
