//! Wakers that do what they should not, and what they may.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use haypile::futures::AsyncConnection;
use haypile::{Channel, Misuse, Party, basic, queue};

use crate::support::{Host, broker, every_host, logs};
use crate::task::{block_on, connect_with_channel, consume, own_queue, publish};

every_host!(
    one_that_panics_harms_nobody_else,
    one_may_call_everything,
    one_may_close_the_connection,
    the_last_one_is_woken_once,
    a_reply_is_polled_in_vain_once_it_was_taken,
);

thread_local! {
    static ON_WAKE: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
    static WAKES: Cell<usize> = const { Cell::new(0) };
}

/// Calls what the test says.
struct Calls;

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        WAKES.set(WAKES.get() + 1);
        let on_wake = ON_WAKE.with_borrow(Option::clone);
        on_wake.into_iter().for_each(|on_wake| on_wake());
    }
}

fn on_wake(call: impl Fn() + 'static) {
    ON_WAKE.set(Some(Rc::new(call)));
    WAKES.set(0);
}

/// Polls a future, of which that waker is to be woken.
fn wait(future: &mut (impl Future + Unpin)) {
    let waker = Waker::from(Arc::new(Calls));
    let polled = Pin::new(future).poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
}

fn one_that_panics_harms_nobody_else<H: Host>() {
    logs::keep();
    let host = H::new();
    let (connection, channel) = connect_with_channel(&host, broker());
    on_wake(|| panic!("as an executor should not"));
    let mut reply = channel.queue_declare(queue::Declare { exclusive: true, ..Default::default() });
    let (mut closed, mut other) = (connection.closed(), connection.closed());
    wait(&mut reply);
    wait(&mut closed);
    wait(&mut other);
    let third = connection.closed();
    assert!(block_on(&host, own_queue(&channel)).len() > 1);
    assert_eq!(WAKES.get(), 1);
    let queue = block_on(&host, reply).expect("what came for it is there").queue;
    let mut consumer = block_on(&host, channel.basic_consume(consume(&queue))).expect("it starts");
    let mut next = Box::pin(consumer.next());
    wait(&mut next);
    publish(&channel, &queue, "one");
    while WAKES.get() < 2 {
        block_on(&host, own_queue(&channel));
    }
    let delivery = block_on(&host, next).expect("it has come");
    assert_eq!(delivery.body(), b"one");
    assert!(connection.is_open(), "no callback has panicked");
    block_on(&host, connection.close(200, "bye")).expect("it closes");
    let reason = block_on(&host, third);
    assert_eq!(WAKES.get(), 4, "one that panics does not keep the others from being woken");
    assert_eq!((block_on(&host, closed), block_on(&host, other)), (reason.clone(), reason));
    let panics = logs::take().into_iter().filter(|line| line.contains("waker")).count();
    assert_eq!(panics, 4);
}

/// What a waker may call, as everything else may.
fn call_everything(channel: &Channel, connection: &AsyncConnection) {
    drop(connection.opened());
    drop(connection.open_channel());
    drop(connection.closed());
    drop(channel.queue_declare(queue::Declare::default(), |_, _| ()));
    drop(channel.basic_publish(basic::Publish::default(), &Default::default(), "x"));
    drop(connection.update_secret("guest", "it expires"));
    connection.flush();
}

fn one_may_call_everything<H: Host>() {
    let host = H::new();
    let (connection, channel) = connect_with_channel(&host, broker());
    let queue = block_on(&host, own_queue(&channel));
    let mut consumer = block_on(&host, channel.basic_consume(consume(&queue))).expect("it starts");
    let (on_channel, on_connection) = (channel.clone(), connection.clone());
    on_wake(move || {
        call_everything(&on_channel, &on_connection);
        drop(on_channel.writable());
        drop(on_channel.basic_consume(consume(&"no-such-queue".into())));
    });
    let mut next = Box::pin(consumer.next());
    let mut closed = channel.closed();
    wait(&mut next);
    wait(&mut closed);
    publish(&channel, &queue, "one");
    // What is called closes the channel, so that the other one is woken.
    let reason = block_on(&host, channel.closed());
    assert_eq!(block_on(&host, closed), reason);
    assert_eq!(WAKES.get(), 2);
    assert_eq!(block_on(&host, next).expect("it has come").body(), b"one");
    ON_WAKE.take();
    assert_eq!(block_on(&host, connection.close(200, "bye")), Ok(()));
}

fn one_may_close_the_connection<H: Host>() {
    let host = H::new();
    let (connection, channel) = connect_with_channel(&host, broker());
    let closed = connection.closed();
    let all = RefCell::new(Some((connection, channel.clone())));
    on_wake(move || {
        // All handles go, too.
        let Some((connection, channel)) = all.take() else { return };
        drop((*connection).close(200, "bye"));
        drop((connection, channel));
    });
    let mut reply = channel.queue_declare(queue::Declare { exclusive: true, ..Default::default() });
    wait(&mut reply);
    drop(channel);
    let reason = block_on(&host, closed);
    let by_client = |it: &haypile::Closed| it.by == Party::Client;
    assert!(matches!(&reason, haypile::Error::ConnectionClosed(it) if by_client(it)), "{reason}");
    assert!(block_on(&host, reply).is_ok(), "it had come before");
    ON_WAKE.take();
}

fn the_last_one_is_woken_once<H: Host>() {
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    on_wake(|| ());
    let mut reply = channel.queue_declare(queue::Declare { exclusive: true, ..Default::default() });
    for _ in 0..5 {
        wait(&mut reply);
    }
    block_on(&host, reply).expect("the task's own waker has taken the place");
    assert_eq!(WAKES.get(), 0);
    let mut reply = channel.queue_declare(queue::Declare { exclusive: true, ..Default::default() });
    for _ in 0..5 {
        wait(&mut reply);
    }
    block_on(&host, own_queue(&channel));
    assert_eq!(WAKES.get(), 1);
    drop(reply);
}

fn a_reply_is_polled_in_vain_once_it_was_taken<H: Host>() {
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    block_on(&host, channel.close(200, "bye")).expect("it closes");
    let mut reply = channel.basic_qos(basic::Qos::default());
    assert_eq!(block_on(&host, &mut reply), Err(Misuse::ChannelNotOpen.into()));
    let again = std::panic::AssertUnwindSafe(|| block_on(&host, &mut reply));
    assert!(std::panic::catch_unwind(again).is_err(), "as of every other future");
}
