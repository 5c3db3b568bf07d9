//! Publishes a message a second by the timer of whatever loop it is told to run on, consumes them, and
//! stops after ten.
//!
//! ```text
//! scripts/with-broker cargo run --example any_loop
//! scripts/with-broker cargo run --features tokio --example any_loop -- 1000 tokio
//! ```
//!
//! The broker is the one that `AMQP_URL` names; without it, the one on this host. Arguments are
//! another interval, in milliseconds, and the kind of connection.

use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Duration;

use haypile::{
    BaseConnection, BasicProperties, Channel, ConnectionCallbacks, ConnectionKind,
    ConnectionParameters, Delivery, LoopHandle, Result, ShortStr, basic, create_connection, queue,
};

const MESSAGES: u64 = 10;

fn main() -> Result<()> {
    let kind: ConnectionKind = std::env::args().nth(2).as_deref().unwrap_or("select").parse()?;
    match kind {
        #[cfg(feature = "tokio")]
        ConnectionKind::Tokio => in_a_local_set(kind),
        kind => on_a_loop_of_its_own(kind),
    }
}

fn on_a_loop_of_its_own(kind: ConnectionKind) -> Result<()> {
    let ioloop = Rc::new(OnceCell::<LoopHandle>::new());
    let to_stop = Rc::clone(&ioloop);
    let stop = move || to_stop.get().expect("it runs").stop();
    let connection = connect(kind, stop)?;
    let own = connection.ioloop().expect("the connection has made it");
    ioloop.get_or_init(|| own.clone()).start()
}

#[cfg(feature = "tokio")]
fn in_a_local_set(kind: ConnectionKind) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let ended = Rc::new(tokio::sync::Notify::new());
        let end = Rc::clone(&ended);
        let _connection = connect(kind, move || end.notify_one())?;
        ended.notified().await;
        Ok(())
    })
}

/// From here on nothing depends on the loop.
fn connect(kind: ConnectionKind, stop: impl Fn() + 'static) -> Result<Box<dyn BaseConnection>> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".into());
    let parameters: ConnectionParameters = url.parse()?;
    let on_error = Rc::new(stop);
    let on_close = Rc::clone(&on_error);
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            println!("connected");
            connection.channel(None, on_channel_open).expect("the connection is open");
        })
        .on_open_error(move |_, error| {
            eprintln!("{error}");
            on_error();
        })
        .on_close(move |_, reason| {
            println!("{reason}");
            on_close();
        });
    create_connection(kind, parameters, callbacks)
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

    publish_later(channel.clone(), queue, 1);
}

/// By the loop's timer, and the next one after it.
fn publish_later(channel: Channel, queue: ShortStr<'static>, number: u64) {
    let services = channel.connection().services().expect("the loop is there");
    services.call_later(interval(), move || {
        let to = basic::Publish { routing_key: queue.clone(), ..Default::default() };
        let body = format!("message {number}");
        channel.basic_publish(to, &BasicProperties::default(), body).expect("the channel is open");
        if number < MESSAGES {
            publish_later(channel, queue, number + 1);
        }
    });
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
