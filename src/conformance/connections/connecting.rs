//! From nothing to an open connection, and the ways in which that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::{ConnectError, Connection, Error, HandshakeError, Phase, Result};

use crate::conformance::stage::{Stage, assert_closed, close, open_channel, when};
use crate::conformance::tools::forward::{Forward, Toward, Verdict, is_method};
use crate::conformance::tools::peers;

pub(in crate::conformance) fn opens_a_channel_and_closes(stage: &Stage) {
    let ended = stage.session(stage.broker(), |connection| {
        assert!(connection.is_open());
        open_channel(connection, |channel| close(&channel.connection()));
    });
    assert_closed(ended);
}

pub(in crate::conformance) fn close_at_once_aborts(stage: &Stage) {
    let failure = stage.failure(stage.broker(), close);
    assert_eq!(failure, ConnectError::Aborted.into());
}

/// In each of its phases: the broker's answer is withheld, and `close` called instead.
pub(in crate::conformance) fn close_in_the_handshake_aborts(stage: &Stage) {
    for answer in ["connection.start", "connection.tune", "connection.open-ok"] {
        let forward = Forward::to(&stage.broker());
        let withheld = Arc::new(AtomicBool::new(false));
        let withhold = Arc::clone(&withheld);
        forward.inspect(move |_, frame| {
            if !is_method(frame, answer) {
                return Verdict::Pass;
            }
            withhold.store(true, Ordering::SeqCst);
            Verdict::Stall
        });
        let failure = stage.failure(forward.parameters(stage.broker()), |connection| {
            let connection = connection.clone();
            let is_withheld = move || withheld.load(Ordering::SeqCst);
            when(&stage.services(), is_withheld, move || close(&connection));
        });
        assert_eq!(failure, ConnectError::Aborted.into());
    }
}

/// pika's waits for a broker, with a limit that nothing can keep; here nobody answers.
pub(in crate::conformance) fn the_socket_timeout_ends_a_connect(stage: &Stage) {
    let mut parameters = peers::parameters_of(peers::silent());
    parameters.set_socket_timeout(Some(Duration::from_millis(20))).expect("not zero");
    let failure = stage.failure(parameters, |_| ());
    let Error::Connect(ConnectError::Socket { address, cause, .. }) = failure else {
        panic!("{failure:?}");
    };
    assert_eq!(address, peers::silent());
    assert_eq!(cause.kind(), std::io::ErrorKind::TimedOut);
}

/// pika's has a limit that no broker can keep; here the broker is not let answer.
pub(in crate::conformance) fn the_stack_timeout_ends_a_handshake(stage: &Stage) {
    let forward = Forward::to(&stage.broker());
    forward.stall(Toward::Client);
    let mut parameters = forward.parameters(stage.broker());
    // It counts from the start of the TCP connect: long enough for that on a busy machine.
    let limit = Duration::from_millis(500);
    parameters.set_stack_timeout(Some(limit)).expect("not zero");
    let failure = stage.failure(parameters, |_| ());
    assert_eq!(failure, HandshakeError::TimedOut { phase: Phase::Protocol, limit }.into());
}

pub(in crate::conformance) fn an_unknown_virtual_host_is_denied(stage: &Stage) {
    let mut parameters = stage.broker();
    parameters.set_virtual_host("no-such-virtual-host").expect("short");
    let failure = stage.failure(parameters, |_| ());
    let Error::Handshake(HandshakeError::AccessDenied { virtual_host, .. }) = failure else {
        panic!("{failure:?}");
    };
    assert_eq!(virtual_host, "no-such-virtual-host");
}

pub(in crate::conformance) fn update_secret_is_answered(stage: &Stage) {
    let ended = stage.session(stage.broker(), |connection| {
        let updated = |connection: &Connection, updated: Result<()>| {
            updated.expect("the broker takes any");
            close(connection);
        };
        connection.update_secret("a new secret", "the old one expires", updated).expect("open");
    });
    assert_closed(ended);
}
