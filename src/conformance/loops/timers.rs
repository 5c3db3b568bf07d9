//! Timers. How many of them there are and how they are ordered is the engine's; that one comes at
//! all, and the loop sleeps until then, is the adapter's.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::MS;
use crate::conformance::stage::Stage;
use crate::conformance::tools::Trace;
use crate::{Ready, TimerId};

/// No timer is later on a busy machine: one that is, has been forgotten.
const SOON: Duration = Duration::from_secs(5);

/// Also of parts of a millisecond, which many loops cannot tell apart.
pub(in crate::conformance) fn a_timer_is_never_early(stage: &Stage) {
    let delays = (0..30).map(|number| number * MS * 7 / 10);
    let stop = stage.stop_after(delays.len());
    for delay in delays {
        let (deadline, stop) = (Instant::now() + delay, Rc::clone(&stop));
        stage.services().add_timeout(deadline, move || {
            let now = Instant::now();
            assert!(now >= deadline, "{:?} early", deadline - now);
            assert!(now < deadline + SOON, "{:?} late", now - deadline);
            stop();
        });
    }
    stage.run();
}

/// A host may count from a time that it has noted before the callbacks.
pub(in crate::conformance) fn a_timer_is_not_early_behind_a_long_callback(stage: &Stage) {
    let (services, stop) = (stage.services(), stage.stopper());
    stage.services().call_later(MS, move || {
        let begun = Instant::now();
        while begun.elapsed() < 30 * MS {}
        let set = Instant::now();
        services.call_later(15 * MS, move || {
            assert!(set.elapsed() >= 15 * MS, "after {:?} of 15 ms", set.elapsed());
            stop();
        });
    });
    stage.run();
}

pub(in crate::conformance) fn removing_one_tells_whether_it_was_pending(stage: &Stage) {
    let services = stage.services();
    let pending = services.call_later(Duration::ZERO, || panic!("removed"));
    assert!(services.remove_timeout(pending));
    assert!(!services.remove_timeout(pending));
    stage.settle();
    assert!(!services.remove_timeout(pending));
}

pub(in crate::conformance) fn one_removes_itself_twice(stage: &Stage) {
    let (services, stop) = (stage.services(), stage.stopper());
    let timer = Rc::new(Cell::new(None::<TimerId>));
    let own = Rc::clone(&timer);
    timer.set(Some(stage.services().call_later(MS, move || {
        let own = own.get().expect("it is set");
        assert!(!services.remove_timeout(own) && !services.remove_timeout(own));
        stop();
    })));
    stage.run();
}

pub(in crate::conformance) fn delays_come_in_order(stage: &Stage) {
    let (order, stop) = (Trace::new(), stage.stop_after(3));
    for (delay, place) in [(30, 3), (0, 1), (15, 2)] {
        let (order, stop) = (order.clone(), Rc::clone(&stop));
        stage.services().call_later(delay * MS, move || {
            order.add(place);
            stop();
        });
    }
    stage.run();
    assert_eq!(order.take(), [1, 2, 3]);
}

pub(in crate::conformance) fn a_removed_one_is_silent(stage: &Stage) {
    for delay in [Duration::ZERO, MS] {
        let removed = stage.services().call_later(delay, || panic!("removed"));
        let services = stage.services();
        // Once it is in the host's hands.
        stage.services().add_callback(move || assert!(services.remove_timeout(removed)));
        stage.settle();
    }
}

pub(in crate::conformance) fn equal_deadlines_come_in_order_of_creation(stage: &Stage) {
    const TIMERS: usize = 100;
    let (order, stop) = (Trace::new(), stage.stop_after(TIMERS));
    let deadline = Instant::now() + 5 * MS;
    for place in 0..TIMERS {
        let (order, stop) = (order.clone(), Rc::clone(&stop));
        stage.services().add_timeout(deadline, move || {
            order.add(place);
            stop();
        });
    }
    stage.run();
    assert_eq!(order.take(), Vec::from_iter(0..TIMERS));
}

pub(in crate::conformance) fn one_removed_when_it_is_due_is_silent(stage: &Stage) {
    let deadline = Instant::now() + MS;
    let victim = Rc::new(Cell::new(None::<TimerId>));
    let (removed, services) = (Rc::clone(&victim), stage.services());
    stage.services().add_timeout(deadline, move || {
        assert!(services.remove_timeout(removed.get().expect("it is set")));
    });
    victim.set(Some(stage.services().add_timeout(deadline, || panic!("removed"))));
    stage.settle();
}

/// Each time from elsewhere: the host's own timer is set for an hour by then.
pub(in crate::conformance) fn a_nearer_one_overtakes_a_farther_one(stage: &Stage) {
    let hour = Duration::from_secs(3600);
    let services = stage.services();
    services.call_later(hour, || panic!("an hour"));
    stage.settle();
    // From outside of the loop.
    stage.settle();
    // From a callback, and from a timer.
    for delay in [None, Some(2 * MS)] {
        let (services, stop) = (stage.services(), stage.stopper());
        let set = move || {
            services.call_later(2 * MS, move || stop());
        };
        match delay {
            None => stage.services().add_callback(set),
            Some(delay) => {
                stage.services().call_later(delay, set);
            }
        }
        stage.run();
    }
    // From a descriptor's handler.
    let (_there, here) = crate::conformance::tools::readable_pair();
    let (services, stop, key) = (stage.services(), stage.stopper(), Rc::new(Cell::new(None)));
    let own = Rc::clone(&key);
    key.set(Some(stage.watch(here, Ready::READ, move |ready| {
        let stop = Rc::clone(&stop);
        services.remove_fd(own.get().expect("it is added"));
        services.call_later(2 * MS, move || stop());
        ready
    })));
    stage.run();
}

pub(in crate::conformance) fn one_is_moved(stage: &Stage) {
    let (services, stop) = (stage.services(), stage.stopper());
    let begun = Instant::now();
    let later = services.call_later(MS, move || {
        assert!(begun.elapsed() >= 20 * MS);
        stop();
    });
    let sooner_came = Rc::new(Cell::new(false));
    let came = Rc::clone(&sooner_came);
    let sooner = services.call_later(Duration::from_secs(3600), move || came.set(true));
    services.add_callback({
        let services = stage.services();
        move || {
            assert!(services.reset_timeout(later, begun + 20 * MS));
            assert!(services.reset_timeout(sooner, begun + 5 * MS));
        }
    });
    stage.run();
    assert!(sooner_came.get());
    assert!(!stage.services().reset_timeout(later, begun));
    // From outside of the loop, when the host's own timer is set for an hour.
    let stop = stage.stopper();
    let far = stage.services().call_later(Duration::from_secs(3600), move || stop());
    stage.settle();
    assert!(stage.services().reset_timeout(far, Instant::now() + 2 * MS));
    stage.run();
}

pub(in crate::conformance) fn a_periodic_one_comes_until_it_is_removed(stage: &Stage) {
    const CALLS: u32 = 10;
    let (services, stop, begun) = (stage.services(), stage.stopper(), Instant::now());
    let (calls, timer) = (Cell::new(0), Rc::new(Cell::new(None::<TimerId>)));
    let own = Rc::clone(&timer);
    timer.set(Some(stage.services().call_every(2 * MS, move || {
        calls.set(calls.get() + 1);
        assert!(begun.elapsed() >= calls.get() * 2 * MS, "early");
        if calls.get() == CALLS {
            assert!(services.remove_timeout(own.get().expect("it is set")));
            stop();
        }
    })));
    stage.run();
    stage.settle();
}

/// Longer than what a host's timer can be set to, perhaps: it must not come at once, nor harm those
/// that are near.
pub(in crate::conformance) fn one_that_is_far_away_does_not_come(stage: &Stage) {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    for far in [25 * DAY, 50 * DAY, 69 * 365 * DAY, 300 * 365 * DAY, Duration::MAX] {
        let timer = stage.services().call_later(far, || panic!("a long time has not gone by"));
        stage.assert_idle();
        assert!(stage.services().remove_timeout(timer));
    }
}

pub(in crate::conformance) fn of_two_equal_timers_one_is_removed(stage: &Stage) {
    let services = stage.services();
    let calls = Rc::new(Cell::new(0));
    let callback = || {
        let (calls, stop) = (Rc::clone(&calls), stage.stopper());
        move || {
            calls.set(calls.get() + 1);
            stop();
        }
    };
    let deadline = Instant::now() + Duration::from_millis(10);
    let first = services.add_timeout(deadline, callback());
    services.add_timeout(deadline, callback());
    assert!(services.remove_timeout(first));
    stage.run();
    assert!(Instant::now() >= deadline);
    assert_eq!(calls.get(), 1);
    // Nothing comes after it.
    let stop = stage.stopper();
    services.call_later(Duration::from_millis(10), move || stop());
    stage.run();
    assert_eq!(calls.get(), 1);
}
