//! Publishes a message a second by libev's timer, consumes them, and stops after ten.
//!
//! ```text
//! scripts/with-broker cargo run --features libev --example libev
//! ```
//!
//! The broker is the one that `AMQP_URL` names; without it, the one on this host. An argument is
//! another interval, in milliseconds.
#![allow(unsafe_code, reason = "libev is C")]

use std::ffi::{c_int, c_uint, c_void};

use haypile::native::ev_loop;
use haypile::{
    BasicProperties, Channel, ConnectionCallbacks, ConnectionParameters, Delivery, LibevConnection,
    Result, basic, queue,
};

const MESSAGES: u64 = 10;

fn main() -> Result<()> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".into());
    let parameters: ConnectionParameters = url.parse()?;
    let raw_loop = ev_default_loop(0);
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
    // SAFETY: a loop that is run on this thread.
    let connection = unsafe { LibevConnection::new(parameters, callbacks, raw_loop) }?;
    // SAFETY: as above.
    unsafe {
        ev_run(raw_loop, 0);
        drop(connection);
        ev_loop_destroy(raw_loop);
    }
    Ok(())
}

fn start_timer(raw_loop: *mut ev_loop, publish: Publish) {
    let every = interval() as f64 / 1000.0;
    let data = Box::into_raw(Box::new(publish)).cast();
    let (active, pending, priority) = (0, 0, 0);
    let timer =
        ev_timer { active, pending, priority, data, cb: on_timer, at: every, repeat: every };
    // SAFETY: the loop is there, and the timer until it is stopped.
    unsafe { ev_timer_start(raw_loop, Box::into_raw(Box::new(timer))) };
}

extern "C" fn on_timer(raw_loop: *mut ev_loop, timer: *mut ev_timer, _: c_int) {
    // SAFETY: made by `start_timer`, and freed once it is stopped.
    unsafe {
        let publish = (*timer).data.cast::<Publish>();
        if !(*publish).next() {
            ev_timer_stop(raw_loop, timer);
            drop((Box::from_raw(publish), Box::from_raw(timer)));
        }
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
struct ev_timer {
    active: c_int,
    pending: c_int,
    priority: c_int,
    data: *mut c_void,
    cb: extern "C" fn(*mut ev_loop, *mut ev_timer, c_int),
    at: f64,
    repeat: f64,
}

#[link(name = "ev")]
unsafe extern "C" {
    safe fn ev_default_loop(flags: c_uint) -> *mut ev_loop;
    fn ev_loop_destroy(ev: *mut ev_loop);
    fn ev_run(ev: *mut ev_loop, flags: c_int) -> c_int;
    fn ev_timer_start(ev: *mut ev_loop, timer: *mut ev_timer);
    fn ev_timer_stop(ev: *mut ev_loop, timer: *mut ev_timer);
}
