//! Who the client says it is.

use std::fmt;

use crate::protocol::LongStr;

/// A user name and a password, sent by the SASL mechanism PLAIN (pika's `PlainCredentials`).
///
/// The password never appears in `Debug` output, errors or logs.
#[derive(Clone, PartialEq, Eq)]
pub struct PlainCredentials {
    username: String,
    password: String,
}

impl PlainCredentials {
    /// Takes any text but NUL characters, which PLAIN uses as separators: the broker refuses such
    /// credentials.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: username.into(), password: password.into() }
    }

    /// The user name.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The name that the broker lists the mechanism under.
    pub(crate) fn mechanism(&self) -> &'static str {
        "PLAIN"
    }

    /// What goes into StartOk (RFC 4616: authorization id, user name and password by NULs).
    pub(crate) fn response(&self) -> LongStr<'static> {
        format!("\0{}\0{}", self.username, self.password).into()
    }
}

impl Default for PlainCredentials {
    /// `guest` / `guest`, which RabbitMQ takes from the same host only.
    fn default() -> Self {
        Self::new("guest", "guest")
    }
}

impl fmt::Debug for PlainCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainCredentials")
            .field("username", &self.username)
            .field("password", &"[redacted]")
            .finish()
    }
}
