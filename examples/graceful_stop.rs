//! A worker that consumes until SIGINT or SIGTERM, and then stops gracefully: it cancels its
//! consumer, finishes what it has, closes the connection, and ends.
//!
//! ```text
//! scripts/with-broker cargo run --example graceful_stop
//! ```

use std::error::Error;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use haypile::{
    Channel, ConnectionCallbacks, ConnectionParameters, Delivery, IOLoop, LoopHandle, Ready,
    Result, SelectConnection, ShortStr, basic, queue,
};
use signal_hook::consts::{SIGINT, SIGTERM};

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".into());
    let parameters: ConnectionParameters = url.parse()?;

    // The signal handler writes a byte to the one end; the other is a descriptor like any other.
    let (here, there) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM] {
        signal_hook::low_level::pipe::register(signal, there.try_clone()?)?;
    }

    let ioloop = IOLoop::new()?;
    let (on_channel, on_closed) = (ioloop.handle(), ioloop.handle());
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            let opened = |channel: &Channel, opened: Result<()>| {
                opened.expect("the broker opens a channel");
                work(channel, on_channel, here);
            };
            connection.channel(None, opened).expect("the connection is open");
        })
        .on_close(move |_, reason| {
            println!("{reason}");
            on_closed.stop();
        });
    let _connection = SelectConnection::with_ioloop(parameters, callbacks, &ioloop)?;
    Ok(ioloop.start()?)
}

fn work(channel: &Channel, ioloop: LoopHandle, signals: UnixStream) {
    let declare = queue::Declare { exclusive: true, ..Default::default() };
    let declared = move |channel: &Channel, declared: Result<queue::DeclareOk<'static>>| {
        let queue = declared.expect("the broker declares a queue").queue;
        let on_message = |channel: &Channel, delivery: &Delivery<'_>| {
            println!("working on {}", String::from_utf8_lossy(delivery.body()));
            let delivery_tag = delivery.delivery_tag();
            channel.basic_ack(basic::Ack { delivery_tag, multiple: false }).expect("it is open");
        };
        let consume = basic::Consume { queue, ..Default::default() };
        let started = |_: &Channel, started: Result<basic::ConsumeOk<'static>>| {
            println!("working as {}", started.expect("the consumer starts").consumer_tag);
        };
        let tag = channel.basic_consume(consume, on_message, started).expect("it is open");
        let (channel, signals) = (channel.clone(), Rc::new(signals));
        let (mut tag, bytes) = (Some(tag), Rc::clone(&signals));
        let on_signal = move |ioloop: &LoopHandle, _| {
            (&*bytes).read_exact(&mut [0]).expect("a byte for each signal");
            match tag.take() {
                Some(consumer_tag) => stop(&channel, consumer_tag),
                // The second signal is from somebody in a hurry.
                None => ioloop.stop(),
            }
        };
        ioloop.add_handler(signals, Ready::READ, on_signal).expect("a socket can be watched");
    };
    channel.queue_declare(declare, declared).expect("the channel is open");
}

fn stop(channel: &Channel, consumer_tag: ShortStr<'static>) {
    println!("stopping");
    let cancelled = |channel: &Channel, cancelled: Result<basic::CancelOk<'static>>| {
        println!("cancelled {}", cancelled.expect("the broker cancels").consumer_tag);
        channel.connection().close(200, "stopped").expect("the connection is open");
    };
    channel.basic_cancel(basic::Cancel { consumer_tag }, cancelled).expect("the channel is open");
}
