//! Publishes a message a second by libuv's timer, consumes them, and stops after ten.
//!
//! ```text
//! scripts/with-broker cargo run --features libuv --example libuv
//! ```
//!
//! The broker is the one that `AMQP_URL` names; without it, the one on this host. An argument is
//! another interval, in milliseconds.
#![allow(unsafe_code, reason = "libuv is C")]

use std::ffi::{c_int, c_uint, c_void};

use haypile::native::uv_loop_t;
use haypile::{
    BasicProperties, Channel, ConnectionCallbacks, ConnectionParameters, Delivery, LibuvConnection,
    Result, basic, queue,
};

const MESSAGES: u64 = 10;

fn main() -> Result<()> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".into());
    let parameters: ConnectionParameters = url.parse()?;
    let raw_loop = uv_default_loop();
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
    // SAFETY: the default loop is always there, and is run on this thread.
    let connection = unsafe { LibuvConnection::new(parameters, callbacks, raw_loop) }?;
    // SAFETY: as above. Once the connection has gone, libuv lets go of what it had, and can close.
    unsafe {
        uv_run(raw_loop, UV_RUN_DEFAULT);
        drop(connection);
        uv_run(raw_loop, UV_RUN_DEFAULT);
        assert_eq!(uv_loop_close(raw_loop), 0);
    }
    Ok(())
}

fn start_timer(raw_loop: *mut uv_loop_t, publish: Publish) {
    // SAFETY: the memory of the timer is there until it is closed, and so is what it publishes.
    unsafe {
        let timer =
            Box::into_raw(vec![0u128; uv_handle_size(UV_TIMER).div_ceil(16)].into_boxed_slice())
                .cast();
        assert_eq!(uv_timer_init(raw_loop, timer), 0);
        uv_handle_set_data(timer, Box::into_raw(Box::new(publish)).cast());
        assert_eq!(uv_timer_start(timer, on_timer, interval(), interval()), 0);
    }
}

extern "C" fn on_timer(timer: Handle) {
    // SAFETY: set by `start_timer`.
    unsafe {
        if !(*uv_handle_get_data(timer).cast::<Publish>()).next() {
            uv_close(timer, on_closed);
        }
    }
}

extern "C" fn on_closed(timer: Handle) {
    // SAFETY: made by `start_timer`, and not used any more.
    unsafe {
        drop(Box::from_raw(uv_handle_get_data(timer).cast::<Publish>()));
        let size = uv_handle_size(UV_TIMER).div_ceil(16);
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(timer.cast::<u128>(), size)));
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

type Handle = *mut c_void;

const UV_RUN_DEFAULT: c_uint = 0;
const UV_TIMER: c_uint = 13;

#[link(name = "uv")]
unsafe extern "C" {
    safe fn uv_default_loop() -> *mut uv_loop_t;
    fn uv_loop_close(uv_loop: *mut uv_loop_t) -> c_int;
    fn uv_run(uv_loop: *mut uv_loop_t, mode: c_uint) -> c_int;
    safe fn uv_handle_size(kind: c_uint) -> usize;
    fn uv_handle_set_data(handle: Handle, data: *mut c_void);
    fn uv_handle_get_data(handle: Handle) -> *mut c_void;
    fn uv_close(handle: Handle, closed: extern "C" fn(Handle));
    fn uv_timer_init(uv_loop: *mut uv_loop_t, timer: Handle) -> c_int;
    fn uv_timer_start(
        timer: Handle,
        call: extern "C" fn(Handle),
        timeout: u64,
        repeat: u64,
    ) -> c_int;
}
