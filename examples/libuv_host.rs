//! A libuv program with more in its loop than the broker: a TCP server publishes what its clients
//! send, a timer tells how much it was, and what comes back from the broker is printed. It stops
//! when a client sends `stop`.
//!
//! ```text
//! scripts/with-broker cargo run --features libuv --example libuv_host
//! ```
//!
//! The broker is the one that `AMQP_URL` names; without it, the one on this host.
#![allow(unsafe_code, reason = "libuv is C")]

use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::ptr;
use std::rc::Rc;

use haypile::native::uv_loop_t;
use haypile::{
    BasicProperties, Channel, ConnectionCallbacks, ConnectionParameters, Delivery, LibuvConnection,
    Result, basic, queue,
};

const QUARTER_SECOND: u64 = 250;

/// What the server and the timer share.
struct Relay {
    channel: Channel,
    queue: String,
    published: Cell<u64>,
    /// What a client sends is read into this.
    buffer: RefCell<[u8; 1024]>,
    server: Cell<Handle>,
    timer: Cell<Handle>,
}

fn main() -> Result<()> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".into());
    let parameters: ConnectionParameters = url.parse()?;
    let uv_loop = uv_default_loop();
    let callbacks = ConnectionCallbacks::new()
        .on_open(move |connection| {
            let opened = move |channel: &Channel, opened| on_channel_open(channel, opened, uv_loop);
            connection.channel(None, opened).expect("the connection is open");
        })
        .on_open_error(|_, error| eprintln!("{error}"))
        .on_close(|_, reason| println!("{reason}"));
    // SAFETY: the default loop is always there, and is run on this thread.
    unsafe {
        let connection = LibuvConnection::new(parameters, callbacks, uv_loop)?;
        uv_run(uv_loop, UV_RUN_DEFAULT);
        drop(connection);
        uv_run(uv_loop, UV_RUN_DEFAULT);
        assert_eq!(uv_loop_close(uv_loop), 0, "nothing is left in the loop");
    }
    Ok(())
}

fn on_channel_open(channel: &Channel, opened: Result<()>, uv_loop: *mut uv_loop_t) {
    opened.expect("the broker opens a channel");
    let declare = queue::Declare { exclusive: true, ..Default::default() };
    let declared = move |channel: &Channel, declared: Result<queue::DeclareOk<'static>>| {
        let queue = declared.expect("the broker declares a queue").queue;
        let consume = basic::Consume { queue: queue.clone(), no_ack: true, ..Default::default() };
        let started = |_: &Channel, started: Result<_>| {
            started.expect("the broker starts the consumer");
        };
        channel.basic_consume(consume, on_message, started).expect("the channel is open");
        serve(channel.clone(), queue.to_string(), uv_loop);
    };
    channel.queue_declare(declare, declared).expect("the channel is open");
}

fn on_message(channel: &Channel, delivery: &Delivery<'_>) {
    let text = String::from_utf8_lossy(delivery.body());
    println!("from the broker: {}", text.trim_end());
    if text.trim_end() == "stop" {
        channel.connection().close(200, "bye").expect("the connection is open");
    }
}

fn serve(channel: Channel, queue: String, uv_loop: *mut uv_loop_t) {
    let relay = Rc::new(Relay {
        channel,
        queue,
        published: Cell::new(0),
        buffer: RefCell::new([0; 1024]),
        server: Cell::new(ptr::null_mut()),
        timer: Cell::new(ptr::null_mut()),
    });
    // SAFETY: each handle has its memory, and a share of the relay, until it is closed.
    unsafe {
        let (timer, server) = (new_handle(UV_TIMER, &relay), new_handle(UV_TCP, &relay));
        relay.timer.set(timer);
        relay.server.set(server);
        assert_eq!(uv_timer_init(uv_loop, timer), 0);
        assert_eq!(uv_timer_start(timer, on_timer, QUARTER_SECOND, QUARTER_SECOND), 0);

        let mut address = [0u16; 64];
        assert_eq!(uv_tcp_init(uv_loop, server), 0);
        assert_eq!(uv_ip4_addr(c"127.0.0.1".as_ptr(), 0, address.as_mut_ptr().cast()), 0);
        assert_eq!(uv_tcp_bind(server, address.as_ptr().cast(), 0), 0);
        assert_eq!(uv_listen(server, 16, on_client), 0);
        let mut length = size_of_val(&address) as c_int;
        assert_eq!(uv_tcp_getsockname(server, address.as_mut_ptr().cast(), &mut length), 0);
        println!("listening on 127.0.0.1:{}", u16::from_be(address[1]));
    }
}

extern "C" fn on_timer(timer: Handle) {
    let relay = relay(timer);
    if relay.channel.is_open() {
        println!("published so far: {}", relay.published.get());
        return;
    }
    // The connection has ended, and so does the rest.
    for handle in [relay.timer.get(), relay.server.get()] {
        // SAFETY: it is open: the timer, which closes both, is not called again.
        unsafe { uv_close(handle, on_closed) };
    }
}

extern "C" fn on_client(server: Handle, status: c_int) {
    assert_eq!(status, 0);
    // SAFETY: as in `serve`.
    unsafe {
        let client = new_handle(UV_TCP, &relay(server));
        assert_eq!(uv_tcp_init(uv_handle_get_loop(server), client), 0);
        assert_eq!(uv_accept(server, client), 0);
        assert_eq!(uv_read_start(client, on_room_wanted, on_read), 0);
    }
}

extern "C" fn on_room_wanted(client: Handle, _: usize, room: *mut uv_buf_t) {
    let relay = relay(client);
    let base = relay.buffer.as_ptr().cast();
    // SAFETY: libuv has room for the answer. It reads at once, so that one buffer does for all.
    unsafe { room.write(uv_buf_t { base, len: relay.buffer.borrow().len() }) };
}

extern "C" fn on_read(client: Handle, count: isize, _: *const uv_buf_t) {
    let relay = relay(client);
    let Ok(count) = usize::try_from(count) else {
        // SAFETY: the client has gone; it is open on this side.
        return unsafe { uv_close(client, on_closed) };
    };
    let to = basic::Publish { routing_key: relay.queue.as_str().into(), ..Default::default() };
    let properties = BasicProperties::default();
    match relay.channel.basic_publish(to, &properties, &relay.buffer.borrow()[..count]) {
        Ok(_) => relay.published.set(relay.published.get() + 1),
        Err(error) => eprintln!("not published: {error}"),
    }
}

type Handle = *mut c_void;

/// Memory for a handle, with a share of the relay.
fn new_handle(kind: c_uint, relay: &Rc<Relay>) -> Handle {
    let memory = vec![0u128; uv_handle_size(kind).div_ceil(16)].into_boxed_slice();
    let handle = Box::into_raw(memory).cast();
    // SAFETY: it is large enough. `uv_..._init` leaves the data alone.
    unsafe { uv_handle_set_data(handle, Rc::into_raw(Rc::clone(relay)).cast_mut().cast()) };
    handle
}

fn relay(handle: Handle) -> Rc<Relay> {
    // SAFETY: set by `new_handle`, and dropped in `on_closed`.
    unsafe {
        let relay = uv_handle_get_data(handle).cast::<Relay>();
        Rc::increment_strong_count(relay);
        Rc::from_raw(relay)
    }
}

extern "C" fn on_closed(handle: Handle) {
    // SAFETY: libuv is done with it; both are from `new_handle`.
    unsafe {
        drop(Rc::from_raw(uv_handle_get_data(handle).cast::<Relay>()));
        let size = uv_handle_size(uv_handle_get_type(handle)).div_ceil(16);
        drop(Box::from_raw(ptr::slice_from_raw_parts_mut(handle.cast::<u128>(), size)));
    }
}

const UV_RUN_DEFAULT: c_uint = 0;
const UV_TCP: c_uint = 12;
const UV_TIMER: c_uint = 13;

#[allow(non_camel_case_types, reason = "the name is C's")]
#[repr(C)]
struct uv_buf_t {
    base: *mut c_char,
    len: usize,
}

type Room = extern "C" fn(Handle, usize, *mut uv_buf_t);
type Read = extern "C" fn(Handle, isize, *const uv_buf_t);

#[link(name = "uv")]
unsafe extern "C" {
    safe fn uv_default_loop() -> *mut uv_loop_t;
    fn uv_loop_close(uv_loop: *mut uv_loop_t) -> c_int;
    fn uv_run(uv_loop: *mut uv_loop_t, mode: c_uint) -> c_int;
    safe fn uv_handle_size(kind: c_uint) -> usize;
    fn uv_handle_get_type(handle: Handle) -> c_uint;
    fn uv_handle_get_loop(handle: Handle) -> *mut uv_loop_t;
    fn uv_handle_set_data(handle: Handle, data: *mut c_void);
    fn uv_handle_get_data(handle: Handle) -> *mut c_void;
    fn uv_close(handle: Handle, closed: extern "C" fn(Handle));
    fn uv_timer_init(uv_loop: *mut uv_loop_t, timer: Handle) -> c_int;
    fn uv_timer_start(timer: Handle, call: extern "C" fn(Handle), delay: u64, repeat: u64)
    -> c_int;
    fn uv_ip4_addr(ip: *const c_char, port: c_int, address: *mut c_void) -> c_int;
    fn uv_tcp_init(uv_loop: *mut uv_loop_t, tcp: Handle) -> c_int;
    fn uv_tcp_bind(tcp: Handle, address: *const c_void, flags: c_uint) -> c_int;
    fn uv_tcp_getsockname(tcp: Handle, address: *mut c_void, length: *mut c_int) -> c_int;
    fn uv_listen(tcp: Handle, backlog: c_int, call: extern "C" fn(Handle, c_int)) -> c_int;
    fn uv_accept(server: Handle, client: Handle) -> c_int;
    fn uv_read_start(tcp: Handle, room: Room, read: Read) -> c_int;
}
