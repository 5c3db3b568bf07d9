use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::{Ready, TimerId};

use crate::pollers::{Poller, every_poller};
use crate::tools::{MS, Trace, readable_pair, run};

every_poller!(
    timers_fire_in_order_of_deadlines_and_never_early,
    equal_deadlines_fire_in_order_of_creation,
    a_timer_is_exact_below_a_millisecond,
    a_removed_timer_does_not_fire_and_only_a_pending_one_is_removed,
    a_timer_removed_in_its_own_batch_does_not_fire,
    a_timer_that_removes_itself_was_not_pending,
    a_loop_that_overslept_still_heeds_removals,
    of_two_equal_timers_one_is_removed,
    a_timer_is_removed_and_armed_again_by_callbacks_of_every_kind,
    a_timer_added_by_a_timer_waits_for_the_next_turn,
    a_due_timer_added_by_a_callback_fires_in_the_same_turn,
    ids_match_no_later_timer,
    times_beyond_all_bounds_saturate,
    a_new_first_timer_ends_the_wait_sooner,
    a_removed_first_timer_leaves_the_others_exact,
);

fn timers_fire_in_order_of_deadlines_and_never_early(poller: Poller) {
    let ioloop = poller.new_loop();
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

fn equal_deadlines_fire_in_order_of_creation(poller: Poller) {
    let ioloop = poller.new_loop();
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

/// A wait in milliseconds would be up to 900 us late.
fn a_timer_is_exact_below_a_millisecond(poller: Poller) {
    let ioloop = poller.new_loop();
    let late = Rc::new(Cell::new(Duration::MAX));
    // The best of some, as the machine may be busy.
    for _ in 0..500 {
        let (l, handle) = (Rc::clone(&late), ioloop.handle());
        let due = Instant::now() + Duration::from_micros(1100);
        ioloop.add_timeout(due, move || {
            l.set(Instant::now().checked_duration_since(due).expect("never early"));
            handle.stop();
        });
        run(&ioloop);
        if late.get() < Duration::from_micros(400) {
            return;
        }
    }
    panic!("{:?} late", late.get());
}

fn a_removed_timer_does_not_fire_and_only_a_pending_one_is_removed(poller: Poller) {
    let ioloop = poller.new_loop();
    let removed = ioloop.call_later(Duration::ZERO, || panic!("removed"));
    assert!(ioloop.remove_timeout(removed));
    assert!(!ioloop.remove_timeout(removed));
    let handle = ioloop.handle();
    let fired = ioloop.call_later(MS, move || handle.stop());
    run(&ioloop);
    assert!(!ioloop.remove_timeout(fired));
}

fn a_timer_removed_in_its_own_batch_does_not_fire(poller: Poller) {
    let ioloop = poller.new_loop();
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

fn a_timer_that_removes_itself_was_not_pending(poller: Poller) {
    let ioloop = poller.new_loop();
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

fn a_timer_added_by_a_timer_waits_for_the_next_turn(poller: Poller) {
    let ioloop = poller.new_loop();
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

fn a_due_timer_added_by_a_callback_fires_in_the_same_turn(poller: Poller) {
    let ioloop = poller.new_loop();
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

fn ids_match_no_later_timer(poller: Poller) {
    let ioloop = poller.new_loop();
    let spent: Vec<_> = (0..20_000)
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

fn times_beyond_all_bounds_saturate(poller: Poller) {
    let ioloop = poller.new_loop();
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
fn a_new_first_timer_ends_the_wait_sooner(poller: Poller) {
    let ioloop = poller.new_loop();
    let stream = std::os::unix::net::UnixStream::pair().unwrap().0;
    let key = Rc::new(Cell::new(None));
    let k = Rc::clone(&key);
    let handler = move |ioloop: &haypile::LoopHandle, _| {
        ioloop.remove_handler(k.get().unwrap());
        let handle = ioloop.clone();
        ioloop.call_later(MS, move || handle.stop());
    };
    key.set(Some(ioloop.add_handler(stream, Ready::WRITE, handler).unwrap()));
    run(&ioloop);
}

/// The wait was set for a deadline that is gone: the later one must be kept all the same.
fn a_removed_first_timer_leaves_the_others_exact(poller: Poller) {
    let ioloop = poller.new_loop();
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

/// All of them were due long before the turn that calls them.
fn a_loop_that_overslept_still_heeds_removals(poller: Poller) {
    let ioloop = poller.new_loop();
    let (trace, start) = (Trace::new(), Instant::now());
    let ids = Rc::new(RefCell::new(Vec::<TimerId>::new()));
    for delay in [3, 2, 1] {
        let (t, handle, all) = (trace.clone(), ioloop.handle(), Rc::clone(&ids));
        let id = ioloop.add_timeout(start + delay * MS / 2, move || {
            t.add(delay);
            // The first one that is called removes the rest, and itself, which is not pending.
            let removed = all.take().into_iter().filter(|&id| handle.remove_timeout(id)).count();
            assert_eq!(removed, 2);
        });
        ids.borrow_mut().push(id);
    }
    while start.elapsed() < 2 * MS {
        std::hint::spin_loop();
    }
    assert_eq!(ioloop.run_once(None), Ok(true));
    assert_eq!(ioloop.run_once(Some(Duration::ZERO)), Ok(true));
    assert_eq!(trace.take(), [1]);
}

fn of_two_equal_timers_one_is_removed(poller: Poller) {
    for removed in [0, 1] {
        let ioloop = poller.new_loop();
        let (trace, due) = (Trace::new(), Instant::now() + MS);
        let ids = [0, 1].map(|number| {
            let (t, handle) = (trace.clone(), ioloop.handle());
            ioloop.add_timeout(due, move || {
                t.add(number);
                handle.stop();
            })
        });
        assert!(ioloop.remove_timeout(ids[removed]));
        run(&ioloop);
        assert_eq!(trace.take(), [1 - removed]);
    }
}

/// A timeout that each event puts off, as that of a connection.
fn a_timer_is_removed_and_armed_again_by_callbacks_of_every_kind(poller: Poller) {
    let ioloop = poller.new_loop();
    let id = Rc::new(Cell::new(ioloop.call_later(MS, || panic!("removed"))));
    let put_off = {
        let (id, handle) = (Rc::clone(&id), ioloop.handle());
        move || {
            assert!(handle.remove_timeout(id.get()));
            id.set(handle.call_later(Duration::from_secs(3600), || panic!("removed")));
        }
    };
    let in_handler = put_off.clone();
    let (_there, here) = readable_pair();
    ioloop.add_handler(here, Ready::READ, move |_, _| in_handler()).unwrap();
    ioloop.add_callback(put_off.clone());
    ioloop.call_later(Duration::ZERO, put_off.clone());
    ioloop.call_every(Duration::ZERO, put_off);
    let first = id.get();
    for _ in 0..5 {
        assert_eq!(ioloop.run_once(None), Ok(true));
    }
    assert_ne!(id.get(), first);
    assert!(!ioloop.remove_timeout(first) && ioloop.remove_timeout(id.get()));
}
