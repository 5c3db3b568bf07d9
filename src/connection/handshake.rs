//! From the protocol header to OpenOk.

use std::sync::Arc;

use super::credentials::Credentials;
use super::event::{Challenge, Event};
use super::heartbeat::Pulse;
use super::machine::{Limit, Machine, State};
use super::parameters::ConnectionParameters;
use super::tuning::Limits;
use crate::error::{Closed, Error, HandshakeError, Party, Phase, ProtocolError};
use crate::protocol::{FieldTable, FieldValue, LongStr, PROTOCOL_HEADER, connection, reply_code};

/// What the broker waits for while it authenticates the client.
pub(super) enum Due {
    StartOk { offered: String, mechanism: String },
    SecureOk,
}

impl Machine {
    /// The stream is connected: starts the handshake, which is to be done within the limit.
    pub(crate) fn connected(&mut self, limit: Option<Limit>) {
        self.wire.output.encoded().extend_from_slice(&PROTOCOL_HEADER);
        self.state = State::Handshake(Phase::Protocol);
        self.limit = limit;
    }

    pub(super) fn on_handshake_method(
        &mut self,
        phase: Phase,
        method: connection::Method<'_>,
        unexpected: ProtocolError,
    ) -> Result<(), ProtocolError> {
        match (phase, method) {
            (Phase::Protocol, connection::Method::Start(start)) => self.on_start(start),
            (Phase::Authentication, _) if self.due.is_some() => return Err(unexpected),
            (Phase::Authentication, connection::Method::Secure(secure)) => {
                self.due = Some(Due::SecureOk);
                let challenge = Challenge::Secure(secure.challenge.as_bytes().to_vec());
                self.wire.events.push_back(Event::Challenged(challenge));
            }
            (Phase::Authentication, connection::Method::Tune(tune)) => self.on_tune(&tune),
            (Phase::Open, connection::Method::OpenOk(_)) => {
                self.state = State::Open;
                self.limit = None;
                self.wire.events.push_back(Event::Opened);
            }
            _ => return Err(unexpected),
        }
        Ok(())
    }

    fn on_start(&mut self, start: connection::Start<'_>) {
        let version = (start.version_major, start.version_minor);
        if version != (0, 9) {
            let version = format!("{}-{}", version.0, version.1);
            return self.finish(HandshakeError::ProtocolVersion(version).into());
        }
        let offered = String::from_utf8_lossy(start.mechanisms.as_bytes()).into_owned();
        self.server_properties = start.server_properties.into_owned();
        self.state = State::Handshake(Phase::Authentication);
        self.due = Some(Due::StartOk { offered, mechanism: String::new() });
        self.wire.events.push_back(Event::Challenged(Challenge::Start));
    }

    /// Whom the client says it is.
    pub(crate) fn credentials(&self) -> Arc<dyn Credentials> {
        self.parameters.shared_credentials()
    }

    /// Whether the broker waits for [`respond`](Self::respond).
    pub(crate) fn awaits_response(&self) -> bool {
        self.due.is_some() && matches!(self.state, State::Handshake(_))
    }

    /// The mechanism that the client has. False: the broker does not, and it is over.
    pub(crate) fn choose(&mut self, ours: &str) -> bool {
        let (Some(Due::StartOk { offered, mechanism }), State::Handshake(_)) =
            (&mut self.due, &self.state)
        else {
            return false;
        };
        // A name that is too long to be sent is that of no mechanism.
        if ours.len() > 255 || !offered.split(' ').any(|offer| offer == ours) {
            let offered = std::mem::take(offered);
            self.finish(HandshakeError::NoCommonMechanism { offered }.into());
            return false;
        }
        ours.clone_into(mechanism);
        true
    }

    /// What the client says to the broker's challenge.
    pub(crate) fn respond(&mut self, response: Vec<u8>) {
        if !self.awaits_response() {
            return;
        }
        let response = LongStr::from(response);
        match self.due.take() {
            Some(Due::StartOk { mechanism, .. }) => {
                let client_properties = client_properties(&self.parameters);
                let locale = self.parameters.locale().to_owned().into();
                let mechanism = mechanism.into();
                self.wire.tell(
                    0,
                    &connection::StartOk { client_properties, mechanism, response, locale },
                );
            }
            Some(Due::SecureOk) => self.wire.tell(0, &connection::SecureOk { response }),
            None => {}
        }
    }

    fn on_tune(&mut self, tune: &connection::Tune) {
        self.wire.limits = match Limits::agree(&self.parameters, tune) {
            Ok(limits) => limits,
            Err(error) => return self.finish(error.into()),
        };
        let Limits { channel_max, frame_max } = self.wire.limits;
        let heartbeat = self.parameters.heartbeat().agree(tune.heartbeat);
        self.pulse = self.heard.and_then(|now| Pulse::new(heartbeat, now));
        self.wire.tell(0, &connection::TuneOk { channel_max, frame_max, heartbeat });
        let virtual_host = self.parameters.virtual_host().to_owned().into();
        self.wire.tell(0, &connection::Open { virtual_host });
        self.state = State::Handshake(Phase::Open);
    }
}

/// What the broker shows its operators, and what this client understands beyond plain 0-9-1.
fn client_properties(parameters: &ConnectionParameters) -> FieldTable<'static> {
    let users = parameters.client_properties();
    let capabilities = [
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "exchange_exchange_bindings",
        "publisher_confirms",
    ];
    let mut known = FieldTable::new();
    for capability in capabilities {
        put(&mut known, capability, true);
    }
    let ours = [
        ("product", FieldValue::from("haypile")),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("platform", FieldValue::from(format!("Rust on {}", std::env::consts::OS))),
        ("capabilities", known.into()),
    ];
    let name = parameters.connection_name().map(|name| ("connection_name", name.into()));
    let mut all = FieldTable::new();
    for (key, value) in ours.into_iter().chain(name) {
        if !matches!(users.get(key), Ok(Some(_))) {
            put(&mut all, key, value);
        }
    }
    for (key, value) in users.iter().map_while(Result::ok) {
        put(&mut all, key, value);
    }
    all
}

fn put<'v>(
    table: &mut FieldTable<'static>,
    key: impl Into<crate::protocol::ShortStr<'v>>,
    value: impl Into<FieldValue<'v>>,
) {
    if let Err(error) = table.insert(key, value) {
        // Keys of a table that was decoded are short enough.
        log::error!("client property left out: {error}");
    }
}

/// What the first bytes of a server show.
pub(super) enum Greeting {
    /// A method frame, as far as the first octet tells. The frame parser judges the rest.
    Frame,
    /// The start of a protocol header, or nothing yet.
    Cut,
    Refused(HandshakeError),
}

/// Looks at the first bytes of a server that has not said anything yet.
pub(super) fn greeting(received: &[u8]) -> Greeting {
    Greeting::Refused(match received {
        [1, ..] => return Greeting::Frame,
        // The version that was asked for would have come as a method: this one echoes.
        [b'A', b'M', b'Q', b'P', id, major, minor, revision, ..]
            if !received.starts_with(&PROTOCOL_HEADER) =>
        {
            HandshakeError::ProtocolVersion(match id {
                0 => format!("{major}-{minor}-{revision}"),
                _ => format!("{major}-{minor}-{revision} (protocol id {id})"),
            })
        }
        start
            if start.len() < PROTOCOL_HEADER.len()
                && start.iter().zip(b"AMQP").all(|(octet, letter)| octet == letter) =>
        {
            return Greeting::Cut;
        }
        _ => {
            let received = received[..received.len().min(16)].escape_ascii().to_string();
            HandshakeError::NotAmqp { received }
        }
    })
}

/// What a Close means that comes instead of the next step.
pub(super) fn refusal(
    phase: Phase,
    parameters: &ConnectionParameters,
    close: &connection::Close<'_>,
) -> Error {
    let reply_text = close.reply_text.to_string();
    let reply_code = close.reply_code;
    match (phase, reply_code) {
        (Phase::Authentication, reply_code::ACCESS_REFUSED) => {
            HandshakeError::BadCredentials { reply_code, reply_text }.into()
        }
        (
            Phase::Open,
            reply_code::ACCESS_REFUSED | reply_code::NOT_ALLOWED | reply_code::INVALID_PATH,
        ) => {
            let virtual_host = parameters.virtual_host().to_owned();
            HandshakeError::AccessDenied { virtual_host, reply_code, reply_text }.into()
        }
        _ => Error::ConnectionClosed(Closed {
            by: Party::Broker,
            reply_code,
            reply_text,
            cause: (close.class_id, close.method_id),
        }),
    }
}
