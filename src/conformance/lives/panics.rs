//! A callback of the loop that panics loses itself alone.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::Ready;
use crate::conformance::stage::{ON_PURPOSE, Stage};
use crate::conformance::tools::{Probes, Trace, readable_pair};

pub(in crate::conformance) fn a_panic_in_a_callback_or_timer_is_told_and_goes_no_further(
    stage: &Stage,
) {
    let ran = Trace::new();
    for number in 0..3 {
        let (post, timer) = (ran.clone(), ran.clone());
        stage.services().add_callback(move || {
            post.add(("post", number));
            assert!(number != 1, "{ON_PURPOSE}: post");
        });
        stage.services().call_later(Duration::from_millis(2), move || {
            timer.add(("timer", number));
            assert!(number != 1, "{ON_PURPOSE}: timer");
        });
    }
    // It goes on after its panic, and by its third call the others have been called.
    let (calls, stop) = (Cell::new(0), stage.stopper());
    let periodic = stage.services().call_every(Duration::from_millis(3), move || {
        calls.set(calls.get() + 1);
        assert!(calls.get() != 1, "{ON_PURPOSE}: every");
        if calls.get() == 3 {
            stop();
        }
    });
    let remote = stage.services().remote();
    remote.add_callback(|| panic!("{ON_PURPOSE}: remote")).expect("a loop");
    let mut messages = stage.run_through_panics();
    messages.sort();
    let expected = ["every", "post", "remote", "timer"].map(|of| format!("{ON_PURPOSE}: {of}"));
    assert_eq!(messages, expected);
    assert!(stage.services().remove_timeout(periodic));
    let mut ran = ran.take();
    ran.sort();
    let expected = ["post", "timer"].map(|what| [0, 1, 2].map(|number| (what, number)));
    assert_eq!(ran, expected.concat());
}

/// The event that was not seen to comes again.
pub(in crate::conformance) fn a_panic_in_a_handler_is_told_and_goes_no_further(stage: &Stage) {
    let (_there, here) = readable_pair();
    let (calls, stop) = (Cell::new(0), stage.stopper());
    stage.watch(here, Ready::READ, move |_| {
        calls.set(calls.get() + 1);
        assert!(calls.get() != 1, "{ON_PURPOSE}");
        stop();
        Ready::NONE
    });
    assert_eq!(stage.run_through_panics(), [ON_PURPOSE]);
}

/// What is dropped with the loop may panic then, and the rest is dropped all the same.
pub(in crate::conformance) fn a_panic_of_what_is_dropped_with_the_loop_goes_no_further(
    stage: &Stage,
) {
    let probes = Probes::default();
    let (_there, here) = readable_pair();
    let probe = probes.probe();
    stage.watch(here, Ready::NONE, move |_| {
        probe.touch();
        Ready::NONE
    });
    for number in 0..3 {
        let probe = probes.probe_that(move || {
            if number == 1 && !std::thread::panicking() {
                panic!("{ON_PURPOSE}");
            }
        });
        stage.services().call_later(Duration::from_secs(3600), move || probe.touch());
    }
    // It comes out of the end of `IOLoop`.
    drop(catch_unwind(AssertUnwindSafe(|| stage.end_loop())));
    assert_eq!(probes.live(), 0);
}
