//! amiquip, which has a thread of its own for the socket.

use std::net::TcpStream;
use std::time::Instant;

use amiquip::{
    Auth, Channel, Confirm, ConfirmSmoother, Connection, ConnectionOptions, ConnectionTuning,
    Consumer, ConsumerMessage, ConsumerOptions, Delivery, Exchange, Publish,
};

use super::endpoint::Endpoint;
use super::job::{ENDED, Job, Work};
use crate::Result;
use crate::outcome::{Outcome, Samples, Timing};

/// As it connects by itself: small writes wait for the acknowledgement of the last (Nagle).
pub fn plain(work: &Work) -> Result<Option<Outcome>> {
    run(Connection::insecure_open(&work.url)?, work)
}

/// Over a socket of ours, which sends at once.
pub fn nodelay(work: &Work) -> Result<Option<Outcome>> {
    open(work, true, ConnectionTuning::default())
}

/// A thousand messages may wait for its thread, instead of 16: the two threads change places less
/// often.
pub fn buffered(work: &Work) -> Result<Option<Outcome>> {
    match work.job {
        Job::Publish | Job::Confirm | Job::ConsumeAck => {
            open(work, false, ConnectionTuning::default().mem_channel_bound(1000))
        }
        // Nothing is sent that another could follow.
        _ => Ok(None),
    }
}

fn open(work: &Work, nodelay: bool, tuning: ConnectionTuning) -> Result<Option<Outcome>> {
    let at = Endpoint::parse(&work.url)?;
    let socket = TcpStream::connect((at.host.as_str(), at.port))?;
    socket.set_nodelay(nodelay)?;
    let auth = Auth::Plain { username: at.user, password: at.password };
    let options = ConnectionOptions::default().auth(auth).virtual_host(at.virtual_host);
    let socket = mio_06::net::TcpStream::from_stream(socket)?;
    run(Connection::insecure_open_stream(socket, options, tuning)?, work)
}

fn run(mut connection: Connection, work: &Work) -> Result<Option<Outcome>> {
    let channel = connection.open_channel(None)?;
    let outcome = match work.job {
        Job::Publish => publish(&channel, work)?,
        Job::Confirm => confirm(&channel, work)?,
        Job::Consume => consume(&channel, work, false)?,
        Job::ConsumeAck => consume(&channel, work, true)?,
        Job::Rpc | Job::LatencyRpc | Job::LatencyPublishDeliver => rpc(&channel, work)?,
    };
    Ok(Some(outcome))
}

fn publish(channel: &Channel, work: &Work) -> amiquip::Result<Outcome> {
    let exchange = Exchange::direct(channel);
    let body = work.body();
    let timing = Timing::begin();
    for _ in 0..work.messages {
        exchange.publish(Publish::new(&body, work.queue.as_str()))?;
    }
    declare(channel, work)?;
    Ok(timing.end(work.messages))
}

fn confirm(channel: &Channel, work: &Work) -> Result<Outcome> {
    let exchange = Exchange::direct(channel);
    let confirms = channel.listen_for_publisher_confirms()?;
    channel.enable_publisher_confirms()?;
    let body = work.body();
    let timing = Timing::begin();
    let (mut sent, mut confirmed) = (0, 0);
    let mut smoother = ConfirmSmoother::new();
    while confirmed < work.messages {
        while sent < work.messages && sent - confirmed < work.window {
            exchange.publish(Publish::new(&body, work.queue.as_str()))?;
            sent += 1;
        }
        for confirm in smoother.process(confirms.recv()?) {
            match confirm {
                Confirm::Ack(_) => confirmed += 1,
                Confirm::Nack(_) => return Err("a nack".into()),
            }
        }
    }
    declare(channel, work)?;
    Ok(timing.end(work.messages))
}

fn consume(channel: &Channel, work: &Work, ack: bool) -> Result<Outcome> {
    if ack {
        channel.qos(0, work.prefetch(), false)?;
    }
    let timing = Timing::begin();
    let consumer = start_consumer(channel, work, !ack)?;
    for _ in 0..work.messages {
        let delivery = receive(&consumer)?;
        if ack {
            consumer.ack(delivery)?;
        }
    }
    declare(channel, work)?;
    Ok(timing.end(work.messages))
}

fn rpc(channel: &Channel, work: &Work) -> Result<Outcome> {
    let exchange = Exchange::direct(channel);
    let consumer = start_consumer(channel, work, true)?;
    let body = work.body();
    let mut trips = Samples::default();
    let timing = Timing::begin();
    for _ in 0..work.messages {
        if let Some(pause) = work.pause() {
            std::thread::sleep(pause);
        }
        let sent = Instant::now();
        exchange.publish(Publish::new(&body, work.queue.as_str()))?;
        receive(&consumer)?;
        trips.add(sent);
    }
    Ok(trips.report(timing.end(work.messages), ""))
}

fn receive(consumer: &Consumer<'_>) -> Result<Delivery> {
    match consumer.receiver().recv()? {
        ConsumerMessage::Delivery(delivery) => Ok(delivery),
        _ => Err(ENDED.into()),
    }
}

fn start_consumer<'a>(
    channel: &'a Channel,
    work: &Work,
    no_ack: bool,
) -> amiquip::Result<Consumer<'a>> {
    channel.basic_consume(work.queue.as_str(), ConsumerOptions { no_ack, ..Default::default() })
}

fn declare(channel: &Channel, work: &Work) -> amiquip::Result<()> {
    channel.queue_declare_passive(work.queue.as_str())?;
    Ok(())
}
