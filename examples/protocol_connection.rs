//! Owns the socket itself, waits by poll(2), and drives a connection over it: publishes a message a
//! second by a timer of the connection's, consumes them, and stops after ten.
//!
//! ```text
//! scripts/with-broker cargo run --example protocol_connection
//! ```
//!
//! The broker is the one that `AMQP_URL` names; without it, the one on this host. An argument is
//! another interval, in milliseconds.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use haypile::{
    BasicProperties, Channel, ConnectionCallbacks, ConnectionParameters, Delivery,
    ProtocolConnection, Result, ShortStr, StreamLost, basic, queue,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

const MESSAGES: u64 = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".into());
    let parameters: ConnectionParameters = url.parse()?;
    let stream = TcpStream::connect((parameters.host(), parameters.port()))?;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            println!("connected");
            connection.channel(None, on_channel_open).expect("the connection is open");
        })
        .on_open_error(|_, error| eprintln!("{error}"))
        .on_close(|_, reason| println!("{reason}"));
    // No other thread posts to it. If one did, this would end the poll: by a byte in a pipe, say.
    let wake = || ();
    let protocol = ProtocolConnection::new(parameters, callbacks, wake);
    drive(&protocol, &stream)
}

/// Until it has ended, and has no more to say.
fn drive(protocol: &ProtocolConnection, mut stream: &TcpStream) -> Result<(), Box<dyn Error>> {
    let mut space = [0; 64 * 1024];
    loop {
        if let Err(error) = protocol.write_output(|slices| stream.write_vectored(slices)) {
            protocol.connection_lost(error)?;
        }
        if protocol.is_closed() && protocol.output_len() == 0 {
            return Ok(());
        }
        if is_readable(protocol, stream)? {
            match stream.read(&mut space) {
                Ok(0) => protocol.connection_lost(StreamLost::EndOfStream)?,
                Ok(count) => protocol.data_received(&space[..count])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => protocol.connection_lost(error)?,
            }
        }
        protocol.process_due()?;
    }
}

/// Waits until there is something to do. Gives whether that is to read.
fn is_readable(protocol: &ProtocolConnection, stream: &TcpStream) -> Result<bool> {
    let mut flags = PollFlags::IN;
    flags.set(PollFlags::OUT, protocol.output_len() > 0);
    let left = protocol.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
    let left = left
        .map(|left| Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() });
    let mut fds = [PollFd::new(stream, flags)];
    match poll(&mut fds, left.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(std::io::Error::from(error).into()),
    }
    Ok(fds[0].revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR))
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

fn publish_later(channel: Channel, queue: ShortStr<'static>, number: u64) {
    let services = channel.connection().services().expect("the connection is open");
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
