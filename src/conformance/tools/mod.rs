//! What the suite is made with: a broker that follows a script, a server that forwards to a real one
//! and does to connections what networks do. For the tests of this crate too, and no promise to
//! anybody else.

pub mod forward;
pub mod lag;
pub mod peers;
mod trace;

use std::io::Write;
use std::os::unix::net::UnixStream;

pub use trace::{Probe, Probes, Trace};

use crate::{BasicProperties, Body, Channel, basic};

/// Publishes to a queue.
pub fn publish<'b>(channel: &Channel, queue: &str, body: impl Into<Body<'b>>) {
    let to = basic::Publish { routing_key: queue.into(), ..Default::default() };
    channel.basic_publish(to, &BasicProperties::default(), body).expect("the channel is open");
}

/// A pair of which the second has a byte to read, and does not block.
pub fn readable_pair() -> (UnixStream, UnixStream) {
    let (mut there, here) = UnixStream::pair().expect("a pair");
    there.write_all(b"x").expect("there is room");
    here.set_nonblocking(true).expect("a socket");
    (there, here)
}
