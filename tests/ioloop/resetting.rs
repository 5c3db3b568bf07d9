//! Timers that are moved to another deadline.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::{Ready, TimerId};

use crate::pollers::{Poller, every_poller};
use crate::tools::{MS, Trace, panics, readable_pair, run};

every_poller!(
    a_timer_moved_earlier_fires_then,
    a_timer_moved_earlier_by_a_handler_ends_the_wait_sooner,
    a_timer_moved_later_fires_then_and_not_before,
    a_timer_is_not_moved_by_its_own_call_nor_after_it,
    a_timer_moved_out_of_the_due_batch_waits_for_its_new_deadline,
    a_timer_moved_to_the_past_from_its_batch_waits_for_the_next_turn,
    among_equal_deadlines_its_place_is_that_of_its_creation,
    a_timer_moved_out_of_a_batch_that_a_panic_left_keeps_to_its_new_deadline,
);

fn a_timer_moved_earlier_fires_then(poller: Poller) {
    let ioloop = poller.new_loop();
    let handle = ioloop.handle();
    let id = ioloop.call_later(Duration::from_secs(3600), move || handle.stop());
    let due = Instant::now() + MS;
    assert!(ioloop.reset_timeout(id, due));
    run(&ioloop);
    assert!(Instant::now() >= due);
    assert!(!ioloop.reset_timeout(id, due));
}

/// The wait of the turn before was set for a later deadline.
fn a_timer_moved_earlier_by_a_handler_ends_the_wait_sooner(poller: Poller) {
    let ioloop = poller.new_loop();
    let handle = ioloop.handle();
    let id = ioloop.call_later(Duration::from_secs(3600), move || handle.stop());
    let (_there, here) = readable_pair();
    let key = Rc::new(Cell::new(None));
    let k = Rc::clone(&key);
    key.set(Some(
        ioloop
            .add_handler(here, Ready::READ, move |ioloop, _| {
                assert!(ioloop.remove_handler(k.get().unwrap()));
                assert!(ioloop.reset_timeout(id, Instant::now() + MS));
            })
            .unwrap(),
    ));
    run(&ioloop);
}

fn a_timer_moved_later_fires_then_and_not_before(poller: Poller) {
    let ioloop = poller.new_loop();
    let (trace, due) = (Trace::new(), Instant::now() + 4 * MS);
    let (t, handle) = (trace.clone(), ioloop.handle());
    let id = ioloop.call_later(MS, move || {
        assert!(Instant::now() >= due);
        t.add("moved");
        handle.stop();
    });
    let t = trace.clone();
    ioloop.call_later(MS, move || t.add("not moved"));
    assert!(ioloop.reset_timeout(id, due));
    run(&ioloop);
    assert_eq!(trace.take(), ["not moved", "moved"]);
}

fn a_timer_is_not_moved_by_its_own_call_nor_after_it(poller: Poller) {
    let ioloop = poller.new_loop();
    let (handle, own) = (ioloop.handle(), Rc::new(Cell::new(None::<TimerId>)));
    let o = Rc::clone(&own);
    own.set(Some(ioloop.call_later(Duration::ZERO, move || {
        assert!(!handle.reset_timeout(o.get().unwrap(), Instant::now()));
    })));
    assert_eq!(ioloop.process_due(), Ok(true));
    assert!(!ioloop.reset_timeout(own.get().unwrap(), Instant::now()));
    let removed = ioloop.call_later(Duration::ZERO, || panic!("removed"));
    assert!(ioloop.remove_timeout(removed));
    assert!(!ioloop.reset_timeout(removed, Instant::now()));
    assert_eq!(ioloop.time_to_deadline(), None);
    let handle = ioloop.handle();
    drop(ioloop);
    assert!(!handle.reset_timeout(removed, Instant::now()));
}

/// A timer that moves the one after it, due in the same batch, to `to`; and what fires in the first
/// turn and in the second.
fn moved_in_its_batch(poller: Poller, to: Instant) -> [Vec<&'static str>; 2] {
    let ioloop = poller.new_loop();
    let (trace, now) = (Trace::new(), Instant::now());
    let (t, handle, other) = (trace.clone(), ioloop.handle(), Rc::new(Cell::new(None)));
    let o = Rc::clone(&other);
    ioloop.add_timeout(now, move || {
        t.add("mover");
        assert!(handle.reset_timeout(o.get().unwrap(), to));
    });
    let t = trace.clone();
    other.set(Some(ioloop.add_timeout(now, move || t.add("moved"))));
    let t = trace.clone();
    ioloop.add_timeout(now, move || t.add("third"));
    [(), ()].map(|()| {
        assert_eq!(ioloop.run_once(Some(Duration::ZERO)), Ok(true));
        trace.take()
    })
}

fn a_timer_moved_out_of_the_due_batch_waits_for_its_new_deadline(poller: Poller) {
    let later = Instant::now() + Duration::from_secs(3600);
    let [first, second] = moved_in_its_batch(poller, later);
    assert_eq!(first, ["mover", "third"]);
    assert_eq!(second, [""; 0]);
}

fn a_timer_moved_to_the_past_from_its_batch_waits_for_the_next_turn(poller: Poller) {
    let [first, second] = moved_in_its_batch(poller, Instant::now());
    assert_eq!(first, ["mover", "third"]);
    assert_eq!(second, ["moved"]);
}

fn among_equal_deadlines_its_place_is_that_of_its_creation(poller: Poller) {
    let ioloop = poller.new_loop();
    let (trace, due) = (Trace::new(), Instant::now() + MS);
    let ids = [0, 1, 2, 3].map(|number| {
        let t = trace.clone();
        ioloop.add_timeout(due + number * MS, move || t.add(number))
    });
    for id in [ids[3], ids[1], ids[2]] {
        assert!(ioloop.reset_timeout(id, due));
    }
    let handle = ioloop.handle();
    ioloop.add_timeout(due, move || handle.stop());
    run(&ioloop);
    assert_eq!(trace.take(), [0, 1, 2, 3]);
}

/// Regression: it kept its place in that batch.
fn a_timer_moved_out_of_a_batch_that_a_panic_left_keeps_to_its_new_deadline(poller: Poller) {
    let ioloop = poller.new_loop();
    let (trace, now) = (Trace::new(), Instant::now());
    ioloop.add_timeout(now, || panic!("timer"));
    let ids = ["moved", "left"].map(|name| {
        let t = trace.clone();
        ioloop.add_timeout(now, move || t.add(name))
    });
    let t = trace.clone();
    let late = Instant::now();
    assert_eq!(panics(|| drop(ioloop.process_due())), "timer");
    ioloop.add_timeout(late, move || t.add("new"));
    assert!(ioloop.reset_timeout(ids[0], Instant::now()));
    assert_eq!(ioloop.process_due(), Ok(true));
    assert_eq!(trace.take(), ["left", "new", "moved"]);
}
