//! An AMQP 0-9-1 (RabbitMQ) client driven by callbacks and by any event loop.
#![warn(missing_docs)]

mod error;
mod io_services;
mod ioloop;
pub mod protocol;

pub use error::*;
pub use io_services::{
    ConnectAttempt, FdHandler, FdKey, Interest, IoServices, Lookup, Ready, ResolveCallback,
    Services, WeakServices,
};
pub use ioloop::{IOLoop, LoopCore, LoopHandle, Remote, Stopper, TimerId};
