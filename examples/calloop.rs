//! Publishes a message a second by calloop's timer, consumes them, and stops after ten.
//!
//! ```text
//! scripts/with-broker cargo run --features calloop --example calloop
//! ```
//!
//! The broker is the one that `AMQP_URL` names; without it, the one on this host. An argument is
//! another interval, in milliseconds.

use std::error::Error;
use std::time::Duration;

use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, LoopHandle};
use haypile::{
    BasicProperties, CalloopConnection, Channel, ConnectionCallbacks, ConnectionParameters,
    Delivery, Result, ShortStr, basic, queue,
};

const MESSAGES: u64 = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".into());
    let parameters: ConnectionParameters = url.parse()?;
    let mut event_loop = EventLoop::try_new()?;
    let (handle, signal) = (event_loop.handle(), event_loop.get_signal());
    let stop = signal.clone();
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            println!("connected");
            let opened = |channel: &Channel, opened| on_channel_open(channel, opened, handle);
            connection.channel(None, opened).expect("the connection is open");
        })
        .on_open_error(move |_, error| {
            eprintln!("{error}");
            stop.stop();
        })
        .on_close(move |_, reason| {
            println!("{reason}");
            signal.stop();
        });
    let _connection = CalloopConnection::new(parameters, callbacks, &event_loop.handle())?;
    event_loop.run(None, &mut (), |()| {})?;
    Ok(())
}

fn on_channel_open(channel: &Channel, opened: Result<()>, handle: LoopHandle<'static, ()>) {
    opened.expect("the broker opens a channel");
    let declare = queue::Declare { exclusive: true, ..Default::default() };
    let declared = move |channel: &Channel, declared: Result<_>| {
        on_declared(channel, declared, &handle);
    };
    channel.queue_declare(declare, declared).expect("the channel is open");
}

fn on_declared(
    channel: &Channel,
    declared: Result<queue::DeclareOk<'static>>,
    handle: &LoopHandle<'static, ()>,
) {
    let queue = declared.expect("the broker declares a queue").queue;
    let consume = basic::Consume { queue: queue.clone(), ..Default::default() };
    let started = |_: &Channel, started: Result<_>| {
        started.expect("the broker starts the consumer");
    };
    channel.basic_consume(consume, on_message, started).expect("the channel is open");

    let (channel, mut number) = (channel.clone(), 0);
    let publishing = move |_, (): &mut (), (): &mut ()| {
        number += 1;
        publish(&channel, &queue, number);
        if number == MESSAGES { TimeoutAction::Drop } else { TimeoutAction::ToDuration(interval()) }
    };
    handle.insert_source(Timer::from_duration(interval()), publishing).expect("a timer");
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
