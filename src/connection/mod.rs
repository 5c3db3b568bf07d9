//! One AMQP connection as a state machine without I/O: bytes in, bytes out, deadlines, what
//! happened. And the driver that calls the user's closures, and the user's handle.

mod arriving;
mod authenticating;
mod block;
mod blocked;
mod bounds;
mod callbacks;
mod channels;
mod closing;
mod confirming;
mod counters;
mod credentials;
mod delivering;
mod event;
mod handle;
mod handshake;
mod heartbeat;
mod input;
mod lent;
mod machine;
mod opening;
mod output;
mod parameters;
mod receiving;
mod remote;
mod room;
mod sasl;
mod secrets;
mod sending;
mod session;
mod tcp_options;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod tls_options;
mod tuning;
mod url;
#[cfg(feature = "futures")]
mod watching;
mod wire;
mod workflow;

pub use callbacks::ConnectionCallbacks;
pub(crate) use callbacks::OnEnding;
pub use counters::{Counters, Undelivered};
pub use credentials::{AmqPlainCredentials, Credentials, ExternalCredentials, PlainCredentials};
#[cfg(any(test, fuzzing))]
pub(crate) use event::Challenge;
pub(crate) use event::Event;
pub use handle::Connection;
pub use heartbeat::Heartbeat;
pub(crate) use input::Input;
pub(crate) use machine::Limit;
#[cfg(any(test, fuzzing))]
pub(crate) use machine::Machine;
pub(crate) use output::{BY_REFERENCE, Output};
pub use parameters::ConnectionParameters;
pub use remote::RemoteConnection;
pub(crate) use remote::{Inbox, Post};
pub(crate) use room::Room;
pub use sasl::SaslAnswer;
pub(crate) use session::Session;
#[cfg(feature = "tls")]
pub use tls_options::TlsOptions;

/// Without the feature `tls` there are none.
#[cfg(not(feature = "tls"))]
type TlsOptions = std::convert::Infallible;
pub use tcp_options::TcpOptions;
pub(crate) use wire::Wire;
pub use workflow::ConnectionWorkflow;
