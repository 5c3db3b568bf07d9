//! Connecting that gets stuck in each of its phases, and is ended there.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use haypile::{
    ConnectError, Connection, ConnectionCallbacks, ConnectionWorkflow, Error, HandshakeError,
    Phase, Services,
};

use crate::scene::{Answer, HOUR, MOMENT, Scene, Told, slow};
use crate::support::peers::{Peer, dead_end, silent};
use crate::support::{self, Host, Probes, broker, close};

/// A place where connecting gets stuck.
struct Stuck {
    phase: &'static str,
    names: Vec<(&'static str, Answer)>,
    workflow: ConnectionWorkflow,
    /// Ends when its client has gone.
    peer: Option<Peer>,
}

fn everywhere() -> Vec<Stuck> {
    let reserved = || {
        Peer::new(|wire| {
            wire.header();
            assert_eq!(wire.read_to_end(), 0);
        })
    };
    let busy = reserved();
    let in_the_handshake = busy.address();
    let behind = reserved();
    let raced = vec![silent(), silent_too(), behind.address()];
    let mut racing = ConnectionWorkflow::from(slow("raced"));
    racing.set_connection_attempt_delay(Duration::from_millis(10)).unwrap();
    let mut pausing = ConnectionWorkflow::from(slow("down"));
    pausing.set_connection_attempts(2).unwrap().set_retry_delay(HOUR).set_max_retry_delay(HOUR);
    let stuck = |phase, name, answer, workflow: ConnectionWorkflow, peer| Stuck {
        phase,
        names: vec![(name, answer)],
        workflow,
        peer,
    };
    vec![
        stuck("lookup", "hangs", Answer::Never, slow("hangs").into(), None),
        stuck("connect", "full", Answer::Addresses(vec![silent()]), slow("full").into(), None),
        stuck(
            "handshake",
            "busy",
            Answer::Addresses(vec![in_the_handshake]),
            slow("busy").into(),
            Some(busy),
        ),
        stuck("race", "raced", Answer::Addresses(raced), racing, Some(behind)),
        stuck("pause", "down", Answer::Addresses(vec![dead_end()]), pausing, None),
    ]
}

/// Calls `then` once the connection is in that phase.
fn once_there(
    services: &Services,
    connection: &Connection,
    phase: &'static str,
    then: impl FnOnce() + 'static,
) {
    match phase {
        "handshake" | "race" => support::once_sent(connection.clone(), then),
        // Long enough for what needs no answer; too short is too early, and shows the same.
        _ => drop(services.call_later(2 * MOMENT, then)),
    }
}

/// The address of [`silent`] by another way of writing it.
fn silent_too() -> SocketAddr {
    let std::net::IpAddr::V4(ip) = silent().ip() else { unreachable!("it is of version 4") };
    SocketAddr::new(ip.to_ipv6_mapped().into(), silent().port())
}

pub fn one_deadline_ends_each_phase<H: Host>() {
    let limit = Duration::from_secs(1);
    for Stuck { phase, names, mut workflow, peer } in everywhere() {
        if phase == "pause" {
            continue;
        }
        workflow.set_timeout(Some(limit)).unwrap();
        let scene = Scene::<H>::new(&names);
        let before = Instant::now();
        scene.connect(workflow);
        let error = scene.run_into_failure();
        assert!(before.elapsed() >= limit, "{phase}");
        let Error::Connect(ConnectError::TimedOut { limit: told, failures }) = &error else {
            panic!("{phase}: {error:?}");
        };
        assert_eq!(*told, limit);
        let last = &failures.last().expect("what was under way").cause;
        let is_right = match phase {
            "lookup" => matches!(last, Error::Connect(ConnectError::Resolve { cause, .. })
                if cause.kind() == io::ErrorKind::TimedOut),
            "connect" => matches!(last, Error::Connect(ConnectError::Socket { cause, .. })
                if cause.kind() == io::ErrorKind::TimedOut),
            _ => *last == HandshakeError::TimedOut { phase: Phase::Protocol, limit }.into(),
        };
        assert!(is_right, "{phase}: {error:?}");
        assert!(error.to_string().starts_with("no connection within 1s: "), "{error}");
        peer.into_iter().for_each(Peer::join);
    }
}

pub fn close_ends_each_phase_once_and_leaves_nothing<H: Host>() {
    for Stuck { phase, names, workflow, peer } in everywhere() {
        println!("{phase}");
        let scene = Scene::<H>::new(&names);
        let connection = scene.connect(workflow);
        let aborted = connection.clone();
        once_there(&scene.services, &connection, phase, move || {
            aborted.close(200, "no more").expect("it is not closed");
            aborted.close(200, "again").expect_err("it is");
        });
        assert_eq!(scene.run(), [Told::Failed(ConnectError::Aborted.into())]);
        assert!(connection.is_closed());
        peer.into_iter().for_each(Peer::join);
    }
    // And before anything has begun.
    let scene = Scene::<H>::new(&[]);
    let connection = scene.connect(vec![slow("never"), broker()]);
    close(&connection);
    assert_eq!(scene.run(), [Told::Failed(ConnectError::Aborted.into())]);
}

pub fn a_loop_that_goes_in_each_phase_tells_nothing<H: Host>() {
    for Stuck { phase, names, workflow, peer } in everywhere() {
        println!("{phase}");
        let scene = Scene::<H>::new(&names);
        let probes = Probes::default();
        let (one, other) = (probes.probe(), probes.probe());
        let callbacks = ConnectionCallbacks::new()
            .on_open_error(move |_, error| {
                one.touch();
                unreachable!("{error}")
            })
            .on_close(move |_, _| other.touch());
        let connection = scene.services.connect(workflow, callbacks);
        let stop = scene.host.stopper();
        once_there(&scene.services, &connection, phase, move || stop());
        scene.host.run();
        assert_eq!(probes.live(), 2);
        drop(scene);
        assert_eq!(probes.live(), 0, "{phase}");
        assert!(connection.is_closed());
        peer.into_iter().for_each(Peer::join);
    }
}
