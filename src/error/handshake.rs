//! Why AMQP could not be opened over a connected stream.

use std::fmt;
use std::time::Duration;

use super::StreamLost;

/// How far the AMQP handshake had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The protocol header was sent; the broker's Start had not come (pika's PROTOCOL).
    Protocol,
    /// Start had come, and perhaps the credentials had answered; the broker's Tune had not come
    /// (pika's START).
    Authentication,
    /// Tune was answered; the broker's OpenOk had not come (pika's TUNE).
    Open,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protocol => "while waiting for the broker's first method",
            Self::Authentication => "while authenticating",
            Self::Open => "while opening the virtual host",
        })
    }
}

/// Why AMQP could not be opened over a connected stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The virtual host does not exist or is not this user's (pika's `ProbableAccessDeniedError`).
    #[error("access to virtual host {virtual_host:?} denied: ({reply_code}) {reply_text}")]
    AccessDenied {
        /// The virtual host that was asked for.
        virtual_host: String,
        /// The broker's reply code.
        reply_code: u16,
        /// The broker's explanation.
        reply_text: String,
    },
    /// The broker does not take these credentials (pika's `ProbableAuthenticationError`).
    #[error("authentication failed: ({reply_code}) {reply_text}")]
    BadCredentials {
        /// The broker's reply code.
        reply_code: u16,
        /// The broker's explanation.
        reply_text: String,
    },
    /// The stream ended or failed midway.
    #[error("connection lost {phase}: {cause}")]
    Lost {
        /// How far the handshake had come.
        phase: Phase,
        /// How the stream ended.
        cause: StreamLost,
    },
    /// The broker offers no authentication mechanism that the credentials can answer
    /// (pika's `AuthenticationError`).
    #[error("no common authentication mechanism: the broker offers {offered:?}")]
    NoCommonMechanism {
        /// The broker's list, separated by spaces.
        offered: String,
    },
    /// The credentials had nothing to say to the broker: see
    /// [`SaslAnswer::fail`](crate::SaslAnswer::fail).
    #[error("no credentials: {reason}")]
    NoCredentials {
        /// Why not.
        reason: String,
    },
    /// The server does not speak AMQP (pika's `IncompatibleProtocolError`).
    #[error("the server does not speak AMQP: its first bytes are {received:?}")]
    NotAmqp {
        /// The first bytes it sent, at most 16, as text with what is not printable escaped.
        received: String,
    },
    /// The server speaks another version of AMQP (pika's `ProtocolVersionMismatch`).
    #[error("the server speaks AMQP {0}, not 0-9-1")]
    ProtocolVersion(String),
    /// The peer did not get through the handshake in time.
    #[error("no answer within {limit:?} {phase}")]
    TimedOut {
        /// How far the handshake had come.
        phase: Phase,
        /// The limit: `stack_timeout`, or the `timeout` of the workflow.
        limit: Duration,
    },
    /// The broker asks for limits below what AMQP or this client needs.
    #[error(
        "cannot agree on a frame size: the broker allows {broker} bytes, the minimum is {minimum}"
    )]
    Tuning {
        /// The broker's frame_max.
        broker: u32,
        /// The smallest frame_max that works.
        minimum: u32,
    },
}
