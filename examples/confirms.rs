//! Publishes 10,000 messages and knows of each that the broker has it: publisher confirms, with a
//! limit on how many may be under way, and an end that waits for all of them.
//!
//! ```text
//! scripts/with-broker cargo run --example confirms
//! ```
//!
//! The broker is the one that `AMQP_URL` names; without it, the one on this host.

use std::cell::Cell;
use std::rc::Rc;

use haypile::{
    BasicProperties, Channel, Confirm, ConfirmSummary, ConnectionCallbacks, ConnectionParameters,
    IOLoop, PublishError, PublishOutcome, Result, SelectConnection, basic, queue,
};

const MESSAGES: u64 = 10_000;
const UNDER_WAY: usize = 1_000;

fn main() -> Result<()> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".into());
    let parameters: ConnectionParameters = url.parse()?;
    let ioloop = IOLoop::new()?;
    let handle = ioloop.handle();
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            connection.channel(None, on_channel_open).expect("the connection is open");
        })
        .on_close(move |_, reason| {
            println!("{reason}");
            handle.stop();
        });
    let _connection = SelectConnection::with_ioloop(parameters, callbacks, &ioloop)?;
    ioloop.start()
}

fn on_channel_open(channel: &Channel, opened: Result<()>) {
    opened.expect("the broker opens a channel");
    let declare = queue::Declare { exclusive: true, ..Default::default() };
    channel.queue_declare(declare, on_declared).expect("the channel is open");
}

fn on_declared(channel: &Channel, declared: Result<queue::DeclareOk<'static>>) {
    let queue = declared.expect("the broker declares a queue").queue.to_string();
    // There is no need to wait for either: what is published below keeps its place behind.
    channel
        .confirm_delivery(on_confirm, |_, selected| selected.expect("the broker confirms"))
        .expect("the channel is open");
    channel.set_max_unconfirmed(UNDER_WAY).expect("the channel is open");

    let published = Rc::new(Cell::new(0));
    let (to, count) = (queue.clone(), Rc::clone(&published));
    channel
        .add_on_writable_callback(move |channel| publish(channel, &to, &count))
        .expect("the channel is open");
    publish(channel, &queue, &published);
}

/// Called once for each message: here one would forget it, or publish it again.
fn on_confirm(_: &Channel, confirm: Confirm<'_>) {
    if confirm.outcome != PublishOutcome::Acked {
        println!("message {}: {:?}", confirm.sequence_number, confirm.outcome);
    }
}

/// Publishes until all is published, or too many are under way.
fn publish(channel: &Channel, queue: &str, published: &Cell<u64>) {
    while published.get() < MESSAGES {
        // If no queue takes it, it comes back, and is told as returned.
        let to =
            basic::Publish { routing_key: queue.into(), mandatory: true, ..Default::default() };
        let body = format!("message {}", published.get() + 1);
        match channel.basic_publish(to, &BasicProperties::default(), body) {
            Ok(number) => published.set(number),
            // The writable callback goes on.
            Err(PublishError::TooManyUnconfirmed { .. }) => return,
            Err(error) => panic!("{error}"),
        }
    }
    println!("published {MESSAGES}");
    channel.when_confirmed(on_all_confirmed).expect("the channel is in confirm mode");
}

fn on_all_confirmed(channel: &Channel, summary: Result<ConfirmSummary>) {
    let ConfirmSummary { acked, nacked, returned } = summary.expect("the channel is open");
    println!("{acked} are safe, {nacked} were refused, {returned} came back");
    channel.connection().close(200, "bye").expect("the connection is open");
}
