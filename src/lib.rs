//! An AMQP 0-9-1 (RabbitMQ) client that is driven by callbacks and by any event loop: pika's
//! adapter model.
//!
//! ```no_run
//! use haypile::{BasicProperties, Channel, basic, queue};
//! use haypile::{ConnectionCallbacks, ConnectionParameters, IOLoop, Result, SelectConnection};
//!
//! fn main() -> Result<()> {
//!     let ioloop = IOLoop::new()?;
//!     let handle = ioloop.handle();
//!     let callbacks = ConnectionCallbacks::new()
//!         .on_open(|connection| drop(connection.channel(None, on_channel).expect("it is open")))
//!         .on_close(move |_, reason| {
//!             println!("{reason}");
//!             handle.stop();
//!         });
//!     let parameters: ConnectionParameters = "amqp://localhost".parse()?;
//!     let _connection = SelectConnection::with_ioloop(parameters, callbacks, &ioloop)?;
//!     ioloop.start()
//! }
//!
//! fn on_channel(channel: &Channel, opened: Result<()>) {
//!     opened.expect("the broker opens the channel");
//!     let declare = queue::Declare { queue: "hello".into(), ..Default::default() };
//!     let declared = |channel: &Channel, declared: Result<queue::DeclareOk<'static>>| {
//!         let to = basic::Publish { routing_key: declared.unwrap().queue, ..Default::default() };
//!         channel.basic_publish(to, &BasicProperties::default(), "Hello!").expect("it is open");
//!         channel.connection().close(200, "bye").expect("it is open");
//!     };
//!     channel.queue_declare(declare, declared).expect("it is open");
//! }
//! ```
//!
//! # Who calls whom
//!
//! ```text
//!   your program                                  your closures
//!        │ calls: publish, declare, close, ...          ▲ on_open, on_message, replies, ...
//!        ▼                                              │ from the loop, with nothing borrowed
//!   Connection, Channel    cheap handles                │
//!        │                                              │
//!        ▼                                              │
//!   the state machine      frames in order; no I/O, no clock: returns what happened
//!        │ bytes to send, one write a turn              ▲ bytes that came, parsed in place
//!        ▼                                              │
//!   a stream               on IoServices: watch this descriptor, call me then
//!        │                                              ▲
//!        ▼                                              │
//!   the loop               IOLoop, or one that the program has: tokio, GLib, libuv, ..., your own
//! ```
//!
//! - **One thread.** A loop and everything on it stay on their thread, which the compiler checks.
//!   [`Remote`], [`RemoteConnection`] and [`RemoteChannel`] are the doors for other threads: they post
//!   closures to the loop. An [`Acker`] answers a delivery from any thread.
//! - **The loop owns the connection** until that has ended. Handles hold it weakly: closures may
//!   capture them, and dropping them closes nothing.
//! - **Callbacks are called from the loop**, never from inside the call that started the work, and
//!   dropped once they cannot be called any more. Every call, close and drop is legal in each.
//! - **Requests complete exactly once**, with the reply, with the error that ended their channel or
//!   connection, or with a [timeout](Channel::set_request_timeout).
//! - **Publishes resolve exactly once**, in confirm mode: see [`Channel::confirm_delivery`].
//! - **Output leaves by the end of the turn**, all that was made in it by one write; when much
//!   waits, at once: 60 KiB of frames, or 512 KiB with the bodies that are not copied.
//! - **Memory is bounded in bytes** both ways: [water marks](ConnectionParameters::set_water_marks)
//!   outward, [`max_message_size`](ConnectionParameters::set_max_message_size) inward. What never left
//!   is [counted](Connection::undelivered) when a connection ends.
//! - **A panic** in a callback comes out of [`IOLoop::start`] and loses only that call. On a foreign
//!   loop it is caught and ends its connection with [`Error::CallbackPanicked`].
//!
//! # Where to look
//!
//! [`SelectConnection`] and [`IOLoop`] to begin with; [`Channel`] for what one can do;
//! [`ConnectionParameters`] for where, [`Credentials`] for as whom, [`TlsOptions`] for whom to
//! trust, [`ConnectionWorkflow`] for several hosts; [`Error`] for what can go wrong; [`IoServices`] to
//! run it on a loop of your own; [`ProtocolConnection`] where somebody else owns the socket; [`protocol`]
//! for the wire itself. Methods are structs of the modules [`basic`], [`exchange`], [`queue`] and
//! [`tx`].
//!
//! # Features
//!
//! - `tls`, on by default: `amqps`, by rustls with ring. Nothing of it is in a connection without.
//! - `tokio`: `TokioConnection`, on a `LocalSet`.
//! - `async-io`: `AsyncIoConnection`, on whatever executor runs its driver.
//! - `calloop`: `CalloopConnection`, on a loop of calloop 0.14.
//! - `futures`: `async` and `await` over all of it, on any executor of the loop's thread, in `futures`.
//! - `libuv`, `glib`, and one of `libev` and `libevent`: `LibuvConnection`, `GlibConnection`,
//!   `LibevConnection`, `LibeventConnection`, linked to the library of the system, as the loop that
//!   they join is. libev exports functions of libevent's names: no program can have both.
//! - `conformance`: the suite for whoever writes an adapter, in `conformance`.
#![warn(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod adapters;
mod channel;
#[cfg(feature = "conformance")]
pub mod conformance;
mod connection;
mod error;
#[cfg(feature = "futures")]
pub mod futures;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod io_services;
mod ioloop;
pub mod protocol;

pub use adapters::*;
pub use channel::{
    Acker, Body, Channel, Confirm, ConfirmSummary, Delivery, GetMessage, Message, PublishOutcome,
    RemoteChannel, ReturnedMessage,
};
#[cfg(feature = "tls")]
pub use connection::TlsOptions;
pub use connection::{
    AmqPlainCredentials, Connection, ConnectionCallbacks, ConnectionParameters, ConnectionWorkflow,
    Counters, Credentials, ExternalCredentials, Heartbeat, PlainCredentials, RemoteConnection,
    SaslAnswer, TcpOptions, Undelivered,
};
pub use error::*;
pub use io_services::{
    ConnectAttempt, FdHandler, FdKey, Interest, IoServices, Lookup, Ready, ResolveCallback,
    Services, WeakServices, WorkGuard,
};
pub use ioloop::{IOLoop, LoopCore, LoopHandle, PollerKind, Remote, Stopper, TimerId};
pub use protocol::{BasicProperties, FieldTable, FieldValue, ShortStr, basic, exchange, queue, tx};

/// The TLS library, of the version whose types [`TlsOptions::with_config`] takes.
#[cfg(feature = "tls")]
pub use rustls;

/// With the features of its test command, which its programs take.
#[cfg(all(doctest, feature = "futures", feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct Readme;
