//! Running and stopping.

use std::cell::Cell;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::thread;

use super::{HOUR, MS};
use crate::conformance::stage::Stage;
use crate::conformance::tools::Trace;
use crate::{ConnectionCallbacks, ConnectionParameters, FdKey, Ready, WorkGuard};

/// pika asks the adapter for its native loop; here that is its type's business. What everyone has
/// of it is the services.
pub(in crate::conformance) fn the_services_are_the_same_at_each_call(stage: &Stage) {
    let core = Rc::clone(stage.services().core());
    assert!(Rc::ptr_eq(&core, stage.services().core()));
    let upgraded = stage.services().downgrade().upgrade().expect("the loop has not ended");
    assert!(Rc::ptr_eq(&core, upgraded.core()));
    let parameters = ConnectionParameters::new("127.0.0.1");
    let connection = stage.services().connect(parameters, ConnectionCallbacks::new());
    let services = connection.services().expect("it has not ended");
    assert!(Rc::ptr_eq(&core, services.core()));
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

/// What was begun in one run goes on in the next.
pub(in crate::conformance) fn it_is_run_again(stage: &Stage) {
    let (there, here) = UnixStream::pair().expect("a pair");
    let trace = Trace::new();
    let (read, stop) = (trace.clone(), stage.stopper());
    let key = stage.watch(here, Ready::READ, move |_| {
        read.add("descriptor");
        stop();
        Ready::NONE
    });
    let (timer, stop) = (trace.clone(), stage.stopper());
    stage.services().call_later(30 * MS, move || {
        timer.add("timer");
        stop();
    });
    for _ in 0..10 {
        let (post, stop) = (trace.clone(), stage.stopper());
        stage.services().add_callback(move || {
            post.add("post");
            stop();
        });
        stage.run();
    }
    // On a busy machine the timer comes before the last post.
    while trace.len() < 11 {
        stage.run();
    }
    let mut told = trace.take();
    told.sort();
    assert_eq!(told, [&["post"; 10][..], &["timer"]].concat());
    (&there).write_all(b"x").expect("there is room");
    stage.run();
    stage.run();
    // A stop is not heeded at once everywhere.
    assert!(trace.len() >= 2);
    stage.services().remove_fd(key);
}

thread_local! {
    static GUARD: Cell<Option<WorkGuard>> = const { Cell::new(None) };
    static WORKED: Cell<bool> = const { Cell::new(false) };
}

/// A timer, a callback, a descriptor, a guard: each is enough, and none keeps it when it is over.
pub(in crate::conformance) fn it_runs_on_for_what_is_to_come(stage: &Stage) {
    let (services, came) = (stage.services(), Trace::new());
    let runs_for = |what: &'static str| {
        let seen = came.clone();
        stage.run_until_over(move || !seen.is_empty());
        assert_eq!(came.take(), [what]);
    };
    assert!(services.remove_timeout(services.call_later(HOUR, || ())));
    let (_other, silent) = UnixStream::pair().expect("a pair");
    let silent = stage.watch(silent, Ready::NONE, |_| panic!("nobody wants that"));

    let timer = came.clone();
    services.call_later(20 * MS, move || timer.add("timer"));
    runs_for("timer");
    let callback = came.clone();
    services.add_callback(move || callback.add("callback"));
    runs_for("callback");

    let (mut there, here) = UnixStream::pair().expect("a pair");
    let peer = thread::spawn(move || {
        thread::sleep(20 * MS);
        there.write_all(b"x").expect("there is room");
        there
    });
    let (key, read) = (Rc::new(Cell::new(FdKey(usize::MAX))), came.clone());
    let (own, weak) = (Rc::clone(&key), services.downgrade());
    key.set(stage.watch(here, Ready::READ, move |_| {
        read.add("descriptor");
        weak.upgrade().expect("the loop runs").remove_fd(own.get());
        Ready::NONE
    }));
    runs_for("descriptor");
    drop(peer.join().expect("no panic"));

    GUARD.set(Some(services.work_guard()));
    let remote = services.remote();
    let worker = thread::spawn(move || {
        thread::sleep(20 * MS);
        let work = || {
            WORKED.set(true);
            drop(GUARD.take());
        };
        remote.add_callback(work).expect("the loop is there");
    });
    stage.run_until_over(|| WORKED.get());
    worker.join().expect("no panic");
    services.remove_fd(silent);
}

pub(in crate::conformance) fn an_idle_loop_does_not_spin(stage: &Stage) {
    let (_there, here) = UnixStream::pair().expect("a pair");
    stage.watch(here, Ready::READ, |_| panic!("nothing has come"));
    // It was woken once, and had a timer and a callback.
    stage.services().remote().add_callback(|| ()).expect("a loop");
    stage.services().add_callback(|| ());
    stage.services().call_later(MS, || ());
    stage.assert_idle();
}

/// Whoever calls for a turn inside of one gets none, and harms nothing.
pub(in crate::conformance) fn a_turn_inside_a_turn_is_refused(stage: &Stage) {
    let inside = Rc::new(Cell::new(false));
    let (services, i) = (stage.services(), Rc::clone(&inside));
    stage.services().add_callback(move || {
        i.set(true);
        assert_eq!(services.core().turn(), None);
        i.set(false);
    });
    let (i, stop) = (Rc::clone(&inside), stage.stopper());
    stage.services().add_callback(move || {
        assert!(!i.get(), "called by the turn inside");
        stop();
    });
    stage.run();
    stage.settle();
}
