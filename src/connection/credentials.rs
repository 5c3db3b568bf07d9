//! Who the client says it is.

use std::fmt;
use std::sync::Arc;

use super::sasl::SaslAnswer;
use crate::protocol::FieldTable;

/// Who the client says it is, and how it proves that: one SASL mechanism.
///
/// [`PlainCredentials`], [`AmqPlainCredentials`] and [`ExternalCredentials`] are what RabbitMQ takes
/// by itself. Others may fetch a token each time a connection is opened, and take their time:
///
/// ```
/// use haypile::{ConnectionParameters, Credentials, SaslAnswer};
/// # fn fetch_token() -> std::io::Result<String> { Ok("token".into()) }
///
/// struct FreshToken;
///
/// impl Credentials for FreshToken {
///     fn mechanism(&self) -> &str {
///         "PLAIN"
///     }
///
///     fn start(&self, answer: SaslAnswer) {
///         // The loop goes on meanwhile.
///         std::thread::spawn(|| match fetch_token() {
///             Ok(token) => answer.respond(format!("\0\0{token}")),
///             Err(error) => answer.fail(error),
///         });
///     }
/// }
///
/// let mut parameters = ConnectionParameters::new("broker.example");
/// parameters.set_credentials(FreshToken);
/// ```
///
/// One that fetches its token by the loop itself posts that to the loop by its
/// [`Remote`](crate::Remote).
pub trait Credentials: Send + Sync + 'static {
    /// The name that the broker lists the mechanism under.
    fn mechanism(&self) -> &str;

    /// Begins to authenticate, for one attempt to connect: the broker has said that it takes the
    /// mechanism. Called from the loop, which waits while this runs: what takes time is for another
    /// thread, and `answer` goes with it.
    fn start(&self, answer: SaslAnswer);
}

impl<C: Credentials + ?Sized> Credentials for Arc<C> {
    fn mechanism(&self) -> &str {
        (**self).mechanism()
    }

    fn start(&self, answer: SaslAnswer) {
        (**self).start(answer);
    }
}

/// Shows the mechanism, and nothing secret.
impl fmt::Debug for dyn Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mechanism())
    }
}

/// A user name and a password, sent by the SASL mechanism PLAIN (pika's `PlainCredentials`).
///
/// The password never appears in `Debug` output, errors or logs. It stays in memory as long as the
/// parameters do, for the next attempt (pika's `erase_on_connect` has no counterpart): a secret that
/// must not, is fetched for each attempt by [`Credentials`] of one's own.
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
}

impl Credentials for PlainCredentials {
    fn mechanism(&self) -> &str {
        "PLAIN"
    }

    /// RFC 4616: authorization id, user name and password, separated by NULs.
    fn start(&self, answer: SaslAnswer) {
        answer.respond(format!("\0{}\0{}", self.username, self.password));
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
        debug(f, "PlainCredentials", &self.username)
    }
}

/// A user name and a password, sent by the mechanism AMQPLAIN, which is AMQP's own and which
/// RabbitMQ takes too. It can do no more than [`PlainCredentials`].
///
/// The password never appears in `Debug` output, errors or logs.
#[derive(Clone, PartialEq, Eq)]
pub struct AmqPlainCredentials {
    username: String,
    password: String,
}

impl AmqPlainCredentials {
    /// Takes any text.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: username.into(), password: password.into() }
    }

    /// The user name.
    pub fn username(&self) -> &str {
        &self.username
    }
}

impl Credentials for AmqPlainCredentials {
    fn mechanism(&self) -> &str {
        "AMQPLAIN"
    }

    /// A field table without its length.
    fn start(&self, answer: SaslAnswer) {
        let table = FieldTable::new()
            .with("LOGIN", &*self.username)
            .and_then(|table| table.with("PASSWORD", &*self.password));
        match table {
            Ok(table) => answer.respond(table.encoded()),
            Err(error) => answer.fail(error),
        }
    }
}

impl fmt::Debug for AmqPlainCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "AmqPlainCredentials", &self.username)
    }
}

/// Who the client is shows outside of AMQP, by its TLS certificate say: the mechanism EXTERNAL
/// (pika's `ExternalCredentials`). RabbitMQ takes it with the plugin `rabbitmq_auth_mechanism_ssl`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExternalCredentials;

impl Credentials for ExternalCredentials {
    fn mechanism(&self) -> &str {
        "EXTERNAL"
    }

    fn start(&self, answer: SaslAnswer) {
        answer.respond([]);
    }
}

fn debug(f: &mut fmt::Formatter<'_>, name: &str, username: &str) -> fmt::Result {
    f.debug_struct(name).field("username", &username).field("password", &"[redacted]").finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::sasl::answered_at_once;

    fn response(credentials: &impl Credentials) -> Vec<u8> {
        let answered = answered_at_once(|answer| credentials.start(answer));
        answered.expect("an answer").expect("a response").octets
    }

    #[test]
    fn plain_is_three_texts_with_nuls_between() {
        assert_eq!(response(&PlainCredentials::new("me", "my\u{e9}")), b"\0me\0my\xc3\xa9");
    }

    #[test]
    fn amqplain_is_a_table_without_its_length() {
        let response = response(&AmqPlainCredentials::new("me", "it"));
        assert_eq!(response, b"\x05LOGINS\0\0\0\x02me\x08PASSWORDS\0\0\0\x02it");
    }

    #[test]
    fn external_says_nothing() {
        assert_eq!(response(&ExternalCredentials), b"");
    }

    #[test]
    fn who_gives_no_answer_has_failed() {
        let answered = answered_at_once(drop).expect("that is an answer");
        assert_eq!(answered.err().as_deref(), Some("they gave no answer"));
    }

    #[test]
    fn secrets_are_not_printed() {
        let plain = PlainCredentials::new("me", "geheim");
        let amqplain = AmqPlainCredentials::new("me", "geheim");
        let texts = format!("{plain:?} {amqplain:?} {:?}", &plain as &dyn Credentials);
        assert!(!texts.contains("geheim"), "{texts}");
        assert!(texts.ends_with("PLAIN"), "{texts}");
    }
}
