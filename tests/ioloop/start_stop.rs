use std::cell::Cell;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use haypile::{Error, IoServices, LoopError, Misuse, Ready};

use crate::pollers::{Poller, every_poller};
use crate::tools::{Drops, Trace, keep, readable_pair, run};

every_poller!(
    stop_before_start_runs_nothing_and_keeps_callbacks,
    stop_ends_after_the_turn_under_way,
    stop_from_a_thread_comes_after_what_the_thread_posted,
    stop_from_a_timer_a_handler_and_a_lookup_ends_start,
    a_thread_stops_a_loop_that_has_not_started,
    a_loop_can_be_started_again,
    a_loop_that_is_gone_does_not_start,
    a_callback_that_drops_the_loop_ends_start,
    no_turn_is_nested_in_any_callback,
    a_nested_start_is_an_error,
    a_nested_start_in_a_hand_cranked_turn_is_an_error,
    a_nested_turn_runs_nothing_and_loses_nothing,
    an_unhandled_error_stops_the_loop_and_is_returned_once,
    a_detached_loop_does_not_start,
    services_give_the_adapter,
);

fn stop_before_start_runs_nothing_and_keeps_callbacks(poller: Poller) {
    let ioloop = poller.new_loop();
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

fn stop_ends_after_the_turn_under_way(poller: Poller) {
    let ioloop = poller.new_loop();
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

fn stop_from_a_thread_comes_after_what_the_thread_posted(poller: Poller) {
    let ioloop = poller.new_loop();
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

fn a_loop_can_be_started_again(poller: Poller) {
    let ioloop = poller.new_loop();
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

fn a_nested_start_is_an_error(poller: Poller) {
    let ioloop = Rc::new(poller.new_loop());
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

fn a_nested_start_in_a_hand_cranked_turn_is_an_error(poller: Poller) {
    let ioloop = Rc::new(poller.new_loop());
    let inner = Rc::clone(&ioloop);
    let results = Trace::new();
    let r = results.clone();
    ioloop.add_callback(move || r.add(inner.start()));
    ioloop.services().core().turn();
    assert_eq!(results.take(), [Err(Error::Loop(LoopError::Nested))]);
}

fn a_nested_turn_runs_nothing_and_loses_nothing(poller: Poller) {
    let ioloop = poller.new_loop();
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

fn an_unhandled_error_stops_the_loop_and_is_returned_once(poller: Poller) {
    let ioloop = poller.new_loop();
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

fn a_detached_loop_does_not_start(poller: Poller) {
    let ioloop = poller.new_loop();
    ioloop.services().core().detach();
    assert_eq!(ioloop.start(), Err(Error::Loop(LoopError::Gone)));
}

/// `IoServices` is object-safe, and `Services` gives all of it.
fn services_give_the_adapter(poller: Poller) {
    fn adapter(_: &dyn IoServices) {}
    let ioloop = poller.new_loop();
    adapter(&**ioloop.services());
    let weak = ioloop.services().downgrade();
    assert!(weak.upgrade().is_some());
    drop(ioloop);
    assert!(weak.upgrade().is_none());
}

/// And so is a turn of any other kind.
fn no_turn_is_nested_in_any_callback(poller: Poller) {
    let ioloop = Rc::new(poller.new_loop());
    let results = Trace::new();
    let try_all = || {
        let (ioloop, results) = (Rc::clone(&ioloop), results.clone());
        move || {
            let nested = Error::Loop(LoopError::Nested);
            assert_eq!(ioloop.start(), Err(nested.clone()));
            assert_eq!(ioloop.handle().start(), Err(nested.clone()));
            assert_eq!(ioloop.run_once(None), Err(nested.clone()));
            assert_eq!(ioloop.process_due(), Err(nested));
            results.add(());
        }
    };
    ioloop.add_callback(try_all());
    ioloop.call_later(Duration::ZERO, try_all());
    let periodic = ioloop.call_every(Duration::ZERO, try_all());
    let (_there, here) = readable_pair();
    let in_handler = try_all();
    let key = ioloop.add_handler(here, Ready::READ, move |_, _| in_handler()).unwrap();
    let one_turn: [&dyn Fn(); 3] = [
        &|| assert_eq!(ioloop.run_once(None), Ok(true)),
        &|| assert_eq!(ioloop.process_due(), Ok(true)),
        &|| {
            let handle = ioloop.handle();
            ioloop.add_callback(move || handle.stop());
            run(&ioloop);
        },
    ];
    for (turn, calls) in one_turn.into_iter().zip([4, 1, 2]) {
        turn();
        assert_eq!(results.take().len(), calls);
    }
    assert!(ioloop.remove_timeout(periodic) && ioloop.remove_handler(key));
    // The closures hold the loop.
    assert_eq!(Rc::strong_count(&ioloop), 1);
}

fn stop_from_a_timer_a_handler_and_a_lookup_ends_start(poller: Poller) {
    let ioloop = poller.new_loop();
    let handle = ioloop.handle();
    ioloop.call_later(Duration::ZERO, move || handle.stop());
    run(&ioloop);
    let (_there, here) = readable_pair();
    let key = ioloop.add_handler(here, Ready::READ, |ioloop, _| ioloop.stop()).unwrap();
    run(&ioloop);
    assert!(ioloop.remove_handler(key));
    let handle = ioloop.handle();
    ioloop.services().resolve("127.0.0.1", 1, Box::new(move |_| handle.stop()));
    run(&ioloop);
}

/// A stop by a thread before the start is a post: it stops the turn that runs it.
fn a_thread_stops_a_loop_that_has_not_started(poller: Poller) {
    let ioloop = poller.new_loop();
    let stopper = ioloop.stopper();
    thread::spawn(move || stopper.stop().unwrap()).join().unwrap();
    let ran = Trace::new();
    let r = ran.clone();
    ioloop.add_callback(move || r.add(()));
    run(&ioloop);
    assert_eq!(ran.take(), [()]);
}

fn a_loop_that_is_gone_does_not_start(poller: Poller) {
    let ioloop = poller.new_loop();
    let (handle, services) = (ioloop.handle(), ioloop.services().clone());
    drop(ioloop);
    for _ in 0..2 {
        assert_eq!(handle.start(), Err(Error::Loop(LoopError::Gone)));
    }
    drop(services);
    assert_eq!(handle.start(), Err(Error::Loop(LoopError::Gone)));
}

fn a_callback_that_drops_the_loop_ends_start(poller: Poller) {
    let ioloop = poller.new_loop();
    let handle = ioloop.handle();
    let place = Rc::new(Cell::new(None));
    let p = Rc::clone(&place);
    ioloop.add_callback(move || drop(p.take()));
    let dropped = Drops::default();
    let (callback, timer, handler) = (dropped.probe(), dropped.probe(), dropped.probe());
    ioloop.add_callback(move || keep(&callback));
    ioloop.call_later(Duration::ZERO, move || keep(&timer));
    let (_there, here) = readable_pair();
    ioloop.add_handler(here, Ready::READ, move |_, _| keep(&handler)).unwrap();
    place.set(Some(ioloop));
    assert_eq!(handle.start(), Ok(()));
    assert_eq!(dropped.count(), 3);
    assert_eq!(handle.start(), Err(Error::Loop(LoopError::Gone)));
}
