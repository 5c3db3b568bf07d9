//! Heartbeats on real loops (hazard 15). Seconds are the least that AMQP can agree on, so these
//! tests take some.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::{ConnectionCallbacks, Error, Heartbeat};
use support::peers::Peer;
use support::{Host, broker, every_host};

every_host!(an_idle_connection_is_kept_by_heartbeats, a_silent_broker_is_found_in_two_intervals);

/// RabbitMQ closes a connection from which nothing comes for two intervals.
fn an_idle_connection_is_kept_by_heartbeats<H: Host>() {
    let host = H::new();
    let mut parameters = broker();
    parameters.set_heartbeat(Heartbeat::Negotiate(1));
    let (services, stop) = (host.services(), host.stopper());
    let callbacks = ConnectionCallbacks::new()
        .on_open(move |connection| {
            let connection = connection.clone();
            services.call_later(Duration::from_secs(5), move || {
                let writes = connection.counters().writes;
                // Header, StartOk, TuneOk with Open; then at most one each half second.
                assert!((3 + 4..=3 + 10).contains(&writes), "{writes} writes");
                connection.close(200, "still here").expect("it is open");
            });
        })
        .on_close(move |_, reason| {
            assert_eq!(reason.to_string(), "connection closed by this client: (200) still here");
            stop();
        });
    drop(host.connect(parameters, callbacks));
    host.run();
}

fn a_silent_broker_is_found_in_two_intervals<H: Host>() {
    let host = H::new();
    let peer = Peer::new(|wire| {
        wire.open();
        // Reads, but says no more.
        wire.read_to_end();
    });
    let mut parameters = peer.parameters();
    parameters.set_heartbeat(Heartbeat::Exactly(1));
    let (opened, stop) = (Rc::new(Cell::new(None)), host.stopper());
    let when = Rc::clone(&opened);
    let callbacks = ConnectionCallbacks::new()
        .on_open(move |_| when.set(Some(Instant::now())))
        .on_close(move |_, reason| {
            let interval = Duration::from_secs(1);
            assert_eq!(reason, Error::HeartbeatTimeout { interval });
            stop();
        });
    drop(host.connect(parameters, callbacks));
    host.run();
    let silent = opened.get().expect("it was open").elapsed();
    // Not before one and a half intervals. That it is not after two is shown under a virtual clock;
    // here the machine may be busy.
    assert!(silent > Duration::from_millis(1400), "{silent:?}");
    peer.join();
}
