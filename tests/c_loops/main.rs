//! What is special about loops of C: their raw pointers, how they end, and what runs beside. What
//! every adapter does is in the conformance suite.
#![cfg(any(feature = "glib", feature = "libev", feature = "libevent", feature = "libuv"))]

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "libev")]
mod ev;
#[cfg(feature = "libevent")]
mod event;
mod examples;
#[cfg(feature = "glib")]
mod glib;
#[cfg(feature = "libuv")]
mod uv;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use haypile::{
    ConnectionCallbacks, ConnectionParameters, Error, FdHandler, Interest, LoopError, Ready,
    Services,
};
use support::Probes;
use support::hosts::{CLoop, every_c_loop};
use support::peers::Peer;

every_c_loop!(
    a_closed_descriptor_is_an_error,
    a_panic_in_a_handler_is_told,
    a_connection_needs_nobody_to_hold_it,
    services_may_go_in_their_callback,
    services_may_go_in_their_handler,
    services_of_one_loop_end_apart,
);

/// A handler that calls a closure.
struct Handler<F> {
    socket: UnixStream,
    call: F,
}

impl<F> AsFd for Handler<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<F: Fn()> FdHandler for Handler<F> {
    fn on_ready(self: Rc<Self>, ready: Ready) -> Ready {
        (self.call)();
        ready
    }
}

/// Calls `call` while the socket has something to read, as it has at once.
fn on_readable(services: &Services, call: impl Fn() + 'static) -> UnixStream {
    let (socket, mut other) = UnixStream::pair().unwrap();
    other.write_all(b"!").unwrap();
    services.add_fd(Interest::READ, Rc::new(Handler { socket, call })).unwrap();
    other
}

/// A broker that takes connections and says nothing.
fn silent_broker() -> (TcpListener, ConnectionParameters) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut parameters = ConnectionParameters::new("127.0.0.1");
    parameters.set_port(listener.local_addr().unwrap().port());
    (listener, parameters)
}

/// Callbacks that are never called, and are dropped with their loop.
fn never_told(probes: &Probes) -> ConnectionCallbacks {
    let (open, error) = (probes.probe(), probes.probe());
    ConnectionCallbacks::new().on_open(move |_| open.touch()).on_open_error(
        move |_, told: Error| {
            error.touch();
            panic!("{told}");
        },
    )
}

/// Services whose loop has gone: nothing works, nothing is kept, and nothing crashes.
fn assert_gone(services: &Services) {
    let probes = Probes::default();
    let (posted, timer) = (probes.probe(), probes.probe());
    services.add_callback(move || posted.touch());
    services.call_later(Duration::ZERO, move || timer.touch());
    assert_eq!((probes.made(), probes.live()), (2, 0));
    assert_eq!(services.remote().add_callback(|| ()), Err(LoopError::Gone));
    let (socket, _other) = UnixStream::pair().unwrap();
    let refused = services.add_fd(Interest::READ, Rc::new(Handler { socket, call: || () }));
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::Other);
}

fn a_closed_descriptor_is_an_error<H: CLoop>() {
    struct Closed;

    impl AsFd for Closed {
        fn as_fd(&self) -> BorrowedFd<'_> {
            #[allow(unsafe_code)]
            // SAFETY: none: that is what the test is about. No descriptor has so high a number.
            unsafe {
                BorrowedFd::borrow_raw(1_000_000)
            }
        }
    }

    impl FdHandler for Closed {
        fn on_ready(self: Rc<Self>, ready: Ready) -> Ready {
            ready
        }
    }

    let host = H::new();
    let refused = host.services().add_fd(Interest::READ, Rc::new(Closed));
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EBADF));
}

fn a_panic_in_a_handler_is_told<H: CLoop>() {
    let host = H::new();
    let (told, stop) = (Rc::new(RefCell::new(String::new())), host.stopper());
    let tell = Rc::clone(&told);
    host.services().core().set_on_panic(move |message| {
        tell.replace(message.to_owned());
        stop();
    });
    let _other = on_readable(&host.services(), || panic!("in a handler"));
    host.run();
    assert_eq!(*told.borrow(), "in a handler");
}

/// Nor its services.
fn a_connection_needs_nobody_to_hold_it<H: CLoop>() {
    let host = H::new();
    let peer = Peer::new(|wire| {
        wire.open();
        wire.obey();
    });
    let (services, stop) = (host.attach(), host.stopper());
    let weak = services.downgrade();
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| connection.close(200, "bye").unwrap())
        .on_close(move |_, _| stop());
    drop(services.connect(peer.parameters(), callbacks));
    drop(services);
    assert!(weak.upgrade().is_some());
    host.run();
    peer.join();
    assert!(weak.upgrade().is_none(), "and then they go");
}

fn services_may_go_in_their_callback<H: CLoop>() {
    let host = H::new();
    let (probes, services) = (Probes::default(), host.attach());
    let (_listener, parameters) = silent_broker();
    let connection = services.connect(parameters, never_told(&probes));
    let (only, stop, probe) = (services.clone(), host.stopper(), probes.probe());
    services.call_later(Duration::from_millis(1), move || {
        only.core().detach();
        drop(only);
        probe.touch();
        stop();
    });
    drop(services);
    host.run();
    assert_eq!(probes.live(), 0);
    assert!(connection.is_closed());
}

fn services_may_go_in_their_handler<H: CLoop>() {
    let host = H::new();
    let (probes, services) = (Probes::default(), host.attach());
    let only = Cell::new(Some(services.clone()));
    let (stop, probe) = (host.stopper(), probes.probe());
    let _other = on_readable(&services, move || {
        probe.touch();
        drop(only.take());
        stop();
    });
    drop(services);
    host.run();
    assert_eq!(probes.live(), 0);
}

fn services_of_one_loop_end_apart<H: CLoop>() {
    let host = H::new();
    let (one, other) = (host.attach(), host.attach());
    let (stop, ended) = (host.stopper(), one.clone());
    other.add_callback(move || ended.core().detach());
    other.call_later(Duration::from_millis(1), move || stop());
    host.run();
    assert_gone(&one);
}
