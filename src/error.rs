//! Everything that can go wrong, as values: one [`Error`] whose nested enums name the cause.
//!
//! All of them are `Clone + PartialEq + Send + Sync`, since one cause (a lost stream, say) completes
//! many requests, and since a program and a test match on the exact cause.

mod connect;
mod handshake;
mod protocol;
mod tls;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use connect::{ConnectError, ConnectFailure};
pub use handshake::{HandshakeError, Phase};
pub use protocol::ProtocolError;
pub use tls::{CertificateError, TlsError};

use crate::protocol::EncodeError;

/// The result of everything in this crate, unless it names another error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The one error of this crate. Match on it for the cause; print it for a person.
///
/// What pika tells apart by its exceptions:
///
/// | pika | here |
/// |---|---|
/// | `AMQPConnectionError`, `AMQPConnectorSocketConnectError` | [`ConnectError::Socket`]; a name that is not resolved is [`ConnectError::Resolve`] |
/// | `AMQPConnectionWorkflowFailed` | [`ConnectError::Failed`], with every failure |
/// | `ConnectionOpenAborted`, `AMQPConnectionWorkflowAborted` | [`ConnectError::Aborted`] |
/// | `AMQPConnectorTransportSetupError` | [`Error::Tls`] |
/// | `AMQPConnectorStackTimeout` | [`HandshakeError::TimedOut`], [`TlsError::TimedOut`] |
/// | `IncompatibleProtocolError` | [`HandshakeError::NotAmqp`] |
/// | `ProtocolVersionMismatch` | [`HandshakeError::ProtocolVersion`] |
/// | `ProbableAuthenticationError` | [`HandshakeError::BadCredentials`] |
/// | `ProbableAccessDeniedError` | [`HandshakeError::AccessDenied`] |
/// | `AuthenticationError` | [`HandshakeError::NoCommonMechanism`] |
/// | any of these four, where the server just hung up | [`HandshakeError::Lost`], with the [`Phase`] |
/// | `StreamLostError` | [`Error::StreamLost`], with its cause |
/// | `AMQPHeartbeatTimeout` | [`Error::HeartbeatTimeout`] |
/// | `ConnectionBlockedTimeout` | [`Error::BlockedTimeout`] |
/// | `ConnectionClosedByBroker`, `ConnectionClosedByClient` | [`Error::ConnectionClosed`], by [`Party`] |
/// | `ChannelClosedByBroker`, `ChannelClosedByClient` | [`Error::ChannelClosed`], by [`Party`] |
/// | `ConnectionWrongStateError` | [`Misuse::ConnectionNotOpen`] |
/// | `ChannelWrongStateError` | [`Misuse::ChannelNotOpen`] |
/// | `DuplicateConsumerTag` | [`Misuse::ConsumerTagInUse`] |
/// | `NoFreeChannels` | [`Misuse::NoFreeChannels`] |
/// | `InvalidChannelNumber` | [`Misuse::ChannelNumberOutOfRange`] |
/// | `ShortStringTooLong` | [`EncodeError::ShortStringTooLong`](crate::protocol::EncodeError::ShortStringTooLong), in [`Misuse::Encode`] |
/// | `UnexpectedFrameError` | [`ProtocolError::UnexpectedFrame`], [`ProtocolError::UnexpectedMethod`] |
/// | `BodyTooLongError` | [`ProtocolError::BodyTooLong`] |
/// | `InvalidFrameError` | [`ProtocolError::Decode`] |
/// | `InvalidFieldTypeException` | [`DecodeError::UnknownFieldType`](crate::protocol::DecodeError::UnknownFieldType) |
/// | `UnroutableError`, `NackError` | no errors: [`PublishOutcome`](crate::PublishOutcome) |
/// | `ConsumerCancelled` | no error: [`add_on_cancel_callback`](crate::Channel::add_on_cancel_callback) |
/// | `ReentrancyError` | [`LoopError::Nested`] |
/// | whatever a callback raised | the panic itself, or [`Error::CallbackPanicked`] |
///
/// pika's other exceptions have no counterpart: types rule out `UnsupportedAMQPFieldException`,
/// several `basic_get`s wait in line instead of being a `DuplicateGetOkCallback`, and what a broker
/// does not implement it says itself, by closing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The broker took no messages for longer than
    /// [`blocked_connection_timeout`](crate::ConnectionParameters::set_blocked_connection_timeout)
    /// (pika's `ConnectionBlockedTimeout`).
    #[error("the broker has kept the connection blocked for {timeout:?}")]
    BlockedTimeout {
        /// How long it was allowed to.
        timeout: Duration,
    },
    /// A user's callback panicked on a loop that must not unwind, which closed its connection.
    /// The text is the panic's message.
    #[error("a callback panicked: {0}")]
    CallbackPanicked(String),
    /// The channel was closed; every request pending on it ends with this.
    #[error("channel closed {0}")]
    ChannelClosed(Closed),
    /// No connection could be made: a name did not resolve, no address took the connection, or of
    /// several things that were tried each failed in its way.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection was closed; every request pending on it ends with this.
    #[error("connection closed {0}")]
    ConnectionClosed(Closed),
    /// The bytes stream was connected, but AMQP could not be opened over it.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// Nothing came from the broker for two heartbeat intervals (pika's `AMQPHeartbeatTimeout`).
    #[error("the broker is silent: nothing came for two heartbeat intervals of {interval:?}")]
    HeartbeatTimeout {
        /// The interval that was agreed on.
        interval: Duration,
    },
    /// The operating system refused something the event loop or a socket needs.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The event loop cannot do this now.
    #[error(transparent)]
    Loop(#[from] LoopError),
    /// A call that is wrong in this state or with these arguments. Nothing was sent.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// Connection parameters that cannot work, or a URL that cannot be read.
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    /// A message was not published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The peer sent what AMQP 0-9-1 does not allow; the connection was closed because of it.
    #[error("the peer broke the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// The broker did not answer a request in the time that was set for it: see
    /// [`Channel::set_request_timeout`](crate::Channel::set_request_timeout). Whether it took
    /// effect is not known.
    #[error("no answer to {method} within {limit:?}")]
    RequestTimeout {
        /// The request's method, such as "queue.declare"; "basic.publish" of what waited for
        /// confirms.
        method: &'static str,
        /// The time that was set.
        limit: Duration,
    },
    /// The bytes stream ended or failed while the connection was open.
    #[error("connection lost: {0}")]
    StreamLost(#[from] StreamLost),
    /// The socket was connected, but TLS could not be negotiated over it.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error.into())
    }
}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Self {
        Self::Misuse(error.into())
    }
}

/// An [`io::Error`] that can be cloned and compared: equal if kind and errno are.
#[derive(Clone, Debug)]
pub struct IoError(Arc<io::Error>);

impl IoError {
    /// The kind of the error.
    pub fn kind(&self) -> io::ErrorKind {
        self.0.kind()
    }

    /// The errno, where the operating system gave one.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.0.raw_os_error()
    }
}

impl From<io::Error> for IoError {
    fn from(error: io::Error) -> Self {
        Self(Arc::new(error))
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for IoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl PartialEq for IoError {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.raw_os_error() == other.raw_os_error()
    }
}

impl Eq for IoError {}

/// Who closed a channel or a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// The broker sent Close.
    Broker,
    /// This program called `close`.
    Client,
}

/// A Close method, sent or received (AMQP connection.close, channel.close).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Who closed.
    pub by: Party,
    /// The reply code, such as 200 (success), 320 (connection forced) or 404 (not found).
    pub reply_code: u16,
    /// The explanation that came with it. What is not UTF-8 in it has been replaced.
    pub reply_text: String,
    /// The class and method ids of the method that caused it; zeros where none did.
    pub cause: (u16, u16),
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by {
            Party::Broker => "by the broker",
            Party::Client => "by this client",
        };
        write!(f, "{by}: ({}) {}", self.reply_code, self.reply_text)
    }
}

/// What an event loop cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoopError {
    /// The loop is gone: dropped, or detached from its host.
    #[error("the event loop is gone")]
    Gone,
    /// The loop is running already: a turn within a turn is never run.
    #[error("the event loop is already running")]
    Nested,
}

/// A call that is wrong in this state or with these arguments.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// The channel is in confirm mode already, and there is no way back.
    #[error("the channel is in confirm mode already")]
    AlreadyConfirming,
    /// The connection has been opened already.
    #[error("the connection has been opened already")]
    AlreadyOpen,
    /// The channel number asked for is in use.
    #[error("channel number {0} is in use")]
    ChannelNumberInUse(u16),
    /// The channel number asked for is 0 or past the negotiated channel_max.
    #[error("channel number {number} is not within 1..={channel_max}")]
    ChannelNumberOutOfRange {
        /// The number asked for.
        number: u16,
        /// The negotiated maximum.
        channel_max: u16,
    },
    /// The channel is not open (pika's `ChannelWrongStateError`).
    #[error("the channel is not open")]
    ChannelNotOpen,
    /// The connection is not open (pika's `ConnectionWrongStateError`).
    #[error("the connection is not open")]
    ConnectionNotOpen,
    /// The consumer tag is in use on this channel (pika's `DuplicateConsumerTag`).
    #[error("consumer tag {0:?} is in use")]
    ConsumerTagInUse(String),
    /// A value that AMQP cannot carry.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// All channel numbers are in use (pika's `NoFreeChannels`).
    #[error("all {0} channels are in use")]
    NoFreeChannels(u16),
    /// The channel is not in confirm mode: `confirm_delivery` was not called on it.
    #[error("the channel is not in confirm mode")]
    NotConfirming,
    /// A pointer to a foreign loop is null.
    #[error("the pointer to the event loop is null")]
    NullLoop,
    /// No consumer of that tag is on this channel.
    #[error("no consumer has the tag {0:?}")]
    UnknownConsumerTag(String),
}

/// Parameters that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParametersError {
    /// A value is outside what is allowed.
    #[error("{name}: {reason}")]
    Invalid {
        /// The parameter.
        name: &'static str,
        /// What is wrong with the value.
        reason: String,
    },
    /// A [kind of connection](crate::ConnectionKind) that has no loop but that of the program.
    #[error("{kind} connections are made on the services of the loop that they run on")]
    KindNeedsServices {
        /// Its name.
        kind: &'static str,
    },
    /// A [kind of connection](crate::ConnectionKind) for a loop that does not run on this thread.
    #[error("{kind} connections are made where {kind} runs, which it does not here")]
    KindNotRunning {
        /// Its name.
        kind: &'static str,
    },
    /// A [kind of connection](crate::ConnectionKind) that this build does not have.
    #[error("{kind} connections are not compiled in: the feature {kind:?} of haypile is off")]
    KindNotCompiledIn {
        /// Its name, which is that of its feature.
        kind: &'static str,
    },
    /// No [kind of connection](crate::ConnectionKind) has that name.
    #[error("there is no kind of connection {0:?}")]
    UnknownKind(String),
    /// The URL cannot be read. The text never holds the password.
    #[error("cannot read the AMQP URL: {0}")]
    Url(String),
}

/// How a byte stream ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamLost {
    /// The peer closed it.
    #[error("the peer closed the stream")]
    EndOfStream,
    /// It failed.
    #[error(transparent)]
    Io(#[from] IoError),
    /// What lies between has failed, or was cut: [`TlsError::Truncated`].
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl From<io::Error> for StreamLost {
    fn from(error: io::Error) -> Self {
        Self::Io(error.into())
    }
}

/// Why a message was not published. Nothing of it was encoded or sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Too much waits to be sent on the connection: as much as its
    /// [high water mark](crate::ConnectionParameters::set_water_marks), or more. Or the broker has
    /// paused the channel (AMQP channel.flow; RabbitMQ does not do that).
    /// [`on_writable`](crate::ConnectionCallbacks::on_writable) is called when there is room again,
    /// in both cases the channel's
    /// [writable callbacks](crate::Channel::add_on_writable_callback).
    #[error("too much waits to be sent, or the broker has paused the channel")]
    Full,
    /// The channel is not open, or a value cannot be encoded.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// As many messages are unconfirmed as the channel allows: see
    /// [`Channel::set_max_unconfirmed`](crate::Channel::set_max_unconfirmed).
    #[error("{limit} published messages are not confirmed yet")]
    TooManyUnconfirmed {
        /// How many may be.
        limit: usize,
    },
}

impl From<EncodeError> for PublishError {
    fn from(error: EncodeError) -> Self {
        Self::Misuse(error.into())
    }
}
