//! An AMQP 0-9-1 (RabbitMQ) client driven by callbacks and by any event loop.
#![warn(missing_docs)]

mod adapters;
mod channel;
mod connection;
mod error;
mod io_services;
mod ioloop;
pub mod protocol;

pub use adapters::*;
pub use channel::{Body, Channel, Delivery, GetMessage, Message, ReturnedMessage};
pub use connection::{Connection, ConnectionCallbacks, ConnectionParameters, PlainCredentials};
pub use error::*;
pub use io_services::{
    ConnectAttempt, Counters, FdHandler, FdKey, Interest, IoServices, Lookup, Ready,
    ResolveCallback, Services, WeakServices,
};
pub use ioloop::{IOLoop, LoopCore, LoopHandle, Remote, Stopper, TimerId};
pub use protocol::{BasicProperties, FieldTable, FieldValue, ShortStr, basic, exchange, queue, tx};
