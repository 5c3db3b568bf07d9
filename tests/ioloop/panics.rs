//! A panic comes out of `start`, loses that call only, and the next `start` runs what was left.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::{LoopHandle, Ready};

use crate::pollers::{Poller, every_poller};
use crate::tools::{Drops, MS, Trace, keep, run, run_without_timer, start_panics};

every_poller!(
    of_a_callback,
    of_a_remote_callback,
    of_a_timer,
    of_a_periodic_timer_which_is_called_again,
    of_a_lookups_and_a_connects_callback,
    of_a_timer_with_the_rest_of_its_batch_removed,
    of_a_handler_which_keeps_its_closure_and_its_event,
    of_a_handler_loses_no_deadline_of_the_same_wait,
    of_a_handler_loses_no_event_of_the_others,
    forgets_a_stop_of_the_same_turn_like_any_end_of_start,
    keeps_an_unhandled_error_of_the_same_turn_for_the_next_start,
);

fn of_a_callback(poller: Poller) {
    let ioloop = poller.new_loop();
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

fn of_a_remote_callback(poller: Poller) {
    let ioloop = poller.new_loop();
    let remote = ioloop.remote();
    remote.add_callback(|| panic!("remote")).unwrap();
    ioloop.stopper().stop().unwrap();
    assert_eq!(start_panics(&ioloop), "remote");
    run(&ioloop);
}

fn of_a_timer(poller: Poller) {
    let ioloop = poller.new_loop();
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

fn of_a_periodic_timer_which_is_called_again(poller: Poller) {
    let ioloop = poller.new_loop();
    let (trace, drops) = (Trace::new(), Drops::default());
    let (t, probe, mut calls) = (trace.clone(), drops.probe(), 0);
    let id = ioloop.call_every(MS / 2, move || {
        keep(&probe);
        calls += 1;
        t.add(calls);
        if calls % 2 == 1 {
            panic!("periodic");
        }
    });
    let handle = ioloop.handle();
    assert_eq!(start_panics(&ioloop), "periodic");
    assert_eq!(start_panics(&ioloop), "periodic");
    assert_eq!(trace.take(), [1, 2, 3]);
    assert_eq!(drops.count(), 0);
    assert!(ioloop.remove_timeout(id));
    assert_eq!(drops.count(), 1);
    // One that removes itself before it panics is gone.
    let (probe, own) = (drops.probe(), Rc::new(Cell::new(None)));
    let o = Rc::clone(&own);
    own.set(Some(ioloop.call_every(Duration::ZERO, move || {
        keep(&probe);
        assert!(handle.remove_timeout(o.get().unwrap()));
        panic!("removed");
    })));
    assert_eq!(start_panics(&ioloop), "removed");
    assert_eq!(drops.count(), 2);
    assert_eq!(ioloop.time_to_deadline(), None);
}

fn of_a_lookups_and_a_connects_callback(poller: Poller) {
    let ioloop = poller.new_loop();
    let services = ioloop.services();
    services.resolve("127.0.0.1", 1, Box::new(|_| panic!("lookup")));
    assert_eq!(start_panics(&ioloop), "lookup");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    services.connect_socket(listener.local_addr().unwrap(), None, |_| panic!("connect"));
    assert_eq!(start_panics(&ioloop), "connect");
    let handle = ioloop.handle();
    ioloop.add_callback(move || handle.stop());
    run(&ioloop);
    assert_eq!(ioloop.time_to_deadline(), None);
}

fn of_a_timer_with_the_rest_of_its_batch_removed(poller: Poller) {
    let ioloop = poller.new_loop();
    let now = Instant::now();
    ioloop.add_timeout(now, || panic!("timer"));
    let removed = ioloop.add_timeout(now, || panic!("removed"));
    assert_eq!(start_panics(&ioloop), "timer");
    assert!(ioloop.remove_timeout(removed));
    assert!(ioloop.services().core().turn().is_none());
}

fn of_a_handler_which_keeps_its_closure_and_its_event(poller: Poller) {
    let ioloop = poller.new_loop();
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

/// The deadline passes while the handler is at work, so that the wait after it tells both. Nor is the
/// next one lost.
fn of_a_handler_loses_no_deadline_of_the_same_wait(poller: Poller) {
    let (ioloop, fired) = (poller.new_loop(), Rc::new(Cell::new(false)));
    let (mut there, here) = UnixStream::pair().unwrap();
    there.write_all(b"x").unwrap();
    let (reader, deadline, mut calls) = (Rc::new(here), Instant::now() + MS, 0);
    let handler = {
        let reader = Rc::clone(&reader);
        move |_: &LoopHandle, _| {
            calls += 1;
            match calls {
                1 => while Instant::now() <= deadline {},
                _ => {
                    (&*reader).read_exact(&mut [0]).unwrap();
                    panic!("handler")
                }
            }
        }
    };
    ioloop.add_handler(reader, Ready::READ, handler).unwrap();
    let (f, handle) = (Rc::clone(&fired), ioloop.handle());
    ioloop.add_timeout(deadline, move || {
        let again = handle.clone();
        handle.call_later(MS, move || {
            f.set(true);
            again.stop();
        });
    });
    // Some look at the clock before they wait again.
    if catch_unwind(AssertUnwindSafe(|| ioloop.start().unwrap())).is_err() {
        run_without_timer(&ioloop);
    }
    assert!(fired.get());
}

fn of_a_handler_loses_no_event_of_the_others(poller: Poller) {
    let ioloop = poller.new_loop();
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

fn forgets_a_stop_of_the_same_turn_like_any_end_of_start(poller: Poller) {
    let ioloop = poller.new_loop();
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

fn keeps_an_unhandled_error_of_the_same_turn_for_the_next_start(poller: Poller) {
    let ioloop = poller.new_loop();
    let error = haypile::Error::Misuse(haypile::Misuse::ConnectionNotOpen);
    let (handle, e) = (ioloop.handle(), error.clone());
    ioloop.add_callback(move || handle.services().unwrap().unhandled_error(e));
    ioloop.add_callback(|| panic!("after the error"));
    assert_eq!(start_panics(&ioloop), "after the error");
    assert_eq!(ioloop.start(), Err(error));
}
