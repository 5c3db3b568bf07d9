//! Whatever keeps a loop busy, all else has its turn.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::MS;
use crate::conformance::stage::Stage;
use crate::conformance::tools::readable_pair;
use crate::{Ready, Services};

/// How often each is served.
const CALLS: usize = 10;

/// What is served beside what keeps the loop busy.
#[derive(Clone, Copy)]
enum Served {
    Descriptor,
    Callback,
    Timer,
    Post,
}

/// Runs the loop until a descriptor, callbacks, timers and another thread's posts have had their
/// calls.
fn serves_all(stage: &Stage) {
    let (left, stop) = (Rc::new(Cell::new([CALLS; 4])), stage.stopper());
    let serve = move |served: Served| {
        let mut counts = left.get();
        let count = &mut counts[served as usize];
        *count = count.saturating_sub(1);
        let goes_on = *count > 0;
        left.set(counts);
        if counts == [0; 4] {
            stop();
        }
        goes_on
    };
    let (_there, here) = readable_pair();
    let s = serve.clone();
    let key = stage.watch(here, Ready::READ, move |_| {
        s(Served::Descriptor);
        Ready::NONE
    });

    fn again(services: Services, serve: impl Fn(Served) -> bool + 'static) {
        services.clone().add_callback(move || {
            if serve(Served::Callback) {
                again(services, serve);
            }
        });
    }
    again(stage.services(), serve.clone());

    fn later(services: Services, serve: impl Fn(Served) -> bool + 'static) {
        services.clone().call_later(MS / 10, move || {
            if serve(Served::Timer) {
                later(services, serve);
            }
        });
    }
    later(stage.services(), serve.clone());

    // A post cannot carry what is the loop's thread's: it counts, and a timer looks.
    let posts = Arc::new(AtomicUsize::new(0));
    let (remote, count) = (stage.services().remote(), Arc::clone(&posts));
    let thread = thread::spawn(move || {
        for _ in 0..CALLS {
            let count = Arc::clone(&count);
            let post = move || {
                count.fetch_add(1, Ordering::Relaxed);
            };
            remote.add_callback(post).expect("a loop");
        }
    });
    let mut seen = 0;
    let looks = stage.services().call_every(MS, move || {
        while seen < posts.load(Ordering::Relaxed) {
            seen += 1;
            serve(Served::Post);
        }
    });
    stage.run();
    thread.join().expect("no panic");
    stage.services().remove_fd(key);
    assert!(stage.services().remove_timeout(looks));
}

pub(in crate::conformance) fn a_descriptor_that_is_always_ready_starves_nobody(stage: &Stage) {
    let mut theres = Vec::new();
    for _ in 0..3 {
        let (there, busy) = readable_pair();
        theres.push(there);
        stage.watch(busy, Ready::READ | Ready::WRITE, |_| Ready::NONE);
    }
    serves_all(stage);
}

pub(in crate::conformance) fn a_callback_that_posts_itself_starves_nobody(stage: &Stage) {
    fn repost(services: Services) {
        services.clone().add_callback(move || repost(services));
    }
    repost(stage.services());
    serves_all(stage);
}

pub(in crate::conformance) fn a_timer_that_is_always_due_starves_nobody(stage: &Stage) {
    stage.services().call_every(Duration::ZERO, || ());
    serves_all(stage);
}

pub(in crate::conformance) fn a_thread_that_posts_without_end_starves_nobody(stage: &Stage) {
    /// Some always wait, and not so many more in each turn that a turn takes for ever.
    const WAITING: usize = 1000;
    let (remote, done) = (stage.services().remote(), Arc::new(AtomicBool::new(false)));
    let (is_done, waiting) = (Arc::clone(&done), Arc::new(AtomicUsize::new(0)));
    let thread = thread::spawn(move || {
        while !is_done.load(Ordering::Relaxed) {
            if waiting.load(Ordering::Relaxed) == WAITING {
                thread::yield_now();
                continue;
            }
            waiting.fetch_add(1, Ordering::Relaxed);
            let called = Arc::clone(&waiting);
            let post = move || {
                called.fetch_sub(1, Ordering::Relaxed);
            };
            remote.add_callback(post).expect("a loop");
        }
    });
    serves_all(stage);
    done.store(true, Ordering::Relaxed);
    thread.join().expect("no panic");
}
