//! An AMQP 0-9-1 (RabbitMQ) client driven by callbacks and by any event loop.
#![warn(missing_docs)]

mod error;
pub mod protocol;

pub use error::*;
