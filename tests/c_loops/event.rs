//! Of libevent.
#![allow(unsafe_code, reason = "libevent is C")]

use std::cell::Cell;
use std::ffi::{c_int, c_short, c_void};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::rc::Rc;
use std::time::Duration;

use haypile::{BaseConnection, Error, Interest, LibeventConnection, LibeventServices, Misuse};

use crate::support::Probes;
use crate::support::hosts::libevent::{EVLOOP_NONBLOCK, Loop, Timer};
use crate::{Handler, assert_gone, never_told, silent_broker};

/// What a run returns that ends because nothing is left to run for.
const NOTHING_LEFT: c_int = 1;

#[test]
fn a_null_pointer_is_an_error() {
    let (_listener, parameters) = silent_broker();
    let probes = Probes::default();
    // SAFETY: null is allowed.
    let (services, connection) = unsafe {
        let services = LibeventServices::attach(ptr::null_mut());
        (services, LibeventConnection::new(parameters, never_told(&probes), ptr::null_mut()))
    };
    let refused = Some(Error::Misuse(Misuse::NullLoop));
    assert_eq!((services.err(), connection.err()), (refused.clone(), refused));
    assert_eq!(probes.live(), 0);
}

extern "C" fn note(_: c_int, _: c_short, noted: *mut c_void) {
    // SAFETY: set by the test.
    unsafe { &*noted.cast::<Cell<bool>>() }.set(true);
}

/// Neither longer nor shorter than for the host's own.
#[test]
fn the_loop_runs_for_connections_and_the_hosts_own_alone() {
    let base = Loop::new();
    // SAFETY: the loop is there as long as they are.
    let services = unsafe { LibeventServices::attach(base.0) }.unwrap();
    let (fired, probes) = (Cell::new(false), Probes::default());
    let (timer, posted) = (probes.probe(), probes.probe());
    services.call_later(Duration::from_secs(3600), move || timer.touch());
    let (socket, _other) = UnixStream::pair().unwrap();
    services.add_fd(Interest::READ, Rc::new(Handler { socket, call: || () })).unwrap();
    services.add_callback(move || posted.touch());
    assert_eq!(base.run(0), NOTHING_LEFT);
    assert_eq!(probes.live(), 1, "what was posted has been called");
    let data = (&raw const fired).cast_mut().cast();
    let _timer = Timer::new(&base, Duration::from_millis(10), note, data);
    assert_eq!(base.run(0), NOTHING_LEFT);
    assert!(fired.get());
    drop(services);
}

#[test]
fn a_loop_may_go_once_they_are_detached() {
    let (base, probes) = (Loop::new(), Probes::default());
    let (_listener, parameters) = silent_broker();
    // SAFETY: they are detached before the loop goes.
    let connection =
        unsafe { LibeventConnection::new(parameters, never_told(&probes), base.0) }.unwrap();
    assert_eq!(connection.event_base(), Some(base.0));
    assert_eq!(base.run(EVLOOP_NONBLOCK), 0);
    connection.services().core().detach();
    assert_eq!(base.run(0), NOTHING_LEFT);
    drop(base);
    assert_eq!(probes.live(), 0);
    assert!(connection.is_closed());
    assert_eq!(connection.event_base(), None);
    assert_gone(connection.services());
}
