//! What the suite is made with: a broker that follows a script, a server that forwards to a real one
//! and does to connections what networks do. For the tests of this crate too, and no promise to
//! anybody else.

pub mod forward;
pub mod lag;
pub mod peers;

use crate::{BasicProperties, Body, Channel, basic};

/// Publishes to a queue.
pub fn publish<'b>(channel: &Channel, queue: &str, body: impl Into<Body<'b>>) {
    let to = basic::Publish { routing_key: queue.into(), ..Default::default() };
    channel.basic_publish(to, &BasicProperties::default(), body).expect("the channel is open");
}
