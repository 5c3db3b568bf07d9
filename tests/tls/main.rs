//! Connections by TLS: to RabbitMQ (`broker`), to servers that go wrong (`failing`), and what is
//! refused before (`options`).
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used)]

mod broker;
mod failing;
mod options;
#[path = "../support/mod.rs"]
mod support;

use haypile::{ConnectionParameters, Error, TlsError};
use support::Host;

/// Connects to what must refuse TLS, and gives why.
fn not_secured<H: Host>(mut parameters: ConnectionParameters) -> TlsError {
    // One address, one cause.
    parameters.set_host("127.0.0.1");
    match support::refused::<H>(parameters) {
        Error::Tls(cause) => cause,
        other => panic!("{other}"),
    }
}
