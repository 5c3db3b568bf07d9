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
use crate::support::hosts::libev::{EVRUN_NOWAIT, EVRUN_ONCE, Loop, Timer, ev_timer};
use crate::{Handler, assert_gone, never_told, on_readable, silent_broker};

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

/// It counts the watchers: what is not counted back would keep it, or have it leave the host's own.
#[test]
fn the_loop_runs_for_the_hosts_own_as_before() {
    let ev = Loop::new();
    let runs_for_the_hosts_own = || {
        let fired = Cell::new(false);
        let _timer = Timer::new(&ev, 0.01, note, (&raw const fired).cast_mut().cast());
        assert!(!ev.run(0));
        assert!(fired.get());
    };
    // SAFETY: the loop is there as long as they are.
    let services = unsafe { LibevServices::attach(ev.0) }.unwrap();
    runs_for_the_hosts_own();
    let far = services.call_later(Duration::from_secs(3600), || ());
    let (socket, _other) = UnixStream::pair().unwrap();
    let handler = Rc::new(Handler { socket, call: || () });
    let key = services.add_fd(Interest::READ, handler).unwrap();
    let guards = [services.work_guard(), services.work_guard()];
    assert!(ev.run(EVRUN_NOWAIT));
    services.modify_fd(key, Interest::NONE).unwrap();
    services.modify_fd(key, Interest::READ | Interest::WRITE).unwrap();
    services.modify_fd(key, Interest::NONE).unwrap();
    services.remove_timeout(far);
    drop(guards);
    runs_for_the_hosts_own();
    services.remove_fd(key);
    runs_for_the_hosts_own();
    drop(services);
    runs_for_the_hosts_own();
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

/// A dialog, say. The host's own watchers are served in it, and what is readable does not turn it.
#[test]
fn in_a_run_inside_of_a_callback_they_are_silent() {
    let ev = Rc::new(Loop::new());
    // SAFETY: the loop is there as long as they are.
    let services = unsafe { LibevServices::attach(ev.0) }.unwrap();
    let (told, posted) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (host, turns) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
    let seen_inside = Rc::new(Cell::default());
    let others: Vec<_> = (0..2)
        .map(|_| {
            let (nested, told, posted) = (Rc::clone(&ev), Rc::clone(&told), Rc::clone(&posted));
            let (host, turns) = (Rc::clone(&host), Rc::clone(&turns));
            let (weak, inside) = (services.downgrade(), Rc::clone(&seen_inside));
            on_readable(&services, move || {
                told.set(told.get() + 1);
                let post = Rc::clone(&posted);
                weak.upgrade().unwrap().add_callback(move || post.set(post.get() + 1));
                if told.get() == 1 {
                    while !host.get() {
                        nested.run(EVRUN_ONCE);
                        turns.set(turns.get() + 1);
                    }
                    inside.set((told.get(), posted.get()));
                }
            })
        })
        .collect();
    let _timer = Timer::new(&ev, 0.02, note, Rc::as_ptr(&host).cast_mut().cast());
    while told.get() < 4 {
        ev.run(EVRUN_NOWAIT);
        assert!(host.get(), "the host's own was called in there");
    }
    assert_eq!(seen_inside.get(), (1, 0));
    // The post, the other descriptor, and the timer.
    assert!(turns.get() <= 3, "{}", turns.get());
    assert!(posted.get() >= 2, "what was posted in there is called after it");
    let fired = Rc::new(Cell::new(false));
    let fire = Rc::clone(&fired);
    services.call_later(Duration::from_millis(1), move || fire.set(true));
    while !fired.get() {
        ev.run(EVRUN_NOWAIT);
    }
    drop(others);
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
