//! What is pending when its connection or its loop ends is ready, once, with the cause.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use haypile::futures::{AsyncChannel, AsyncConnection, Consumer, ConsumerEnd};
use haypile::protocol::{Method, channel};
use haypile::{BasicProperties, Error, LoopError, Result, StreamLost, basic, queue};

use crate::support::peers::{Peer, Wire, delivery};
use crate::support::{Host, every_host};
use crate::task::{block_on, connect_with_channel, consume, poll, to};

every_host!(
    a_connection_that_is_lost_ends_all_that_is_pending,
    a_loop_that_goes_ends_all_that_is_pending,
    a_consumer_that_starts_too_late_gives_its_messages_back,
);

/// Gives its error, for want of anything else.
struct Failing<F>(F);

impl<T: Debug, F: Future<Output = Result<T>> + Unpin> Future for Failing<F> {
    type Output = Error;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Error> {
        Pin::new(&mut self.0).poll(context).map(|it| it.expect_err("the broker has said nothing"))
    }
}

type Pending = Vec<(&'static str, Box<dyn Future<Output = Error> + Unpin>)>;

/// One of everything that can be pending.
fn pending(connection: &AsyncConnection, channel: &AsyncChannel) -> Pending {
    let queue = "q".into();
    channel.set_max_unconfirmed(1).expect("it is open");
    let publish = channel.publish(to(&queue), &BasicProperties::default(), "x");
    let mut pending: Pending = vec![
        ("publish", Box::new(Failing(publish))),
        ("wait_for_confirms", Box::new(Failing(channel.wait_for_confirms()))),
        ("on the wire", Box::new(Failing(channel.queue_declare(queue::Declare::default())))),
        ("queued", Box::new(Failing(channel.queue_declare(queue::Declare::default())))),
        ("get", Box::new(Failing(channel.basic_get(basic::Get::default())))),
        ("consume", Box::new(Failing(channel.basic_consume(consume(&queue))))),
        ("writable", Box::new(Failing(channel.writable()))),
        ("open_channel", Box::new(Failing(connection.open_channel()))),
        ("update_secret", Box::new(Failing(connection.update_secret("secret", "reason")))),
        ("close", Box::new(Failing(channel.close(200, "bye")))),
        ("closed", Box::new(channel.closed())),
        ("connection closed", Box::new(connection.closed())),
    ];
    for (what, future) in &mut pending {
        assert!(poll(future).is_pending(), "{what}");
    }
    pending
}

/// Grants what it takes to have one of everything pending.
fn begin(wire: &mut Wire) {
    wire.open();
    wire.grant("channel.open");
    wire.grant("confirm.select");
    wire.grant("basic.consume");
    let messages = [b"one", b"two"].into_iter().zip(1..);
    let messages = messages.map(|(body, tag)| delivery(1, "ctag1.0.0", tag, body));
    wire.send(messages.collect::<Vec<_>>().concat());
}

fn consuming<H: Host>(host: &H, channel: &AsyncChannel) -> Consumer {
    block_on(host, async {
        channel.confirm_delivery().await.expect("granted");
        let mut consumer = channel.basic_consume(consume(&"q".into())).await.expect("it starts");
        // The other one comes with it.
        assert_eq!(consumer.next().await.expect("it comes").body(), b"one");
        consumer
    })
}

fn a_connection_that_is_lost_ends_all_that_is_pending<H: Host>() {
    let peer = Peer::new(|wire| {
        begin(wire);
        wire.expect("queue.declare");
    });
    let host = H::new();
    let (connection, channel) = connect_with_channel(&host, peer.parameters());
    let mut consumer = consuming(&host, &channel);
    let pending = pending(&connection, &channel);
    // Some that nobody waits for any more are among them.
    drop((connection.open_channel(), connection.closed(), channel.closed(), channel.writable()));
    let cause = Error::StreamLost(StreamLost::EndOfStream);
    for (what, future) in pending {
        assert_eq!(block_on(&host, future), cause, "{what}");
    }
    block_on(&host, async {
        assert_eq!(consumer.next().await.expect("what came before").body(), b"two");
        assert!(consumer.next().await.is_none());
        assert_eq!(consumer.end(), Some(&ConsumerEnd::Channel(cause.clone())));
        assert_eq!(channel.closed().await, cause);
        assert_eq!(channel.writable().await, Err(cause.clone()));
        assert_eq!(connection.closed().await, cause);
    });
    peer.join();
}

fn a_loop_that_goes_ends_all_that_is_pending<H: Host>() {
    let peer = Peer::new(|wire| {
        begin(wire);
        wire.read_to_end();
    });
    let host = H::new();
    let (connection, channel) = connect_with_channel(&host, peer.parameters());
    let mut consumer = consuming(&host, &channel);
    let pending = pending(&connection, &channel);
    drop(host);
    let cause = Error::Loop(LoopError::Gone);
    for (what, mut future) in pending {
        assert_eq!(poll(&mut future), Poll::Ready(cause.clone()), "{what}");
    }
    let came_before = poll(&mut Box::pin(consumer.next()));
    assert!(matches!(came_before, Poll::Ready(Some(message)) if message.body() == b"two"));
    assert!(matches!(poll(&mut Box::pin(consumer.next())), Poll::Ready(None)));
    assert_eq!(consumer.end(), Some(&ConsumerEnd::Channel(cause.clone())));
    assert_eq!(poll(&mut channel.closed()), Poll::Ready(cause.clone()));
    assert_eq!(poll(&mut connection.closed()), Poll::Ready(cause));
    peer.join();
}

fn a_consumer_that_starts_too_late_gives_its_messages_back<H: Host>() {
    let peer = Peer::new(|wire| {
        wire.open();
        wire.grant("channel.open");
        wire.expect("basic.consume");
        wire.send(delivery(1, "ctag1.0.0", 1, b"one"));
        let mut rejected = 0;
        while let Some(frame) = wire.frame() {
            match frame.method() {
                Method::Basic(basic::Method::Reject(reject)) => {
                    assert_eq!(reject, basic::Reject { delivery_tag: 1, requeue: true });
                    rejected += 1;
                }
                // The consumer was given up by now.
                Method::Channel(channel::Method::Open(_)) => {
                    wire.answer(&frame);
                    wire.method(1, &basic::ConsumeOk { consumer_tag: "ctag1.0.0".into() });
                }
                _ if wire.answer(&frame) => break,
                _ => {}
            }
        }
        assert_eq!(rejected, 1);
    });
    let host = H::new();
    let (connection, channel) = connect_with_channel(&host, peer.parameters());
    channel.set_request_timeout(Duration::from_millis(300)).expect("it is open");
    let late = block_on(&host, channel.basic_consume(consume(&"q".into()))).unwrap_err();
    assert!(matches!(late, Error::RequestTimeout { method: "basic.consume", .. }), "{late:?}");
    block_on(&host, connection.open_channel()).expect("it opens");
    channel.set_request_timeout(None).expect("it is open");
    assert!(block_on(&host, channel.queue_declare(queue::Declare::default())).is_ok());
    assert_eq!(block_on(&host, connection.close(200, "bye")), Ok(()));
    peer.join();
}
