//! Turn by turn: for programs that have a loop of their own.

use std::thread;
use std::time::{Duration, Instant};

use haypile::{Error, Misuse, Ready};

use crate::pollers::{Poller, every_poller};
use crate::tools::{MS, Trace, panics, readable_pair};

every_poller!(
    run_once_waits_no_longer_than_told,
    run_once_waits_for_the_first_deadline,
    run_once_without_a_timeout_waits_for_a_post,
    run_once_runs_one_turn,
    a_stop_is_told_by_the_turn_it_comes_in,
    after_a_stop_the_next_turn_runs_nothing_and_does_not_wait,
    an_unhandled_error_is_returned_once,
    process_due_runs_callbacks_and_timers_and_looks_at_no_descriptor,
    a_panic_comes_out_of_the_turn_and_loses_only_that_call,
    time_to_deadline_is_that_of_the_first_timer,
    time_to_deadline_is_zero_while_there_is_something_to_do,
);

fn run_once_waits_no_longer_than_told(poller: Poller) {
    let ioloop = poller.new_loop();
    ioloop.call_later(Duration::from_secs(3600), || panic!("too early"));
    let start = Instant::now();
    assert_eq!(ioloop.run_once(Some(5 * MS)), Ok(true));
    assert!((5 * MS..Duration::from_secs(10)).contains(&start.elapsed()));
    // A timeout beyond all bounds is none; and none that has passed is waited for.
    ioloop.add_callback(|| ());
    assert_eq!(ioloop.run_once(Some(Duration::MAX)), Ok(true));
    assert_eq!(ioloop.run_once(Some(Duration::ZERO)), Ok(true));
}

fn run_once_waits_for_the_first_deadline(poller: Poller) {
    let ioloop = poller.new_loop();
    let (fired, due) = (Trace::new(), Instant::now() + 2 * MS);
    let f = fired.clone();
    ioloop.add_timeout(due, move || f.add(Instant::now() >= due));
    // A wait may end early, though none of these does for long.
    while fired.is_empty() {
        assert_eq!(ioloop.run_once(Some(Duration::from_secs(20))), Ok(true));
    }
    assert!(due.elapsed() < Duration::from_secs(10));
    assert_eq!(fired.take(), [true]);
}

fn run_once_without_a_timeout_waits_for_a_post(poller: Poller) {
    let ioloop = poller.new_loop();
    let remote = ioloop.remote();
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || remote.add_callback(move || sender.send(()).unwrap()));
    while receiver.try_recv().is_err() {
        assert_eq!(ioloop.run_once(None), Ok(true));
    }
    thread.join().unwrap().unwrap();
}

fn run_once_runs_one_turn(poller: Poller) {
    let ioloop = poller.new_loop();
    let (trace, handle) = (Trace::new(), ioloop.handle());
    let t = trace.clone();
    ioloop.add_callback(move || {
        t.add("first");
        let t = t.clone();
        handle.add_callback(move || t.add("second"));
    });
    assert_eq!(ioloop.run_once(None), Ok(true));
    assert_eq!(trace.take(), ["first"]);
    assert_eq!(ioloop.run_once(None), Ok(true));
    assert_eq!(trace.take(), ["second"]);
}

fn a_stop_is_told_by_the_turn_it_comes_in(poller: Poller) {
    let ioloop = poller.new_loop();
    let stop = || {
        let handle = ioloop.handle();
        ioloop.add_callback(move || handle.stop());
    };
    stop();
    assert_eq!(ioloop.run_once(None), Ok(false));
    stop();
    assert_eq!(ioloop.process_due(), Ok(false));
    assert_eq!(ioloop.run_once(Some(Duration::ZERO)), Ok(true));
    ioloop.stopper().stop().unwrap();
    assert_eq!(ioloop.run_once(None), Ok(false));
}

/// Regression: it waited for ever.
fn after_a_stop_the_next_turn_runs_nothing_and_does_not_wait(poller: Poller) {
    let ioloop = poller.new_loop();
    ioloop.stop();
    assert_eq!(ioloop.time_to_deadline(), Some(Duration::ZERO));
    assert_eq!(ioloop.run_once(None), Ok(false));
    let ran = Trace::new();
    let r = ran.clone();
    ioloop.add_callback(move || r.add(()));
    ioloop.stop();
    assert_eq!(ioloop.process_due(), Ok(false));
    assert_eq!(ran.take(), []);
    assert_eq!(ioloop.process_due(), Ok(true));
    assert_eq!(ran.take(), [()]);
}

fn an_unhandled_error_is_returned_once(poller: Poller) {
    let ioloop = poller.new_loop();
    let error = Error::Misuse(Misuse::ConnectionNotOpen);
    // Outside of a turn, and in one.
    ioloop.services().unhandled_error(error.clone());
    assert_eq!(ioloop.run_once(None), Err(error.clone()));
    assert_eq!(ioloop.run_once(Some(Duration::ZERO)), Ok(true));
    let (handle, e) = (ioloop.handle(), error.clone());
    ioloop.add_callback(move || handle.services().unwrap().unhandled_error(e));
    assert_eq!(ioloop.process_due(), Err(error));
    assert_eq!(ioloop.process_due(), Ok(true));
}

fn process_due_runs_callbacks_and_timers_and_looks_at_no_descriptor(poller: Poller) {
    let ioloop = poller.new_loop();
    let trace = Trace::new();
    let (_there, here) = readable_pair();
    let t = trace.clone();
    ioloop.add_handler(here, Ready::READ, move |_, _| t.add("handler")).unwrap();
    let t = trace.clone();
    ioloop.call_later(Duration::ZERO, move || t.add("timer"));
    ioloop.call_later(Duration::from_secs(3600), || panic!("too early"));
    let t = trace.clone();
    ioloop.add_callback(move || t.add("callback"));
    let handle = ioloop.handle();
    let stopper = ioloop.stopper();
    ioloop.remote().add_callback(move || drop(stopper)).unwrap();
    assert_eq!(ioloop.process_due(), Ok(true));
    assert_eq!(trace.take(), ["callback", "timer"]);
    assert_eq!(ioloop.process_due(), Ok(true));
    assert_eq!(trace.take(), [""; 0]);
    drop(handle);
    assert_eq!(ioloop.run_once(None), Ok(true));
    assert_eq!(trace.take(), ["handler"]);
}

fn a_panic_comes_out_of_the_turn_and_loses_only_that_call(poller: Poller) {
    let ioloop = poller.new_loop();
    let (trace, now) = (Trace::new(), Instant::now());
    let turns: [&dyn Fn(); 2] =
        [&|| drop(ioloop.run_once(Some(Duration::ZERO))), &|| drop(ioloop.process_due())];
    for turn in turns {
        ioloop.add_callback(|| panic!("callback"));
        let t = trace.clone();
        ioloop.add_callback(move || t.add("second callback"));
        ioloop.add_timeout(now, || panic!("timer"));
        let t = trace.clone();
        ioloop.add_timeout(now, move || t.add("second timer"));
        assert_eq!(panics(turn), "callback");
        assert_eq!(ioloop.time_to_deadline(), Some(Duration::ZERO));
        assert_eq!(panics(turn), "timer");
        assert_eq!(trace.take(), ["second callback"]);
        assert_eq!(ioloop.time_to_deadline(), Some(Duration::ZERO));
        // What is left is told as work, and runs without a wait.
        assert_eq!(ioloop.run_once(None), Ok(true));
        assert_eq!(trace.take(), ["second timer"]);
        assert_eq!(ioloop.time_to_deadline(), None);
    }
}

fn time_to_deadline_is_that_of_the_first_timer(poller: Poller) {
    let ioloop = poller.new_loop();
    assert_eq!(ioloop.time_to_deadline(), None);
    let hour = Duration::from_secs(3600);
    let (first, second) = (ioloop.call_later(hour, || ()), ioloop.call_later(2 * hour, || ()));
    let about = |expected: Duration| {
        let left = ioloop.time_to_deadline().unwrap();
        assert!(left <= expected && left + Duration::from_secs(60) > expected, "{left:?}");
    };
    about(hour);
    assert!(ioloop.reset_timeout(first, Instant::now() + 3 * hour));
    about(2 * hour);
    assert!(ioloop.remove_timeout(second));
    about(3 * hour);
    assert!(ioloop.remove_timeout(first));
    assert_eq!(ioloop.time_to_deadline(), None);
    // One that no clock reaches.
    ioloop.call_later(Duration::MAX, || ());
    assert!(ioloop.time_to_deadline().is_none_or(|left| left > 24 * 365 * hour));
}

fn time_to_deadline_is_zero_while_there_is_something_to_do(poller: Poller) {
    let ioloop = poller.new_loop();
    let zero = Some(Duration::ZERO);
    ioloop.add_callback(|| ());
    assert_eq!(ioloop.time_to_deadline(), zero);
    assert_eq!(ioloop.process_due(), Ok(true));
    assert_eq!(ioloop.time_to_deadline(), None);
    let remote = ioloop.remote();
    thread::spawn(move || remote.add_callback(|| ()).unwrap()).join().unwrap();
    assert_eq!(ioloop.time_to_deadline(), zero);
    assert_eq!(ioloop.process_due(), Ok(true));
    assert_eq!(ioloop.time_to_deadline(), None);
    ioloop.add_timeout(Instant::now(), || ());
    assert_eq!(ioloop.time_to_deadline(), zero);
    assert_eq!(ioloop.process_due(), Ok(true));
    assert_eq!(ioloop.time_to_deadline(), None);
}
