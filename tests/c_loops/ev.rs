//! Of libev.
#![allow(unsafe_code, reason = "libev is C")]

use std::cell::Cell;
use std::ffi::c_int;
use std::os::unix::net::UnixStream;
use std::ptr;
use std::rc::Rc;
use std::time::Duration;

use haypile::native::ev_loop;
use haypile::{BaseConnection, Error, Interest, LibevConnection, LibevServices, Misuse};

use crate::support::Probes;
use crate::support::hosts::libev::{EVRUN_NOWAIT, Loop, Timer, ev_timer};
use crate::{Handler, assert_gone, never_told, silent_broker};

#[test]
fn a_null_pointer_is_an_error() {
    let (_listener, parameters) = silent_broker();
    let probes = Probes::default();
    // SAFETY: null is allowed.
    let (services, connection) = unsafe {
        let services = LibevServices::attach(ptr::null_mut());
        (services, LibevConnection::new(parameters, never_told(&probes), ptr::null_mut()))
    };
    let refused = Some(Error::Misuse(Misuse::NullLoop));
    assert_eq!((services.err(), connection.err()), (refused.clone(), refused));
    assert_eq!(probes.live(), 0);
}

extern "C" fn note(_: *mut ev_loop, timer: *mut ev_timer, _: c_int) {
    // SAFETY: set by the tests.
    unsafe { &*(*timer).data.cast::<Cell<bool>>() }.set(true);
}

/// Neither longer nor shorter than for the host's own.
#[test]
fn the_loop_runs_for_connections_and_the_hosts_own_alone() {
    let ev = Loop::new();
    // SAFETY: the loop is there as long as they are.
    let services = unsafe { LibevServices::attach(ev.0) }.unwrap();
    let (fired, probes) = (Cell::new(false), Probes::default());
    let (timer, posted) = (probes.probe(), probes.probe());
    let far = services.call_later(Duration::from_secs(3600), move || timer.touch());
    let (socket, _other) = UnixStream::pair().unwrap();
    let handler = Rc::new(Handler { socket, call: || () });
    let key = services.add_fd(Interest::READ, handler).unwrap();
    services.add_callback(move || posted.touch());
    assert!(!ev.run(0));
    assert_eq!(probes.live(), 1, "what was posted has been called");

    // What is started and stopped in between counts as little.
    services.modify_fd(key, Interest::NONE).unwrap();
    services.modify_fd(key, Interest::READ | Interest::WRITE).unwrap();
    services.remove_timeout(far);
    let _timer = Timer::new(&ev, 0.01, note, (&raw const fired).cast_mut().cast());
    assert!(!ev.run(0));
    assert!(fired.get());
    services.remove_fd(key);
    drop(services);
    fired.set(false);
    let _timer = Timer::new(&ev, 0.01, note, (&raw const fired).cast_mut().cast());
    assert!(!ev.run(0));
    assert!(fired.get());
}

#[test]
fn a_loop_that_is_destroyed_detaches_them() {
    let (ev, probes) = (Loop::new(), Probes::default());
    let (_listener, parameters) = silent_broker();
    // SAFETY: the loop is run on this thread.
    let connection =
        unsafe { LibevConnection::new(parameters, never_told(&probes), ev.0) }.unwrap();
    assert_eq!(connection.ev_loop(), Some(ev.0));
    assert!(ev.run(EVRUN_NOWAIT));
    drop(ev);
    assert_eq!(probes.live(), 0);
    assert!(connection.is_closed());
    assert_eq!(connection.ev_loop(), None);
    assert_gone(connection.services());
}

/// By what is dropped with them, when nobody holds them any more.
#[test]
fn a_loop_may_be_destroyed_while_they_end() {
    let (ev, probes) = (Loop::new(), Probes::default());
    // SAFETY: the loop is destroyed on this thread.
    let services = unsafe { LibevServices::attach(ev.0) }.unwrap();
    let (socket, _other) = UnixStream::pair().unwrap();
    services.add_fd(Interest::READ, Rc::new(Handler { socket, call: || () })).unwrap();
    let ev = Cell::new(Some(ev));
    let probe = probes.probe_that(move || drop(ev.take()));
    services.call_later(Duration::from_secs(3600), move || probe.touch());
    drop(services);
    assert_eq!(probes.live(), 0);
}
