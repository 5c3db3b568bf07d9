//! The clients.

use super::job::Work;
use super::{amiquip, amqprs, haypile, lapin, raw};
use crate::Result;
use crate::outcome::Outcome;

/// Does the work; `None` if the client has nothing of the kind.
pub type Client = fn(&Work) -> Result<Option<Outcome>>;

pub const RAW: &str = "raw";
pub const HAYPILE: &str = "haypile";

/// A client that has more than one way comes once for each: the plain one, each call after the
/// other, and its best.
pub const ALL: [&str; 7] =
    [RAW, HAYPILE, "lapin", "lapin-batched", "amqprs", "amqprs-batched", "amiquip"];

pub fn client(name: &str) -> Option<Client> {
    match name {
        RAW => Some(raw::run),
        HAYPILE => Some(haypile::run),
        "lapin" => Some(lapin::plain),
        "lapin-batched" => Some(lapin::batched),
        "amqprs" => Some(amqprs::plain),
        "amqprs-batched" => Some(amqprs::batched),
        "amiquip" => Some(amiquip::run),
        _ => None,
    }
}
