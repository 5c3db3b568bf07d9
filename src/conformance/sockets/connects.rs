//! Connecting a socket.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use crate::ConnectAttempt;
use crate::conformance::stage::Stage;
use crate::conformance::tools::{Probes, peers};

type Connected = io::Result<OwnedFd>;

const LONG: Duration = Duration::from_secs(20);

/// Connects, and gives what came. To cancel it then does nothing.
fn connect(stage: &Stage, address: SocketAddr, timeout: Option<Duration>) -> Connected {
    let (connected, stop) = (Rc::new(RefCell::new(None)), stage.stopper());
    let keep = Rc::clone(&connected);
    let attempt = stage.services().connect_socket(address, timeout, move |result| {
        assert!(keep.replace(Some(result)).is_none(), "told twice");
        stop();
    });
    assert!(connected.borrow().is_none(), "told from inside of the call");
    stage.run();
    attempt.cancel();
    assert_eq!(stage.services().core().turn(), None, "something is left");
    connected.take().expect("it was told")
}

/// Nobody accepts: the backlog is enough.
fn listen(address: SocketAddr) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(address).expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

fn connects(stage: &Stage, any: SocketAddr) {
    let (listener, address) = listen(any);
    let socket = connect(stage, address, Some(LONG)).expect("it listens");
    assert!(socket2::SockRef::from(&socket).nonblocking().expect("a socket"));
    assert_eq!(TcpStream::from(socket).peer_addr().expect("connected"), address);
    drop(listener);
}

fn is_refused(stage: &Stage, any: SocketAddr) {
    let (listener, address) = listen(any);
    drop(listener);
    let error = connect(stage, address, Some(LONG)).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
}

const V4: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const V6: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 0);

pub(in crate::conformance) fn to_an_ipv4_address(stage: &Stage) {
    connects(stage, V4);
}

pub(in crate::conformance) fn to_an_ipv4_address_that_refuses(stage: &Stage) {
    is_refused(stage, V4);
}

/// pika's has the address of a socket whose peer has closed.
pub(in crate::conformance) fn to_a_socket_that_does_not_listen(stage: &Stage) {
    let error = connect(stage, peers::dead_end(), None).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
}

pub(in crate::conformance) fn to_an_ipv6_address(stage: &Stage) {
    if has_ipv6() {
        connects(stage, V6);
    }
}

pub(in crate::conformance) fn to_an_ipv6_address_that_refuses(stage: &Stage) {
    if has_ipv6() {
        is_refused(stage, V6);
    }
}

fn has_ipv6() -> bool {
    let has = TcpListener::bind(V6).is_ok();
    if !has {
        eprintln!("this machine has no IPv6, of which this scenario is");
    }
    has
}

pub(in crate::conformance) fn one_that_is_cancelled_is_silent(stage: &Stage) {
    let (_listener, ready) = listen(V4);
    let at_once = SocketAddr::from(([255, 255, 255, 255], 1));
    for address in [peers::silent(), peers::dead_end(), ready, at_once] {
        for from_the_loop in [false, true] {
            let probes = Probes::default();
            let probe = probes.probe();
            let attempt = Rc::new(Cell::new(None::<ConnectAttempt>));
            let cancel = {
                let attempt = Rc::clone(&attempt);
                let probes = probes.clone();
                move || {
                    let attempt = attempt.take().expect("it has begun");
                    attempt.cancel();
                    assert_eq!(probes.live(), 0, "what cannot be called any more is dropped");
                    attempt.cancel();
                }
            };
            if from_the_loop {
                stage.services().add_callback(cancel.clone());
            }
            let done = move |_| {
                probe.touch();
                panic!("cancelled");
            };
            attempt.set(Some(stage.services().connect_socket(address, Some(LONG), done)));
            if from_the_loop {
                // The sooner of two that are ready may be told first, if that is the descriptor.
                stage.services().core().turn();
            } else {
                cancel();
            }
            stage.settle();
            assert_eq!(stage.services().core().turn(), None, "something is left");
        }
    }
}

pub(in crate::conformance) fn one_that_takes_too_long_times_out(stage: &Stage) {
    let timeout = Some(Duration::from_millis(20));
    let error = connect(stage, peers::silent(), timeout).expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
}

/// The callback may do all of it again.
pub(in crate::conformance) fn one_behind_the_other(stage: &Stage) {
    fn next(services: crate::Services, address: SocketAddr, left: usize, done: Rc<dyn Fn()>) {
        services.clone().connect_socket(address, Some(LONG), move |connected| {
            connected.expect("it listens");
            match left {
                0 => done(),
                _ => next(services, address, left - 1, done),
            }
        });
    }
    let (_listener, address) = listen(V4);
    next(stage.services(), address, 20, stage.stopper());
    stage.run();
}
