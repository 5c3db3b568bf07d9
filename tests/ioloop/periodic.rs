//! Timers that are called each time another period is over.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::Ready;

use crate::pollers::{Poller, every_poller};
use crate::tools::{Drops, MS, Trace, keep, readable_pair, run};

every_poller!(
    a_periodic_timer_does_not_drift_and_leaves_out_what_it_missed,
    one_of_period_zero_is_called_once_in_each_turn,
    one_that_removes_itself_is_dropped_when_it_has_returned,
    one_removed_in_the_batch_is_not_called,
    one_reset_by_its_own_call_goes_on_from_there,
    one_that_never_comes_due_is_only_dropped,
);

fn a_periodic_timer_does_not_drift_and_leaves_out_what_it_missed(poller: Poller) {
    const PERIOD: Duration = Duration::from_millis(2);
    let ioloop = poller.new_loop();
    let before = Instant::now();
    let (calls, handle) = (Trace::new(), ioloop.handle());
    let c = calls.clone();
    ioloop.call_every(PERIOD, move || {
        let begun = Instant::now();
        c.add(begun);
        // So long that each call misses one of the deadlines.
        while begun.elapsed() < PERIOD * 5 / 4 {
            std::hint::spin_loop();
        }
        if c.len() == 12 {
            handle.stop();
        }
    });
    let after = Instant::now();
    run(&ioloop);
    let calls = calls.take();
    // Each has a deadline of its own: those that were missed do not come in a bunch.
    let slots: Vec<_> = calls
        .iter()
        .map(|call| call.duration_since(before).as_nanos() / PERIOD.as_nanos())
        .collect();
    assert!(slots[0] >= 1 && slots.is_sorted_by(|one, next| next >= &(one + 1)), "{slots:?}");
    // A quarter of a period of drift a call would be seen: some of the late calls are near to
    // their deadlines, if the machine is not too busy for all of them.
    let lateness = |call: &Instant| {
        let since = call.duration_since(after).as_nanos() % PERIOD.as_nanos();
        since.min(PERIOD.as_nanos() - since)
    };
    let best = calls.iter().map(lateness).min().unwrap();
    assert!(best < PERIOD.as_nanos() / 5, "{best} ns off at best");
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
