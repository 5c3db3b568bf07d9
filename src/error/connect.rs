//! Why no connection came to be.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Error, IoError};

/// Why no connection came to be.
///
/// If all that was tried was one host, and each try ended with the same cause, the error is that
/// cause by itself: [`Error::Handshake`], say, or [`Socket`](Self::Socket). Otherwise it is
/// [`Failed`](Self::Failed) or [`TimedOut`](Self::TimedOut), which keep the cause of each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// `close` was called before the connection was open (pika's `ConnectionOpenAborted`).
    #[error("closed before the connection was open")]
    Aborted,
    /// Everything was tried, as often as it was to be, and nothing led to an open connection
    /// (pika's `AMQPConnectionWorkflowFailed`).
    #[error("no connection: {}", Story(failures))]
    Failed {
        /// What failed, in the order tried. What failed again alike is there once; of more than 256
        /// kinds, the latest.
        failures: Vec<ConnectFailure>,
    },
    /// The workflow had no parameters to try.
    #[error("no host to connect to")]
    NoHost,
    /// The host's name could not be resolved to any address. A lookup that took too long is
    /// [`TimedOut`](std::io::ErrorKind::TimedOut).
    #[error("cannot resolve host {host:?}: {cause}")]
    Resolve {
        /// The name that was looked up.
        host: String,
        /// What the resolver said.
        cause: IoError,
    },
    /// An address did not take the TCP connection (pika's `AMQPConnectorSocketConnectError`). One
    /// that did not answer in time is [`TimedOut`](std::io::ErrorKind::TimedOut).
    #[error("cannot connect to {host:?} at {address}: {cause}")]
    Socket {
        /// The host whose address this is.
        host: String,
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        cause: IoError,
    },
    /// The workflow's `timeout` ran out. What was under way then is the last of the failures.
    #[error("no connection within {limit:?}: {}", Story(failures))]
    TimedOut {
        /// The limit: the workflow's `timeout`.
        limit: Duration,
        /// What failed until then, as in [`Failed`](Self::Failed).
        failures: Vec<ConnectFailure>,
    },
}

/// One of the things that failed on the way to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectFailure {
    /// The host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The address of the host, if the failure is not that it has none.
    pub address: Option<SocketAddr>,
    /// What went wrong: [`ConnectError::Resolve`], [`ConnectError::Socket`], a
    /// [`TlsError`](crate::TlsError), a [`HandshakeError`](crate::HandshakeError), or any other error.
    pub cause: Error,
    /// How many times it went wrong so.
    pub times: u32,
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.cause, self.address) {
            // These name the host themselves.
            (Error::Connect(_), _) => write!(f, "{}", self.cause)?,
            (_, Some(address)) => write!(f, "{:?} at {address}: {}", self.host, self.cause)?,
            (_, None) => write!(f, "{:?}, port {}: {}", self.host, self.port, self.cause)?,
        }
        match self.times {
            0 | 1 => Ok(()),
            times => write!(f, " ({times} times)"),
        }
    }
}

struct Story<'a>(&'a [ConnectFailure]);

impl fmt::Display for Story<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, failure) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{failure}")?;
        }
        Ok(())
    }
}
