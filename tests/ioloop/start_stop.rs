use std::cell::Cell;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use haypile::{Error, IOLoop, IoServices, LoopError, Misuse};

use crate::{Trace, run};

#[test]
fn stop_before_start_runs_nothing_and_keeps_callbacks() {
    let ioloop = IOLoop::new().unwrap();
    let trace = Trace::new();
    let (t, handle) = (trace.clone(), ioloop.handle());
    ioloop.add_callback(move || {
        t.add("callback");
        handle.stop();
    });
    ioloop.stop();
    run(&ioloop);
    assert_eq!(trace.take(), [""; 0]);
    run(&ioloop);
    assert_eq!(trace.take(), ["callback"]);
}

#[test]
fn stop_ends_after_the_turn_under_way() {
    let ioloop = IOLoop::new().unwrap();
    let trace = Trace::new();
    let (t, handle) = (trace.clone(), ioloop.handle());
    ioloop.add_callback(move || {
        handle.stop();
        let again = t.clone();
        handle.add_callback(move || again.add("of the next turn"));
        t.add("stop");
    });
    let t = trace.clone();
    ioloop.add_callback(move || t.add("callback"));
    let t = trace.clone();
    ioloop.call_later(Duration::ZERO, move || t.add("timer"));
    run(&ioloop);
    assert_eq!(trace.take(), ["stop", "callback", "timer"]);
    let handle = ioloop.handle();
    ioloop.add_callback(move || handle.stop());
    run(&ioloop);
    assert_eq!(trace.take(), ["of the next turn"]);
}

#[test]
fn stop_from_a_thread_comes_after_what_the_thread_posted() {
    let ioloop = IOLoop::new().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let (remote, stopper) = (ioloop.remote(), ioloop.stopper());
    let thread = thread::spawn(move || {
        for number in 0..3 {
            let sender = sender.clone();
            remote.add_callback(move || sender.send(number).unwrap()).unwrap();
        }
        stopper.stop().unwrap();
    });
    run(&ioloop);
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [0, 1, 2]);
    thread.join().unwrap();
}

#[test]
fn a_loop_can_be_started_again() {
    let ioloop = IOLoop::new().unwrap();
    for _ in 0..3 {
        let (handle, fired) = (ioloop.handle(), Rc::new(Cell::new(false)));
        let f = Rc::clone(&fired);
        ioloop.call_later(Duration::from_millis(1), move || {
            f.set(true);
            handle.stop();
        });
        run(&ioloop);
        assert!(fired.get());
    }
}

#[test]
fn a_nested_start_is_an_error() {
    let ioloop = Rc::new(IOLoop::new().unwrap());
    let inner = Rc::clone(&ioloop);
    let results = Trace::new();
    let r = results.clone();
    ioloop.add_callback(move || {
        r.add(inner.start());
        inner.stop();
    });
    run(&ioloop);
    assert_eq!(results.take(), [Err(Error::Loop(LoopError::Nested))]);
}

#[test]
fn a_nested_start_in_a_hand_cranked_turn_is_an_error() {
    let ioloop = Rc::new(IOLoop::new().unwrap());
    let inner = Rc::clone(&ioloop);
    let results = Trace::new();
    let r = results.clone();
    ioloop.add_callback(move || r.add(inner.start()));
    ioloop.services().core().turn();
    assert_eq!(results.take(), [Err(Error::Loop(LoopError::Nested))]);
}

#[test]
fn a_nested_turn_runs_nothing_and_loses_nothing() {
    let ioloop = IOLoop::new().unwrap();
    let trace = Trace::new();
    let (t, handle) = (trace.clone(), ioloop.handle());
    ioloop.add_callback(move || {
        t.add("outer");
        assert_eq!(handle.services().unwrap().core().turn(), None);
        t.add("outer goes on");
    });
    let (t, handle) = (trace.clone(), ioloop.handle());
    ioloop.add_callback(move || {
        t.add("second");
        handle.stop();
    });
    run(&ioloop);
    assert_eq!(trace.take(), ["outer", "outer goes on", "second"]);
}

#[test]
fn an_unhandled_error_stops_the_loop_and_is_returned_once() {
    let ioloop = IOLoop::new().unwrap();
    let error = Error::Misuse(Misuse::ConnectionNotOpen);
    let (handle, e) = (ioloop.handle(), error.clone());
    ioloop.add_callback(move || {
        let services = handle.services().unwrap();
        services.unhandled_error(e);
        services.unhandled_error(Error::Misuse(Misuse::ChannelNotOpen));
    });
    assert_eq!(ioloop.start(), Err(error));
    let handle = ioloop.handle();
    ioloop.add_callback(move || handle.stop());
    run(&ioloop);
}

#[test]
fn a_detached_loop_does_not_start() {
    let ioloop = IOLoop::new().unwrap();
    ioloop.services().core().detach();
    assert_eq!(ioloop.start(), Err(Error::Loop(LoopError::Gone)));
}

/// `IoServices` is object-safe, and `Services` gives all of it.
#[test]
fn services_give_the_adapter() {
    fn adapter(_: &dyn IoServices) {}
    let ioloop = IOLoop::new().unwrap();
    adapter(&**ioloop.services());
    let weak = ioloop.services().downgrade();
    assert!(weak.upgrade().is_some());
    drop(ioloop);
    assert!(weak.upgrade().is_none());
}
