//! Callbacks, posted from the loop's thread and from others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::MS;
use crate::conformance::stage::Stage;
use crate::conformance::tools::Trace;
use crate::{LoopError, Remote};

/// pika's limit is 0.25 s, to tell a loop that was woken from one that looks now and then. Here
/// nothing but the wake comes, so that the limit can leave a busy machine its time.
const SOON: Duration = Duration::from_secs(5);

/// Runs the loop until what `post` posts has run: on this thread, once, and soon.
fn runs(stage: &Stage, post: impl FnOnce(Remote, Box<dyn FnOnce() + Send>)) {
    let (stop, (tell, told)) = (stage.remote_stopper(), mpsc::channel());
    let posted = move || {
        tell.send(thread::current().id()).expect("somebody waits");
        stop();
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
            thread::sleep(20 * MS);
            remote.add_callback(posted).expect("a loop");
        };
        stage.services().add_callback(move || drop(thread::spawn(thread)));
    });
}

/// Those of the loop's own thread and of another one, each in their order; the last stops the loop.
pub(in crate::conformance) fn posts_run_in_order(stage: &Stage) {
    const POSTS: usize = 100;
    let stop = stage.remote_stopper();
    let (own, order) = (Trace::new(), Arc::new(AtomicUsize::new(0)));
    for number in 0..POSTS {
        let (own, order) = (own.clone(), Arc::clone(&order));
        stage.services().add_callback(move || own.add(number));
        let post = move || {
            assert_eq!(order.fetch_add(1, Ordering::Relaxed), number);
            if number == POSTS - 1 {
                stop();
            }
        };
        stage.services().remote().add_callback(post).expect("a loop");
    }
    stage.run();
    assert_eq!(own.take(), Vec::from_iter(0..POSTS));
}

/// A loop that sleeps, woken again and again: each wake counts.
pub(in crate::conformance) fn every_wake_arrives(stage: &Stage) {
    const ROUNDS: usize = 500;
    let (remote, stop) = (stage.services().remote(), stage.remote_stopper());
    let thread = thread::spawn(move || {
        for round in 1..=ROUNDS {
            let (tell, told) = mpsc::channel();
            let answer = move || {
                tell.send(()).expect("somebody waits");
                if round == ROUNDS {
                    stop();
                }
            };
            remote.add_callback(answer).expect("a loop");
            // The scenario's own end is told by the watchdog, if this is all that is lost.
            told.recv_timeout(SOON).unwrap_or_else(|_| panic!("wake {round} was lost"));
        }
    });
    stage.run();
    thread.join().expect("every wake arrived");
}

/// The loop does not sleep then, and may take the wake for one that it has seen.
pub(in crate::conformance) fn a_wake_in_a_callback_arrives(stage: &Stage) {
    for _ in 0..50 {
        let (remote, stop) = (stage.services().remote(), stage.remote_stopper());
        stage.services().add_callback(move || {
            let posts = move || remote.add_callback(|| ()).and_then(|()| remote.add_callback(stop));
            thread::spawn(posts).join().expect("no panic").expect("a loop");
        });
        stage.run();
    }
}

/// From four threads at once, those of each in their order.
pub(in crate::conformance) fn a_flood_of_posts_runs(stage: &Stage) {
    const THREADS: usize = 4;
    const POSTS: usize = 5_000;
    let stop = stage.remote_stop_after(THREADS);
    let threads = [(); THREADS].map(|()| {
        let remote = stage.services().remote();
        thread::spawn(move || {
            let order = Arc::new(AtomicUsize::new(0));
            for number in 0..POSTS {
                let order = Arc::clone(&order);
                let post = move || {
                    assert_eq!(order.fetch_add(1, Ordering::Relaxed), number);
                    if number == POSTS - 1 {
                        stop();
                    }
                };
                remote.add_callback(post).expect("a loop");
            }
        })
    });
    stage.run();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
}

/// Four threads post while the loop ends: each post is taken, and called or dropped, or refused.
/// What comes after the end is refused, and touches nothing.
pub(in crate::conformance) fn posts_race_with_the_end_of_the_loop(stage: &Stage) {
    const THREADS: usize = 4;
    let begin = Arc::new(Barrier::new(THREADS + 1));
    let posted = Arc::new(());
    let threads = [(); THREADS].map(|()| {
        let (remote, begin) = (stage.services().remote(), Arc::clone(&begin));
        let posted = Arc::clone(&posted);
        thread::spawn(move || {
            begin.wait();
            loop {
                let post = Arc::clone(&posted);
                if let Err(refused) = remote.add_callback(move || drop(post)) {
                    assert_eq!(refused, LoopError::Gone);
                    break;
                }
            }
            assert_eq!(remote.add_callback(|| ()), Err(LoopError::Gone));
        })
    });
    begin.wait();
    stage.run_for(MS);
    stage.end_loop();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    assert_eq!(Arc::strong_count(&posted), 1, "posts are left that nobody will call");
}
