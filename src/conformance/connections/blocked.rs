//! A broker that takes no messages for now. It is one that says so only: a real alarm would block
//! all that runs beside. pika's make their connection believe it too.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::protocol::connection::{Blocked, Unblocked};
use crate::{Connection, Error, ShortStr};

use crate::conformance::stage::{Stage, assert_closed, close};
use crate::conformance::tools::forward::{Forward, Toward};
use crate::conformance::tools::peers::method_bytes;

const REASON: &str = "low on conformance";

/// Connects to the broker, which then says that it is blocked.
fn blocked(
    stage: &Stage,
    timeout: Duration,
    on_blocked: impl Fn(&Connection, &Forward) + 'static,
) -> Error {
    let broker = Rc::new(Forward::to(&stage.broker()));
    let mut parameters = broker.parameters(stage.broker());
    parameters.set_blocked_connection_timeout(Some(timeout));
    stage.session(parameters, move |connection| {
        let says = Rc::clone(&broker);
        let on_blocked = move |connection: &Connection, reason: &ShortStr<'_>| {
            assert_eq!(*reason, REASON);
            assert!(connection.is_blocked());
            on_blocked(connection, &broker);
        };
        connection.add_on_connection_blocked_callback(on_blocked).expect("open");
        says.inject(Toward::Client, &method_bytes(0, &Blocked { reason: REASON.into() }));
    })
}

pub(in crate::conformance) fn a_blocked_connection_times_out(stage: &Stage) {
    let timeout = Duration::from_millis(50);
    let begun = Instant::now();
    let ended = blocked(stage, timeout, |_, _| ());
    assert_eq!(ended, Error::BlockedTimeout { timeout });
    assert!(begun.elapsed() >= timeout);
}

/// It lives on for longer than the timeout, and is closed in order.
pub(in crate::conformance) fn a_connection_unblocked_in_time_lives(stage: &Stage) {
    let timeout = Duration::from_millis(200);
    let services = stage.services();
    let ended = blocked(stage, timeout, move |connection, broker| {
        let services = services.clone();
        let on_unblocked = move |connection: &Connection| {
            assert!(!connection.is_blocked());
            let connection = connection.clone();
            services.call_later(2 * timeout, move || close(&connection));
        };
        connection.add_on_connection_unblocked_callback(on_unblocked).expect("open");
        broker.inject(Toward::Client, &method_bytes(0, &Unblocked {}));
    });
    assert_closed(ended);
}
