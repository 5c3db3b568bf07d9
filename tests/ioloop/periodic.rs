//! Timers that are called each time another period is over.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::Ready;

use crate::pollers::{Poller, every_poller};
use crate::tools::{Drops, MS, Trace, keep, readable_pair, run};

every_poller!(
    a_periodic_timer_is_not_early_and_leaves_out_what_it_missed,
    a_periodic_timer_does_not_drift,
    one_of_period_zero_is_called_once_in_each_turn,
    one_that_removes_itself_is_dropped_when_it_has_returned,
    one_removed_in_the_batch_is_not_called,
    one_reset_by_its_own_call_goes_on_from_there,
    one_that_never_comes_due_is_only_dropped,
);

const PERIOD: Duration = Duration::from_millis(2);

/// The second call comes four periods and a half after the timer was added, or later; and then none
/// for each deadline before.
fn a_periodic_timer_is_not_early_and_leaves_out_what_it_missed(poller: Poller) {
    let ioloop = poller.new_loop();
    let before = Instant::now();
    let (calls, handle) = (Trace::new(), ioloop.handle());
    let c = calls.clone();
    ioloop.call_every(PERIOD, move || {
        let begun = Instant::now();
        c.add(begun);
        while c.len() == 1 && begun.elapsed() < PERIOD * 7 / 2 {
            std::hint::spin_loop();
        }
        if c.len() == 10 {
            handle.stop();
        }
    });
    run(&ioloop);
    for (call, deadline) in calls.take().into_iter().zip([1, 4, 5, 6, 7, 8, 9, 10, 11, 12]) {
        assert!(call >= before + deadline * PERIOD, "at {:?}", call.duration_since(before));
    }
}

/// Whatever its calls take: each deadline is a multiple of the period after the first.
fn a_periodic_timer_does_not_drift(poller: Poller) {
    let ioloop = poller.new_loop();
    let first = Instant::now() + PERIOD;
    let id = ioloop.call_every(PERIOD, || ());
    assert!(ioloop.reset_timeout(id, first));
    let mut seen = 0;
    while seen < 10 {
        assert_eq!(ioloop.run_once(None), Ok(true));
        let before = Instant::now();
        while before.elapsed() < PERIOD / 3 {
            std::hint::spin_loop();
        }
        assert_eq!(ioloop.process_due(), Ok(true));
        let before = Instant::now();
        let left = ioloop.time_to_deadline().unwrap();
        let after = Instant::now();
        // The deadline is between these, if the machine has let us look in time.
        let [early, late] = [before, after].map(|at| (at + left - first).as_nanos());
        if !left.is_zero() && after - before < PERIOD / 10 {
            assert!(late / PERIOD.as_nanos() * PERIOD.as_nanos() >= early, "{early}..{late} ns");
            seen += 1;
        }
    }
}

fn one_of_period_zero_is_called_once_in_each_turn(poller: Poller) {
    let ioloop = poller.new_loop();
    let calls = Rc::new(Cell::new(0));
    let c = Rc::clone(&calls);
    let id = ioloop.call_every(Duration::ZERO, move || c.set(c.get() + 1));
    for turn in 1..=100 {
        assert_eq!(ioloop.run_once(None), Ok(true));
        assert_eq!(calls.get(), turn);
    }
    assert!(ioloop.remove_timeout(id) && !ioloop.remove_timeout(id));
    assert_eq!(Rc::strong_count(&calls), 1);
    assert_eq!(ioloop.time_to_deadline(), None);
}

fn one_that_removes_itself_is_dropped_when_it_has_returned(poller: Poller) {
    let ioloop = poller.new_loop();
    let (drops, handle, own) = (Drops::default(), ioloop.handle(), Rc::new(Cell::new(None)));
    let (probe, d, o) = (drops.probe(), drops.clone(), Rc::clone(&own));
    own.set(Some(ioloop.call_every(MS / 2, move || {
        keep(&probe);
        let id = o.get().unwrap();
        assert!(handle.remove_timeout(id));
        assert!(!handle.remove_timeout(id));
        assert!(!handle.reset_timeout(id, Instant::now()));
        assert_eq!(d.count(), 0);
        handle.stop();
    })));
    run(&ioloop);
    assert_eq!(drops.count(), 1);
    assert_eq!(ioloop.time_to_deadline(), None);
}

fn one_removed_in_the_batch_is_not_called(poller: Poller) {
    let ioloop = poller.new_loop();
    let (drops, handle) = (Drops::default(), ioloop.handle());
    let id = Rc::new(Cell::new(None));
    let (i, d) = (Rc::clone(&id), drops.clone());
    // Both are due in the first turn, and this one before.
    ioloop.add_timeout(Instant::now(), move || {
        assert!(handle.remove_timeout(i.get().unwrap()));
        assert_eq!(d.count(), 1);
    });
    let probe = drops.probe();
    id.set(Some(ioloop.call_every(Duration::ZERO, move || {
        keep(&probe);
        panic!("removed")
    })));
    assert_eq!(ioloop.run_once(None), Ok(true));
    assert_eq!(ioloop.run_once(Some(Duration::ZERO)), Ok(true));
    assert_eq!(drops.count(), 1);
}

fn one_reset_by_its_own_call_goes_on_from_there(poller: Poller) {
    let ioloop = poller.new_loop();
    let (handle, own, calls) = (ioloop.handle(), Rc::new(Cell::new(None)), Trace::new());
    let (o, c) = (Rc::clone(&own), calls.clone());
    let hour = Duration::from_secs(3600);
    own.set(Some(ioloop.call_every(hour, move || {
        c.add(());
        if c.len() < 3 {
            assert!(handle.reset_timeout(o.get().unwrap(), Instant::now() + MS / 2));
        } else {
            handle.stop();
        }
    })));
    assert!(ioloop.reset_timeout(own.get().unwrap(), Instant::now()));
    run(&ioloop);
    assert_eq!(calls.take().len(), 3);
    let left = ioloop.time_to_deadline().unwrap();
    assert!(left <= hour && left > hour / 2, "{left:?}");
}

fn one_that_never_comes_due_is_only_dropped(poller: Poller) {
    let ioloop = poller.new_loop();
    let drops = Drops::default();
    for period in [Duration::MAX, Duration::from_secs(u64::MAX / 4), Duration::from_secs(1 << 40)] {
        let probe = drops.probe();
        ioloop.call_every(period, move || {
            keep(&probe);
            panic!("too early")
        });
    }
    let (_there, here) = readable_pair();
    ioloop.add_handler(here, Ready::READ, |ioloop, _| ioloop.stop()).unwrap();
    run(&ioloop);
    drop(ioloop);
    assert_eq!(drops.count(), 3);
}
