//! Peers that are silent, or say too little. Seconds are the least that AMQP can agree on, so that
//! some of these take some.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::conformance::stage::{Stage, assert_closed, close, open_channel};
use crate::conformance::tools::lag::Lag;
use crate::conformance::tools::peers::Peer;
use crate::{BasicProperties, Error, Heartbeat, basic};

const INTERVAL: Duration = Duration::from_secs(1);

/// RabbitMQ closes a connection from which nothing comes for two intervals.
pub(in crate::conformance) fn an_idle_connection_is_kept_by_heartbeats(stage: &Stage) {
    let mut parameters = stage.broker();
    parameters.set_heartbeat(Heartbeat::Negotiate(1));
    let services = stage.services();
    let ended = stage.session(parameters, move |connection| {
        let (connection, before) = (connection.clone(), connection.counters());
        services.call_later(4 * INTERVAL, move || {
            let after = connection.counters();
            let writes = after.writes - before.writes;
            // At most one each half interval, and no storm.
            assert!((3..=10).contains(&writes), "{writes} writes");
            assert!(after.frames_received > before.frames_received, "the broker's came too");
            close(&connection);
        });
    });
    assert_closed(ended);
}

/// Runs until the connection is found dead: within two intervals, and not before one and a half.
fn found_dead(stage: &Stage, peer: &Peer, on_open: impl FnOnce(&crate::Connection) + 'static) {
    let lag = Lag::watch(&stage.services());
    let mut parameters = peer.parameters();
    parameters.set_heartbeat(Heartbeat::Exactly(1));
    let opened = Rc::new(Cell::new(None));
    let when = Rc::clone(&opened);
    let ended = stage.session(parameters, move |connection| {
        when.set(Some(Instant::now()));
        on_open(connection);
    });
    let now = Instant::now();
    assert_eq!(ended, Error::HeartbeatTimeout { interval: INTERVAL });
    let opened: Instant = opened.get().expect("it was open");
    assert!(now - opened > INTERVAL * 14 / 10, "{:?}", now - opened);
    lag.assert_within(2 * INTERVAL, opened, now);
}

pub(in crate::conformance) fn a_silent_broker_is_found(stage: &Stage) {
    let peer = Peer::new(|wire| {
        wire.open();
        // Reads, but says no more.
        wire.read_to_end();
    });
    found_dead(stage, &peer, |_| ());
    peer.join();
}

/// It reads nothing either, so that what is to be sent waits.
pub(in crate::conformance) fn a_stalled_broker_is_found(stage: &Stage) {
    let (done, until) = std::sync::mpsc::channel::<()>();
    let peer = Peer::new(move |wire| {
        wire.open();
        let channel = wire.expect("channel.open").channel;
        wire.method(channel, &crate::protocol::channel::OpenOk {});
        // Until the scenario is over.
        until.recv().expect_err("nothing is sent");
    });
    found_dead(stage, &peer, |connection| {
        open_channel(connection, |channel| {
            for _ in 0..16 {
                // Full, in the end.
                let to = basic::Publish::default();
                drop(channel.basic_publish(to, &BasicProperties::default(), vec![0; 500_000]));
            }
        });
    });
    drop(done);
    peer.join();
}

/// A handshake of TLS that the peer never takes part in.
#[cfg(feature = "tls")]
pub(in crate::conformance) fn a_stalled_tls_handshake_times_out(stage: &Stage) {
    let peer = Peer::new(|wire| {
        wire.read_to_end();
    });
    let limit = Duration::from_millis(300);
    let mut parameters = peer.parameters();
    parameters.set_tls(Some(nobody_is_trusted()));
    parameters.set_stack_timeout(Some(limit)).expect("not zero");
    let failure = stage.failure(parameters, |_| ());
    assert_eq!(failure, crate::TlsError::TimedOut { limit }.into());
    peer.join();
}

#[cfg(feature = "tls")]
fn nobody_is_trusted() -> crate::TlsOptions {
    use std::sync::Arc;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring knows them")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    crate::TlsOptions::with_config(config)
}
