//! An executor of one task on any loop, and what the tests ask of a broker.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use haypile::futures::{AsyncChannel, AsyncConnection};
use haypile::{
    BasicProperties, ConnectionCallbacks, ConnectionParameters, Remote, ShortStr, basic, queue,
};

use crate::support::Host;

thread_local! {
    static STOP: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
}

/// Stops the loop that the task waits on.
struct Woken {
    is_woken: AtomicBool,
    remote: Remote,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        if !self.is_woken.swap(true, Ordering::Relaxed) {
            let stop = || STOP.with_borrow(|stop| stop.as_ref().expect("a task runs")());
            self.remote.add_callback(stop).expect("the loop is there");
        }
    }
}

/// Runs the loop until the future is ready.
pub fn block_on<H: Host, T>(host: &H, future: impl Future<Output = T>) -> T {
    let remote = host.services().remote();
    let woken = Arc::new(Woken { is_woken: AtomicBool::new(false), remote });
    STOP.set(Some(host.stopper()));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        while !woken.is_woken.swap(false, Ordering::Relaxed) {
            host.run();
        }
    }
}

/// Polls a future, of which nobody is woken.
pub fn poll<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

pub fn connect<H: Host>(host: &H, parameters: ConnectionParameters) -> AsyncConnection {
    let connection = host.connect(parameters, ConnectionCallbacks::new());
    block_on(host, connection.opened()).expect("it opens")
}

pub fn connect_with_channel<H: Host>(
    host: &H,
    parameters: ConnectionParameters,
) -> (AsyncConnection, AsyncChannel) {
    let connection = connect(host, parameters);
    let channel = block_on(host, connection.open_channel()).expect("the channel opens");
    (connection, channel)
}

/// Declares a queue of this connection's own.
pub async fn own_queue(channel: &AsyncChannel) -> ShortStr<'static> {
    let declare = queue::Declare { exclusive: true, ..Default::default() };
    channel.queue_declare(declare).await.expect("the queue is declared").queue
}

/// What the broker says of a queue: messages that wait, and consumers.
pub async fn look_at(channel: &AsyncChannel, queue: &ShortStr<'_>) -> (u32, u32) {
    let look = queue::Declare { queue: queue.as_borrowed(), passive: true, ..Default::default() };
    let found = channel.queue_declare(look).await.expect("the queue is there");
    (found.message_count, found.consumer_count)
}

/// Asks for it until it is so.
pub async fn until_queue_has(channel: &AsyncChannel, queue: &ShortStr<'_>, has: (u32, u32)) {
    while look_at(channel, queue).await != has {}
}

pub fn to<'a>(queue: &'a ShortStr<'_>) -> basic::Publish<'a> {
    basic::Publish { routing_key: queue.as_borrowed(), ..Default::default() }
}

pub fn publish(channel: &AsyncChannel, queue: &ShortStr<'_>, body: &str) {
    channel.basic_publish(to(queue), &BasicProperties::default(), body).expect("it is open");
}

pub fn consume<'a>(queue: &'a ShortStr<'_>) -> basic::Consume<'a> {
    basic::Consume { queue: queue.as_borrowed(), ..Default::default() }
}
