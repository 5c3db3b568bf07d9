use std::time::Duration;

use haypile::Ready;

use crate::pollers::{Poller, every_poller};
use crate::tools::{Trace, readable_pair, run};

every_poller!(
    callbacks_run_in_order_never_inside_the_call_that_adds_them,
    callbacks_run_as_a_snapshot,
    a_turn_is_handlers_then_callbacks_then_timers,
);

fn callbacks_run_in_order_never_inside_the_call_that_adds_them(poller: Poller) {
    let ioloop = poller.new_loop();
    let trace = Trace::new();
    for number in 0..3 {
        let t = trace.clone();
        ioloop.add_callback(move || t.add(number));
    }
    assert_eq!(trace.take(), []);
    let handle = ioloop.handle();
    ioloop.add_callback(move || handle.stop());
    run(&ioloop);
    assert_eq!(trace.take(), [0, 1, 2]);
}

fn callbacks_run_as_a_snapshot(poller: Poller) {
    let ioloop = poller.new_loop();
    let (trace, handle) = (Trace::new(), ioloop.handle());
    let t = trace.clone();
    ioloop.add_callback(move || {
        let (inner, h) = (t.clone(), handle.clone());
        handle.add_callback(move || {
            inner.add("added by a callback");
            h.stop();
        });
        t.add("callback");
    });
    let t = trace.clone();
    ioloop.call_later(Duration::ZERO, move || t.add("timer"));
    run(&ioloop);
    assert_eq!(trace.take(), ["callback", "timer", "added by a callback"]);
}

fn a_turn_is_handlers_then_callbacks_then_timers(poller: Poller) {
    let ioloop = poller.new_loop();
    let trace = Trace::new();
    let t = trace.clone();
    ioloop.call_later(Duration::ZERO, move || t.add("timer"));
    let t = trace.clone();
    ioloop.remote().add_callback(|| ()).unwrap();
    ioloop.add_callback(move || t.add("callback"));
    let (_there, here) = readable_pair();
    let t = trace.clone();
    ioloop.add_handler(here, Ready::READ, move |_, _| t.add("handler")).unwrap();
    assert_eq!(ioloop.run_once(Some(Duration::ZERO)), Ok(true));
    assert_eq!(trace.take(), ["handler", "callback", "timer"]);
}
