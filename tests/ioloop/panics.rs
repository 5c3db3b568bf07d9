//! A panic comes out of `start`, loses that call only, and the next `start` runs what was left.

use std::cell::Cell;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Instant;

use haypile::{IOLoop, LoopHandle, Ready};

use crate::{Trace, run, start_panics};

#[test]
fn of_a_callback() {
    let ioloop = IOLoop::new().unwrap();
    let trace = Trace::new();
    ioloop.add_callback(|| panic!("first"));
    let t = trace.clone();
    ioloop.add_callback(move || t.add("callback"));
    ioloop.add_callback(|| panic!("second"));
    let (t, handle) = (trace.clone(), ioloop.handle());
    ioloop.add_timeout(Instant::now(), move || {
        t.add("timer");
        handle.stop();
    });
    assert_eq!(start_panics(&ioloop), "first");
    assert_eq!(trace.take(), [""; 0]);
    assert_eq!(start_panics(&ioloop), "second");
    assert_eq!(trace.take(), ["callback"]);
    run(&ioloop);
    assert_eq!(trace.take(), ["timer"]);
}

#[test]
fn of_a_remote_callback() {
    let ioloop = IOLoop::new().unwrap();
    let remote = ioloop.remote();
    remote.add_callback(|| panic!("remote")).unwrap();
    ioloop.stopper().stop().unwrap();
    assert_eq!(start_panics(&ioloop), "remote");
    run(&ioloop);
}

#[test]
fn of_a_timer() {
    let ioloop = IOLoop::new().unwrap();
    let (trace, now) = (Trace::new(), Instant::now());
    ioloop.add_timeout(now, || panic!("timer"));
    let t = trace.clone();
    ioloop.add_timeout(now, move || t.add("second"));
    let removed = ioloop.add_timeout(now, || panic!("removed"));
    let (t, handle) = (trace.clone(), ioloop.handle());
    ioloop.add_timeout(now, move || {
        t.add("third");
        handle.stop();
    });
    assert_eq!(start_panics(&ioloop), "timer");
    // Of the batch under way, and yet it does not fire.
    assert!(ioloop.remove_timeout(removed));
    run(&ioloop);
    assert_eq!(trace.take(), ["second", "third"]);
}

#[test]
fn of_a_timer_with_the_rest_of_its_batch_removed() {
    let ioloop = IOLoop::new().unwrap();
    let now = Instant::now();
    ioloop.add_timeout(now, || panic!("timer"));
    let removed = ioloop.add_timeout(now, || panic!("removed"));
    assert_eq!(start_panics(&ioloop), "timer");
    assert!(ioloop.remove_timeout(removed));
    assert!(ioloop.services().core().turn().is_none());
}

#[test]
fn of_a_handler_which_keeps_its_closure_and_its_event() {
    let ioloop = IOLoop::new().unwrap();
    let (mut there, here) = UnixStream::pair().unwrap();
    there.write_all(b"x").unwrap();
    let mut calls = 0;
    ioloop
        .add_handler(here, Ready::READ, move |ioloop, _| {
            calls += 1;
            match calls {
                1 => panic!("handler"),
                _ => ioloop.stop(),
            }
        })
        .unwrap();
    assert_eq!(start_panics(&ioloop), "handler");
    run(&ioloop);
}

#[test]
fn of_a_handler_loses_no_event_of_the_others() {
    let ioloop = IOLoop::new().unwrap();
    let seen = Trace::new();
    let mut theres = Vec::new();
    for number in 0..8 {
        let (mut there, here) = UnixStream::pair().unwrap();
        there.write_all(b"x").unwrap();
        theres.push(there);
        let (s, key) = (seen.clone(), Rc::new(Cell::new(None)));
        let k = Rc::clone(&key);
        let handler = move |ioloop: &LoopHandle, _| {
            s.add(number);
            ioloop.remove_handler(k.get().unwrap());
            if number == 0 {
                panic!("handler");
            }
        };
        key.set(Some(ioloop.add_handler(here, Ready::READ, handler).unwrap()));
    }
    // Its wake was taken by the turn that panics, its post was not.
    ioloop.stopper().stop().unwrap();
    assert_eq!(start_panics(&ioloop), "handler");
    run(&ioloop);
    let mut seen = seen.take();
    seen.sort();
    assert_eq!(seen, (0..8).collect::<Vec<_>>());
}

#[test]
fn forgets_a_stop_of_the_same_turn_like_any_end_of_start() {
    let ioloop = IOLoop::new().unwrap();
    let (trace, handle) = (Trace::new(), ioloop.handle());
    ioloop.add_callback(move || handle.stop());
    ioloop.add_callback(|| panic!("after the stop"));
    let (t, handle) = (trace.clone(), ioloop.handle());
    ioloop.add_callback(move || {
        t.add("ran");
        handle.stop();
    });
    assert_eq!(start_panics(&ioloop), "after the stop");
    run(&ioloop);
    assert_eq!(trace.take(), ["ran"]);
}

#[test]
fn keeps_an_unhandled_error_of_the_same_turn_for_the_next_start() {
    let ioloop = IOLoop::new().unwrap();
    let error = haypile::Error::Misuse(haypile::Misuse::ConnectionNotOpen);
    let (handle, e) = (ioloop.handle(), error.clone());
    ioloop.add_callback(move || handle.services().unwrap().unhandled_error(e));
    ioloop.add_callback(|| panic!("after the error"));
    assert_eq!(start_panics(&ioloop), "after the error");
    assert_eq!(ioloop.start(), Err(error));
}
