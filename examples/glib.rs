//! Publishes a message a second by GLib's timer, consumes them, and stops after ten.
//!
//! ```text
//! scripts/with-broker cargo run --features glib --example glib
//! ```
//!
//! The broker is the one that `AMQP_URL` names; without it, the one on this host. An argument is
//! another interval, in milliseconds.
#![allow(unsafe_code, reason = "GLib is C")]

use std::ffi::{c_int, c_uint, c_void};
use std::ptr;

use haypile::{
    BasicProperties, Channel, ConnectionCallbacks, ConnectionParameters, Delivery, GlibConnection,
    Result, basic, queue,
};

const MESSAGES: u64 = 10;

fn main() -> Result<()> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".into());
    let parameters: ConnectionParameters = url.parse()?;
    let raw_loop = MainLoop::new();
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            println!("connected");
            let opened = |channel: &Channel, opened| {
                on_channel_open(channel, opened, start_timer);
            };
            connection.channel(None, opened).expect("the connection is open");
        })
        .on_open_error(move |_, error| {
            eprintln!("{error}");
            raw_loop.quit();
        })
        .on_close(move |_, reason| {
            println!("{reason}");
            raw_loop.quit();
        });
    // SAFETY: the default context, which is run on this thread.
    let connection = unsafe { GlibConnection::new(parameters, callbacks, ptr::null_mut()) }?;
    // SAFETY: made above.
    unsafe {
        g_main_loop_run(raw_loop.0);
        drop(connection);
        g_main_loop_unref(raw_loop.0);
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct MainLoop(*mut c_void);

impl MainLoop {
    fn new() -> Self {
        // SAFETY: null is the default context.
        Self(unsafe { g_main_loop_new(ptr::null_mut(), 0) })
    }

    fn quit(self) {
        // SAFETY: called from inside its run.
        unsafe { g_main_loop_quit(self.0) };
    }
}

fn start_timer(publish: Publish) {
    let data = Box::into_raw(Box::new(publish)).cast();
    // SAFETY: GLib frees the data with the source.
    unsafe { g_timeout_add_full(0, interval() as c_uint, on_timer, data, on_destroyed) };
}

extern "C" fn on_timer(publish: *mut c_void) -> c_int {
    // SAFETY: set by `start_timer`.
    unsafe { (*publish.cast::<Publish>()).next().into() }
}

extern "C" fn on_destroyed(publish: *mut c_void) {
    // SAFETY: made by `start_timer`, and not used any more.
    drop(unsafe { Box::from_raw(publish.cast::<Publish>()) });
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

#[link(name = "glib-2.0")]
unsafe extern "C" {
    fn g_main_loop_new(context: *mut c_void, is_running: c_int) -> *mut c_void;
    fn g_main_loop_quit(main_loop: *mut c_void);
    fn g_main_loop_run(main_loop: *mut c_void);
    fn g_main_loop_unref(main_loop: *mut c_void);
    fn g_timeout_add_full(
        priority: c_int,
        milliseconds: c_uint,
        call: extern "C" fn(*mut c_void) -> c_int,
        data: *mut c_void,
        destroyed: extern "C" fn(*mut c_void),
    ) -> c_uint;
}
