//! Of libevent.
#![allow(unsafe_code, reason = "libevent is C")]

use std::ffi::c_int;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use haypile::{BaseConnection, Error, LibeventConnection, LibeventServices, Misuse};

use crate::support::Probes;
use crate::support::hosts::libevent::{EVLOOP_NONBLOCK, EVLOOP_ONCE, Loop};
use crate::{assert_gone, never_told, on_readable, silent_broker};

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

/// As for the host's own.
#[test]
fn a_run_of_one_round_returns_when_something_was_called() {
    let base = Loop::new();
    // SAFETY: the loop is there as long as they are.
    let services = unsafe { LibeventServices::attach(base.0) }.unwrap();
    let called = Arc::new(AtomicUsize::new(0));
    let call = |count: &Arc<AtomicUsize>| {
        let count = Arc::clone(count);
        move || _ = count.fetch_add(1, Ordering::Relaxed)
    };
    let called_once = || {
        assert_eq!(base.run(EVLOOP_ONCE), 0);
        assert_eq!(called.swap(0, Ordering::Relaxed), 1);
    };
    let far = services.call_later(Duration::from_secs(3600), || ());
    services.call_later(Duration::from_millis(1), call(&called));
    called_once();
    services.add_callback(call(&called));
    called_once();
    services.remote().add_callback(call(&called)).unwrap();
    called_once();
    let guard = services.work_guard();
    services.remote().add_callback(call(&called)).unwrap();
    called_once();
    drop(guard);
    let other = on_readable(&services, call(&called));
    called_once();
    drop(other);
    services.remove_timeout(far);
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
