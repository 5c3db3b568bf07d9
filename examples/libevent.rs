//! Publishes a message a second by libevent's timer, consumes them, and stops after ten.
//!
//! ```text
//! scripts/with-broker cargo run --features libevent --example libevent
//! ```
//!
//! The broker is the one that `AMQP_URL` names; without it, the one on this host. An argument is
//! another interval, in milliseconds.
#![allow(unsafe_code, reason = "libevent is C")]

use std::ffi::{c_int, c_long, c_short, c_void};

use haypile::native::event_base;
use haypile::{
    BasicProperties, Channel, ConnectionCallbacks, ConnectionParameters, Delivery,
    LibeventConnection, Result, basic, queue,
};

const MESSAGES: u64 = 10;

fn main() -> Result<()> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".into());
    let parameters: ConnectionParameters = url.parse()?;
    let raw_loop = event_base_new();
    // The loop runs on for the connection, and returns when that has ended.
    let callbacks = ConnectionCallbacks::new()
        .on_open(move |connection| {
            println!("connected");
            let opened = move |channel: &Channel, opened| {
                on_channel_open(channel, opened, move |publish| start_timer(raw_loop, publish));
            };
            connection.channel(None, opened).expect("the connection is open");
        })
        .on_open_error(|_, error| eprintln!("{error}"))
        .on_close(|_, reason| println!("{reason}"));
    // SAFETY: the loop is freed after the connection has gone.
    let connection = unsafe { LibeventConnection::new(parameters, callbacks, raw_loop) }?;
    // SAFETY: as above.
    unsafe {
        event_base_dispatch(raw_loop);
        drop(connection);
        event_base_free(raw_loop);
    }
    Ok(())
}

/// A timer of one call, which is set again in it.
struct Timer {
    event: *mut c_void,
    publish: Publish,
}

impl Timer {
    fn set(&self) {
        let milliseconds = interval() as c_long;
        let (tv_sec, tv_usec) = (milliseconds / 1000, milliseconds % 1000 * 1000);
        // SAFETY: the event is freed by its last call.
        assert_eq!(unsafe { event_add(self.event, &timeval { tv_sec, tv_usec }) }, 0);
    }
}

fn start_timer(raw_loop: *mut event_base, publish: Publish) {
    let timer = Box::leak(Box::new(Timer { event: std::ptr::null_mut(), publish }));
    // SAFETY: the loop is there, and the timer until its last call.
    timer.event = unsafe { event_new(raw_loop, -1, 0, on_timer, (&raw mut *timer).cast()) };
    timer.set();
}

extern "C" fn on_timer(_: c_int, _: c_short, timer: *mut c_void) {
    // SAFETY: made by `start_timer`, and freed by the last call, which is this one unless it is set.
    let mut timer = unsafe { Box::from_raw(timer.cast::<Timer>()) };
    if timer.publish.next() {
        timer.set();
        Box::leak(timer);
    } else {
        // SAFETY: see above.
        unsafe { event_free(timer.event) };
    }
}

fn on_channel_open(
    channel: &Channel,
    opened: Result<()>,
    start_timer: impl FnOnce(Publish) + 'static,
) {
    opened.expect("the broker opens a channel");
    let declare = queue::Declare { exclusive: true, ..Default::default() };
    let declared = |channel: &Channel, declared: Result<queue::DeclareOk<'static>>| {
        let queue = declared.expect("the broker declares a queue").queue;
        let consume = basic::Consume { queue: queue.clone(), ..Default::default() };
        let started = |_: &Channel, started: Result<_>| {
            started.expect("the broker starts the consumer");
        };
        channel.basic_consume(consume, on_message, started).expect("the channel is open");
        start_timer(Publish { channel: channel.clone(), queue: queue.to_string(), number: 0 });
    };
    channel.queue_declare(declare, declared).expect("the channel is open");
}

/// What the timer does.
struct Publish {
    channel: Channel,
    queue: String,
    number: u64,
}

impl Publish {
    /// Publishes the next message. Whether there is another one.
    fn next(&mut self) -> bool {
        self.number += 1;
        let to = basic::Publish { routing_key: self.queue.as_str().into(), ..Default::default() };
        let body = format!("message {}", self.number);
        let published = self.channel.basic_publish(to, &BasicProperties::default(), body);
        published.expect("the channel is open");
        self.number < MESSAGES
    }
}

fn on_message(channel: &Channel, delivery: &Delivery<'_>) {
    println!("received {}", String::from_utf8_lossy(delivery.body()));
    let delivery_tag = delivery.delivery_tag();
    channel.basic_ack(basic::Ack { delivery_tag, multiple: false }).expect("the channel is open");
    if delivery_tag == MESSAGES {
        channel.connection().close(200, "bye").expect("the connection is open");
    }
}

/// In milliseconds.
fn interval() -> u64 {
    let argument = std::env::args().nth(1).map(|text| text.parse().expect("milliseconds"));
    argument.unwrap_or(1000)
}

#[allow(non_camel_case_types, reason = "the name is C's")]
#[repr(C)]
struct timeval {
    tv_sec: c_long,
    tv_usec: c_long,
}

type Callback = extern "C" fn(c_int, c_short, *mut c_void);

#[link(name = "event_core")]
unsafe extern "C" {
    safe fn event_base_new() -> *mut event_base;
    fn event_base_dispatch(base: *mut event_base) -> c_int;
    fn event_base_free(base: *mut event_base);
    fn event_new(
        base: *mut event_base,
        fd: c_int,
        events: c_short,
        callback: Callback,
        data: *mut c_void,
    ) -> *mut c_void;
    fn event_add(event: *mut c_void, timeout: *const timeval) -> c_int;
    fn event_free(event: *mut c_void);
}
