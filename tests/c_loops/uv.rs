//! Of libuv.
#![allow(unsafe_code, reason = "libuv is C")]

use std::cell::Cell;
use std::ffi::c_void;
use std::io;
use std::os::unix::net::UnixStream;
use std::ptr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::{Error, Interest, LibuvConnection, LibuvServices, Misuse, SelectConnection};

use crate::support::Probes;
use crate::support::hosts::libuv::{
    Handle, Loop, UV_RUN_DEFAULT, UV_RUN_NOWAIT, uv_backend_timeout, uv_close, uv_hrtime, uv_walk,
};
use crate::{Handler, assert_gone, never_told, silent_broker};

/// Of libuv's errors, which are errnos below zero.
const UV_EBUSY: i32 = -libc::EBUSY;

#[test]
fn a_null_pointer_is_an_error() {
    let (_listener, parameters) = silent_broker();
    let probes = Probes::default();
    // SAFETY: null is allowed.
    let (services, connection) = unsafe {
        let services = LibuvServices::attach(ptr::null_mut());
        (services, LibuvConnection::new(parameters, never_told(&probes), ptr::null_mut()))
    };
    let refused = Some(Error::Misuse(Misuse::NullLoop));
    assert_eq!((services.err(), connection.err()), (refused.clone(), refused));
    assert_eq!(probes.live(), 0);
}

/// Also the host's own handles: two watchers of one descriptor are one too many for libuv.
#[test]
fn a_second_watcher_of_a_descriptor_is_refused() {
    let uv_loop = Loop::new();
    // SAFETY: the loop is closed in order.
    let services = unsafe { LibuvServices::attach(uv_loop.ptr()) }.unwrap();
    let (socket, _other) = UnixStream::pair().unwrap();
    let handler = Rc::new(Handler { socket, call: || () });
    let key = services.add_fd(Interest::READ, handler.clone()).unwrap();
    let refused = services.add_fd(Interest::READ, handler.clone()).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    services.remove_fd(key);
    services.add_fd(Interest::READ, handler).unwrap();
    drop(services);
    uv_loop.run(UV_RUN_DEFAULT);
    assert_eq!(uv_loop.close(), 0);
}

#[test]
fn a_loop_closes_once_they_are_detached() {
    let (uv_loop, probes) = (Loop::new(), Probes::default());
    let (_listener, parameters) = silent_broker();
    // SAFETY: the loop is closed in order.
    let connection =
        unsafe { LibuvConnection::new(parameters, never_told(&probes), uv_loop.ptr()) }.unwrap();
    assert_eq!(connection.uv_loop(), Some(uv_loop.ptr()));
    assert_ne!(uv_loop.run(UV_RUN_NOWAIT), 0);
    assert_eq!(uv_loop.close(), UV_EBUSY);
    let services = haypile::BaseConnection::services(&connection);
    services.core().detach();
    assert_eq!(probes.live(), 0);
    assert_eq!(connection.uv_loop(), None);
    assert_gone(services);
    assert_eq!(uv_loop.run(UV_RUN_DEFAULT), 0);
    assert_eq!(uv_loop.close(), 0);
    drop(uv_loop);
    assert_gone(services);
}

/// As many hosts end: they close whatever they find.
#[test]
fn a_host_may_close_all_handles() {
    extern "C" fn close(handle: Handle, _: *mut c_void) {
        // SAFETY: found by `uv_walk`, and not closing.
        unsafe { uv_close(handle, None) }
    }

    let (uv_loop, probes) = (Loop::new(), Probes::default());
    let (_listener, parameters) = silent_broker();
    // SAFETY: its handles are closed before the loop is.
    let services = unsafe { LibuvServices::attach(uv_loop.ptr()) }.unwrap();
    let connection = services.connect(parameters, never_told(&probes));
    uv_loop.run(UV_RUN_NOWAIT);
    // SAFETY: the loop is there.
    unsafe { uv_walk(uv_loop.ptr(), close, ptr::null_mut()) };
    assert_eq!(uv_loop.run(UV_RUN_DEFAULT), 0);
    assert_eq!(uv_loop.close(), 0);
    drop(uv_loop);
    services.add_callback(|| ());
    services.call_later(Duration::from_secs(1), || ());
    let (socket, _other) = UnixStream::pair().unwrap();
    services.add_fd(Interest::READ, Rc::new(Handler { socket, call: || () })).unwrap_err();
    services.core().detach();
    assert!(connection.is_closed());
    assert_eq!(probes.live(), 0);
    assert_gone(&services);
}

/// libuv knows whole milliseconds: one rounded up once more is one too many for each timer.
#[test]
fn a_timer_has_libuv_sleep_for_no_longer_than_it_is_set_for() {
    let uv_loop = Loop::new();
    // SAFETY: the loop is closed in order.
    let services = unsafe { LibuvServices::attach(uv_loop.ptr()) }.unwrap();
    services.call_later(Duration::from_secs(10), || ());
    uv_loop.run(UV_RUN_NOWAIT);
    // SAFETY: the loop is there.
    let sleep = unsafe { uv_backend_timeout(uv_loop.ptr()) };
    assert!((1..=10_000).contains(&sleep), "{sleep} ms");
    drop(services);
    uv_loop.run(UV_RUN_DEFAULT);
    assert_eq!(uv_loop.close(), 0);
}

/// At the end of a millisecond libuv takes a timer for due that has most of one to go.
#[test]
fn a_timer_that_libuv_calls_too_early_waits_for_the_rest() {
    const MILLISECOND: u64 = 1_000_000;
    let spin_until = |time| while uv_hrtime() < time {};

    let uv_loop = Loop::new();
    // SAFETY: the loop is closed in order.
    let services = unsafe { LibuvServices::attach(uv_loop.ptr()) }.unwrap();
    for _ in 0..20 {
        let next = uv_hrtime().next_multiple_of(MILLISECOND) + MILLISECOND;
        spin_until(next - MILLISECOND / 10);
        let fired = Rc::new(Cell::new(None));
        let deadline = Instant::now() + Duration::from_millis(1);
        let told = Rc::clone(&fired);
        services.add_timeout(deadline, move || told.set(Some(Instant::now())));
        uv_loop.run(UV_RUN_NOWAIT);
        spin_until(next);
        uv_loop.run(UV_RUN_DEFAULT);
        assert!(fired.get().expect("it fires") >= deadline);
    }
    drop(services);
    uv_loop.run(UV_RUN_DEFAULT);
    assert_eq!(uv_loop.close(), 0);
}

#[test]
fn services_of_another_loop_are_told_from_its_own() {
    let (_listener, parameters) = silent_broker();
    let probes = Probes::default();
    let select = SelectConnection::new(parameters.clone(), never_told(&probes)).unwrap();
    let services = haypile::BaseConnection::services(&select);
    let connection = LibuvConnection::with_services(parameters, never_told(&probes), services);
    assert_eq!(connection.uv_loop(), None);
}
