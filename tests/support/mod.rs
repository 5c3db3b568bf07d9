//! What the tests over real loops and a real broker share.
#![allow(dead_code, unused_imports, unused_macros, reason = "each test binary uses a part of it")]

pub mod allocations;
pub mod control;
pub mod examples;
pub mod hosts;
pub mod logs;
pub mod strace;
#[cfg(feature = "tls")]
pub mod tls;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use haypile::{
    BaseConnection, Channel, Connection, ConnectionCallbacks, ConnectionParameters, Error, Result,
    queue,
};

pub use control::BrokerControl;
pub use haypile::conformance::tools::lag::Lag;
pub use haypile::conformance::tools::{Probe, Probes, forward, peers, publish};
pub use hosts::Host;
pub(crate) use hosts::every_host;

/// The broker that `scripts/with-broker` has started.
pub fn broker() -> ConnectionParameters {
    broker_url().parse().expect("AMQP_URL is a URL")
}

/// Its URL, as programs take it.
pub fn broker_url() -> String {
    std::env::var("AMQP_URL")
        .expect("AMQP_URL names no broker: run the tests by scripts/with-broker")
}

/// Connects, opens a channel, runs the scenario on it, until the connection has ended; gives the
/// reason.
pub fn on_channel<H: Host>(
    host: &H,
    parameters: ConnectionParameters,
    scenario: impl FnOnce(&Channel) + 'static,
) -> Error {
    let ended = Rc::new(RefCell::new(None));
    let (note, stop) = (Rc::clone(&ended), host.stopper());
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            let opened = |channel: &Channel, opened: Result<()>| {
                opened.expect("the channel opens");
                scenario(channel);
            };
            connection.channel(None, opened).expect("the connection is open");
        })
        .on_close(move |_, reason| {
            note.replace(Some(reason));
            stop();
        });
    drop(host.connect(parameters, callbacks));
    host.run();
    ended.take().expect("the connection has ended")
}

/// Declares a queue of this connection's own, and goes on with its name.
pub fn with_queue(channel: &Channel, then: impl FnOnce(&Channel, String) + 'static) {
    let declare = queue::Declare { exclusive: true, ..Default::default() };
    let declared = |channel: &Channel, declared: Result<queue::DeclareOk<'static>>| {
        then(channel, declared.expect("the queue is declared").queue.to_string());
    };
    channel.queue_declare(declare, declared).expect("the channel is open");
}

/// Connects to what must refuse, and gives the error that `on_open_error` was told.
pub fn refused<H: Host>(parameters: ConnectionParameters) -> Error {
    logs::keep();
    let host = H::new();
    let told = Rc::new(RefCell::new(Vec::new()));
    let (errors, stop) = (Rc::clone(&told), host.stopper());
    let callbacks = ConnectionCallbacks::new()
        .on_open(|_| unreachable!("it is not open"))
        .on_close(|_, _| unreachable!("it was not open"))
        .on_open_error(move |connection, error| {
            assert!(connection.is_closed() && !connection.is_open());
            errors.borrow_mut().push(error);
            // The loop goes on: it is a callback of later that stops it.
            let services = connection.services().expect("the loop runs");
            services.add_callback(move || stop());
        });
    let connection = host.connect(parameters, callbacks);
    assert!(told.borrow().is_empty(), "told from inside the call");
    host.run();
    assert!(connection.is_closed());
    // And on, and nothing is told again.
    let stop = host.stopper();
    host.services().call_later(Duration::from_millis(1), move || stop());
    host.run();
    let [error] = &told.borrow()[..] else { panic!("not told once: {told:?}") };
    let texts = format!("{error} {error:?} {:?} {:?}", **connection, logs::take());
    assert!(!texts.contains(peers::SECRET), "{texts}");
    error.clone()
}

/// A list that closures of a test write to.
#[derive(Clone, Default)]
pub struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    pub fn add(&self, line: impl std::fmt::Display) {
        self.0.borrow_mut().push(line.to_string());
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    pub fn has(&self, part: &str) -> bool {
        self.0.borrow().iter().any(|line| line.contains(part))
    }
}

/// Calls `then` from the loop, once something was sent: the handshake has begun.
pub fn once_sent(connection: Connection, then: impl FnOnce() + 'static) {
    if connection.counters().bytes_sent > 0 {
        return then();
    }
    let services = connection.services().expect("the loop runs");
    services.add_callback(move || once_sent(connection, then));
}

/// Closes what is open; a test that ends early does not care whether it was.
pub fn close(connection: &Connection) {
    drop(connection.close(200, "the test is done"));
}
