//! What can go wrong with TLS.

use std::time::Duration;

use super::IoError;

/// Why there is no TLS, or no longer. Whether the crate was built with TLS or not, it is here, so
/// that a program's match compiles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The server has given up, and said why. That it wants a client certificate, or does not take
    /// the one it got, comes so: over TLS 1.3 when the client takes TLS for negotiated already,
    /// thus as the [`StreamLost`](crate::StreamLost) of the AMQP handshake.
    #[error("the server has ended TLS: {name} (alert {code})")]
    Alert {
        /// The number of the alert (RFC 8446, section 6).
        code: u8,
        /// Its name, as the TLS library has it.
        name: String,
    },
    /// The server's certificate is not to be trusted.
    #[error("the server's certificate is not accepted: {0}")]
    Certificate(#[from] CertificateError),
    /// Server and client have no version, cipher or the like in common.
    #[error("no TLS in common with the server: {0}")]
    Incompatible(String),
    /// The socket failed before TLS was negotiated.
    #[error("connection lost while negotiating TLS: {0}")]
    Io(#[from] IoError),
    /// The platform has no roots to trust, or they could not be read.
    #[error("no root certificates of the platform: {0}")]
    NoRoots(String),
    /// The server does not speak TLS. Perhaps the port is the one for AMQP without it.
    #[error("the server does not speak TLS: its first bytes are {received:?}")]
    NotTls {
        /// The first bytes it sent, at most 16, as text with what is not printable escaped.
        received: String,
    },
    /// The server did what TLS does not allow, or what it sent was changed on its way.
    #[error("the server broke TLS: {0}")]
    Protocol(String),
    /// The host, or the server name that was set, is neither a DNS name nor an IP address.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    ServerName(String),
    /// TLS was not negotiated in time.
    #[error("TLS was not negotiated within {limit:?}")]
    TimedOut {
        /// The limit: `stack_timeout`, or the workflow's `timeout`.
        limit: Duration,
    },
    /// The stream ended without TLS's close_notify: the server, or somebody between, has cut it.
    #[error("the stream was cut: it ended without TLS's close_notify")]
    Truncated,
}

/// What is wrong with a server's certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A signature in it is wrong.
    #[error("bad signature")]
    BadSignature,
    /// Its time is over.
    #[error("expired")]
    Expired,
    /// Its time has not begun.
    #[error("not valid yet")]
    NotValidYet,
    /// Something else, such as an authority's certificate in place of a server's.
    #[error("{0}")]
    Other(String),
    /// It has been revoked.
    #[error("revoked")]
    Revoked,
    /// No root that is trusted has issued it.
    #[error("unknown issuer")]
    UnknownIssuer,
    /// It is another host's.
    #[error("it is not {expected}'s{}", names(presented))]
    WrongName {
        /// The server name that it must have.
        expected: String,
        /// The names that it has.
        presented: Vec<String>,
    },
    /// It is not meant for servers.
    #[error("not meant for servers")]
    WrongPurpose,
}

fn names(presented: &[String]) -> String {
    if presented.is_empty() { String::new() } else { format!(" but {}", presented.join(", ")) }
}
