//! The loop itself, through its adapter.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use crate::Remote;

use crate::conformance::stage::Stage;

/// pika's limit is 0.25 s, to tell a loop that was woken from one that looks now and then. Here
/// nothing but the wake comes, so that the limit can leave a busy machine its time.
const SOON: Duration = Duration::from_secs(5);

thread_local! {
    /// What was posted finds it here: it cannot come with it.
    static STOP: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
}

/// Runs the loop until what `post` posts has run: on this thread, once, and soon.
fn runs(stage: &Stage, post: impl FnOnce(Remote, Box<dyn FnOnce() + Send>)) {
    STOP.set(Some(stage.stopper()));
    let (tell, told) = std::sync::mpsc::channel();
    let posted = move || {
        tell.send(thread::current().id()).expect("somebody waits");
        STOP.take().expect("on the thread of the loop")();
    };
    let begun = Instant::now();
    post(stage.services().remote(), Box::new(posted));
    stage.run();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [thread::current().id()]);
}

pub(in crate::conformance) fn a_post_before_the_run_runs(stage: &Stage) {
    runs(stage, |remote, posted| remote.add_callback(posted).expect("a loop"));
}

pub(in crate::conformance) fn a_post_from_a_callback_runs(stage: &Stage) {
    runs(stage, |remote, posted| {
        stage.services().add_callback(move || remote.add_callback(posted).expect("a loop"));
    });
}

pub(in crate::conformance) fn a_post_from_a_thread_wakes_the_loop(stage: &Stage) {
    runs(stage, |remote, posted| {
        let thread = move || {
            // The loop waits by then, most likely; it must work either way.
            thread::sleep(Duration::from_millis(20));
            remote.add_callback(posted).expect("a loop");
        };
        stage.services().add_callback(move || drop(thread::spawn(thread)));
    });
}

pub(in crate::conformance) fn a_stop_before_the_run_ends_that_run_alone(stage: &Stage) {
    let ran = Rc::new(Cell::new(false));
    let (run, stop) = (Rc::clone(&ran), stage.stopper());
    stage.services().add_callback(move || {
        run.set(true);
        stop();
    });
    stage.stopper()();
    stage.run();
    assert!(!ran.get());
    stage.run();
    assert!(ran.get());
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
