use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::IOLoop;

use crate::{Trace, run};

const MS: Duration = Duration::from_millis(1);

#[test]
fn timers_fire_in_order_of_deadlines_and_never_early() {
    let ioloop = IOLoop::new().unwrap();
    let trace = Trace::new();
    for delay in [5, 4, 3, 2, 1] {
        let (t, due) = (trace.clone(), Instant::now() + delay * MS);
        ioloop.add_timeout(due, move || t.add((delay, Instant::now() >= due)));
    }
    let handle = ioloop.handle();
    ioloop.call_later(6 * MS, move || handle.stop());
    run(&ioloop);
    assert_eq!(trace.take(), [(1, true), (2, true), (3, true), (4, true), (5, true)]);
}

#[test]
fn equal_deadlines_fire_in_order_of_creation() {
    let ioloop = IOLoop::new().unwrap();
    let trace = Trace::new();
    let deadline = Instant::now() + MS;
    for number in 0..100 {
        let t = trace.clone();
        ioloop.add_timeout(deadline, move || t.add(number));
    }
    let handle = ioloop.handle();
    ioloop.add_timeout(deadline, move || handle.stop());
    run(&ioloop);
    assert_eq!(trace.take(), (0..100).collect::<Vec<_>>());
}

/// mio's own timeout is rounded up to a millisecond.
#[test]
fn a_timer_is_exact_below_a_millisecond() {
    let ioloop = IOLoop::new().unwrap();
    let late = Trace::new();
    for _ in 0..20 {
        let (l, handle) = (late.clone(), ioloop.handle());
        let due = Instant::now() + Duration::from_micros(1100);
        ioloop.add_timeout(due, move || {
            l.add(Instant::now().checked_duration_since(due).expect("never early"));
            handle.stop();
        });
        run(&ioloop);
    }
    // The best of 20, as the machine may be busy. Rounded up, it would be 900.
    let best = late.take().into_iter().min().unwrap();
    assert!(best < Duration::from_micros(600), "{best:?}");
}

#[test]
fn a_removed_timer_does_not_fire_and_only_a_pending_one_is_removed() {
    let ioloop = IOLoop::new().unwrap();
    let removed = ioloop.call_later(Duration::ZERO, || panic!("removed"));
    assert!(ioloop.remove_timeout(removed));
    assert!(!ioloop.remove_timeout(removed));
    let handle = ioloop.handle();
    let fired = ioloop.call_later(MS, move || handle.stop());
    run(&ioloop);
    assert!(!ioloop.remove_timeout(fired));
}

#[test]
fn a_timer_removed_in_its_own_batch_does_not_fire() {
    let ioloop = IOLoop::new().unwrap();
    let deadline = Instant::now();
    let victim = Rc::new(Cell::new(None));
    let (v, handle) = (Rc::clone(&victim), ioloop.handle());
    let results = Trace::new();
    let r = results.clone();
    ioloop.add_timeout(deadline, move || {
        r.add(handle.remove_timeout(v.get().unwrap()));
        r.add(handle.remove_timeout(v.get().unwrap()));
        handle.stop();
    });
    victim.set(Some(ioloop.add_timeout(deadline, || panic!("removed"))));
    run(&ioloop);
    assert_eq!(results.take(), [true, false]);
}

#[test]
fn a_timer_that_removes_itself_was_not_pending() {
    let ioloop = IOLoop::new().unwrap();
    let itself = Rc::new(Cell::new(None));
    let (i, handle, results) = (Rc::clone(&itself), ioloop.handle(), Trace::new());
    let r = results.clone();
    itself.set(Some(ioloop.call_later(Duration::ZERO, move || {
        r.add(handle.remove_timeout(i.get().unwrap()));
        handle.stop();
    })));
    run(&ioloop);
    assert_eq!(results.take(), [false]);
}

#[test]
fn a_timer_added_by_a_timer_waits_for_the_next_turn() {
    let ioloop = IOLoop::new().unwrap();
    let (trace, handle) = (Trace::new(), ioloop.handle());
    let (t, deadline) = (trace.clone(), Instant::now());
    ioloop.add_timeout(deadline, move || {
        t.add("first");
        let (inner, h) = (t.clone(), handle.clone());
        handle.add_timeout(deadline, move || {
            inner.add("added by a timer");
            h.stop();
        });
        let inner = t.clone();
        handle.add_callback(move || inner.add("callback of the next turn"));
    });
    let t = trace.clone();
    ioloop.add_timeout(deadline, move || t.add("second"));
    run(&ioloop);
    let expected = ["first", "second", "callback of the next turn", "added by a timer"];
    assert_eq!(trace.take(), expected);
}

#[test]
fn a_due_timer_added_by_a_callback_fires_in_the_same_turn() {
    let ioloop = IOLoop::new().unwrap();
    let (trace, handle) = (Trace::new(), ioloop.handle());
    let t = trace.clone();
    ioloop.add_callback(move || {
        let inner = t.clone();
        handle.call_later(Duration::ZERO, move || inner.add("timer"));
        handle.stop();
    });
    run(&ioloop);
    assert_eq!(trace.take(), ["timer"]);
}

#[test]
fn ids_match_no_later_timer() {
    let ioloop = IOLoop::new().unwrap();
    let spent: Vec<_> = (0..100_000)
        .map(|_| {
            let id = ioloop.call_later(Duration::from_secs(1), || ());
            assert!(ioloop.remove_timeout(id));
            id
        })
        .collect();
    let pending: Vec<_> = (0..10).map(|_| ioloop.call_later(Duration::ZERO, || ())).collect();
    assert!(!spent.into_iter().any(|id| ioloop.remove_timeout(id)));
    assert!(pending.into_iter().all(|id| ioloop.remove_timeout(id)));
}

#[test]
fn times_beyond_all_bounds_saturate() {
    let ioloop = IOLoop::new().unwrap();
    for delay in [Duration::MAX, Duration::from_secs(u64::MAX / 2), Duration::from_secs(1 << 40)] {
        ioloop.call_later(delay, || panic!("too early"));
    }
    let far = Instant::now().checked_add(Duration::from_secs(1 << 60)).unwrap();
    ioloop.add_timeout(far, || panic!("too early"));
    let past = Instant::now().checked_sub(Duration::from_secs(3600)).unwrap_or_else(Instant::now);
    let fired = Rc::new(Cell::new(false));
    let f = Rc::clone(&fired);
    ioloop.add_timeout(past, move || f.set(true));
    let handle = ioloop.handle();
    ioloop.call_later(MS, move || handle.stop());
    run(&ioloop);
    assert!(fired.get());
}

/// The wait was set for a later deadline, in the turn before.
#[test]
fn a_new_first_timer_ends_the_wait_sooner() {
    let ioloop = IOLoop::new().unwrap();
    let stream = std::os::unix::net::UnixStream::pair().unwrap().0;
    let key = Rc::new(Cell::new(None));
    let k = Rc::clone(&key);
    let handler = move |ioloop: &haypile::LoopHandle, _| {
        ioloop.remove_handler(k.get().unwrap());
        let handle = ioloop.clone();
        ioloop.call_later(MS, move || handle.stop());
    };
    key.set(Some(ioloop.add_handler(stream, haypile::Ready::WRITE, handler).unwrap()));
    run(&ioloop);
}

/// The wait was set for a deadline that is gone: the later one must be kept all the same.
#[test]
fn a_removed_first_timer_leaves_the_others_exact() {
    let ioloop = IOLoop::new().unwrap();
    let handle = ioloop.handle();
    let first = ioloop.call_later(2 * MS, || panic!("removed"));
    ioloop.call_later(MS / 2, move || assert!(handle.remove_timeout(first)));
    let (handle, due) = (ioloop.handle(), Instant::now() + 5 * MS);
    ioloop.add_timeout(due, move || {
        assert!(Instant::now() >= due);
        handle.stop();
    });
    run(&ioloop);
}
