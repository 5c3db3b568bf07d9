//! The way in from other threads.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use haypile::{LoopError, LoopHandle, Ready};

use crate::pollers::{Poller, every_poller};
use crate::tools::{run, run_without_timer};

every_poller!(
    a_post_runs_on_the_loops_thread_soon_wherever_it_was_made,
    posts_of_many_threads_come_complete_and_in_order_of_each,
    a_post_wakes_a_loop_that_sleeps,
    a_post_is_seen_whose_wake_comes_beside_an_event,
    a_wake_with_nothing_behind_it_is_harmless,
    a_post_before_start_and_after_the_drop,
    posts_that_race_with_the_drop_run_or_are_dropped_or_are_refused,
);

/// What a post found: its thread, and how long it took.
type Found = (thread::ThreadId, Duration);

fn a_post_runs_on_the_loops_thread_soon_wherever_it_was_made(poller: Poller) {
    let ioloop = poller.new_loop();
    let (sender, found) = mpsc::channel::<Found>();
    let (remote, stopper) = (ioloop.remote(), ioloop.stopper());
    let post = move || {
        let (posted, sender, stopper) = (Instant::now(), sender.clone(), stopper.clone());
        let callback = move || {
            sender.send((thread::current().id(), posted.elapsed())).unwrap();
            stopper.stop().unwrap();
        };
        remote.add_callback(callback).unwrap();
    };
    let seen = || {
        run(&ioloop);
        let (thread, took) = found.try_recv().unwrap();
        assert_eq!(thread, thread::current().id());
        assert!(took < Duration::from_millis(250), "{took:?}");
    };
    // Before the start.
    post();
    seen();
    // From the loop.
    let from_loop = post.clone();
    ioloop.add_callback(from_loop);
    seen();
    // From a thread, while the loop sleeps or is about to.
    let thread = thread::spawn(post);
    seen();
    thread.join().unwrap();
}

fn posts_of_many_threads_come_complete_and_in_order_of_each(poller: Poller) {
    const THREADS: usize = 4;
    const POSTS: usize = 10_000;
    let ioloop = poller.new_loop();
    let stopper = ioloop.stopper();
    let seen = Arc::new(Mutex::new(vec![0; THREADS]));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (remote, seen, stopper) = (ioloop.remote(), Arc::clone(&seen), stopper.clone());
            thread::spawn(move || {
                for number in 0..POSTS {
                    let (seen, stopper) = (Arc::clone(&seen), stopper.clone());
                    let post = move || {
                        let mut seen = seen.lock().unwrap();
                        assert_eq!(seen[thread], number);
                        seen[thread] += 1;
                        if seen.iter().all(|&count| count == POSTS) {
                            stopper.stop().unwrap();
                        }
                    };
                    remote.add_callback(post).unwrap();
                }
            })
        })
        .collect();
    run(&ioloop);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn a_post_wakes_a_loop_that_sleeps(poller: Poller) {
    let ioloop = poller.new_loop();
    let (remote, stopper) = (ioloop.remote(), ioloop.stopper());
    let (sender, receiver) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let mut hops = 0;
        while receiver.recv().is_ok() {
            hops += 1;
            let stopper = stopper.clone();
            let last = hops == 100;
            remote
                .add_callback(move || {
                    if last {
                        stopper.stop().unwrap()
                    }
                })
                .unwrap();
        }
    });
    // Each wake is sent for by the turn after the last, which then has nothing to do but sleep.
    fn ask(ioloop: &LoopHandle, sender: mpsc::Sender<()>, left: usize) {
        if left > 0 && sender.send(()).is_ok() {
            let handle = ioloop.clone();
            ioloop.call_later(Duration::from_micros(50), move || ask(&handle, sender, left - 1));
        }
    }
    ask(&ioloop.handle(), sender, 100);
    run(&ioloop);
    // And with it the sender, for which the thread still waits.
    drop(ioloop);
    thread.join().unwrap();
}

/// Both are there at the same wait, and nothing after them.
fn a_post_is_seen_whose_wake_comes_beside_an_event(poller: Poller) {
    let ioloop = poller.new_loop();
    let pair = || UnixStream::pair().map(|(there, here)| (there, Rc::new(here))).unwrap();
    let ((mut there, first), (mut other, second)) = (pair(), pair());
    there.write_all(b"x").unwrap();
    let (reader, remote, stopper) = (Rc::clone(&first), ioloop.remote(), ioloop.stopper());
    let post = move |_: &LoopHandle, _| {
        (&*reader).read_exact(&mut [0]).unwrap();
        let stopper = stopper.clone();
        remote.add_callback(move || stopper.stop().unwrap()).unwrap();
        other.write_all(b"x").unwrap();
    };
    ioloop.add_handler(first, Ready::READ, post).unwrap();
    let reader = Rc::clone(&second);
    let beside = move |_: &LoopHandle, _| (&*reader).read_exact(&mut [0]).unwrap();
    ioloop.add_handler(second, Ready::READ, beside).unwrap();
    run_without_timer(&ioloop);
}

fn a_post_before_start_and_after_the_drop(poller: Poller) {
    let ioloop = poller.new_loop();
    let (remote, stopper) = (ioloop.remote(), ioloop.stopper());
    stopper.stop().unwrap();
    run(&ioloop);
    let pending = Arc::new(());
    let p = Arc::clone(&pending);
    remote.add_callback(move || drop(p)).unwrap();
    drop(ioloop);
    assert_eq!(Arc::strong_count(&pending), 1);
    // The drop of what is refused may post again: nothing is locked.
    let again = AgainOnDrop(remote.clone());
    assert_eq!(remote.add_callback(move || drop(again)), Err(LoopError::Gone));
    assert_eq!(stopper.stop(), Err(LoopError::Gone));
}

struct AgainOnDrop(haypile::Remote);

impl Drop for AgainOnDrop {
    fn drop(&mut self) {
        assert_eq!(self.0.add_callback(|| ()), Err(LoopError::Gone));
    }
}

/// The post that it was for has run by the time that the wait sees it.
fn a_wake_with_nothing_behind_it_is_harmless(poller: Poller) {
    let ioloop = poller.new_loop();
    let ran = Arc::new(AtomicUsize::new(0));
    let post = || {
        let ran = Arc::clone(&ran);
        let callback = move || {
            ran.fetch_add(1, Ordering::Relaxed);
        };
        ioloop.remote().add_callback(callback).unwrap();
    };
    for turn in 1..=100 {
        post();
        assert_eq!(ioloop.process_due(), Ok(true));
        assert_eq!(ran.load(Ordering::Relaxed), turn);
    }
    // The wakes of all of them are left. This wait ends early for them, or not at all.
    assert_eq!(ioloop.run_once(Some(Duration::ZERO)), Ok(true));
    assert_eq!(ioloop.time_to_deadline(), None);
    // And no later wake is lost.
    post();
    assert_eq!(ioloop.run_once(None), Ok(true));
    assert_eq!(ran.load(Ordering::Relaxed), 101);
}

fn posts_that_race_with_the_drop_run_or_are_dropped_or_are_refused(poller: Poller) {
    const THREADS: usize = 4;
    /// Counts its drop.
    struct Post {
        dropped: Arc<AtomicUsize>,
    }
    impl Drop for Post {
        fn drop(&mut self) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (ran, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let ioloop = poller.new_loop();
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (remote, ran, dropped) = (ioloop.remote(), Arc::clone(&ran), Arc::clone(&dropped));
            thread::spawn(move || {
                for made in 0.. {
                    let (post, ran) = (Post { dropped: Arc::clone(&dropped) }, Arc::clone(&ran));
                    let callback = move || {
                        ran.fetch_add(1, Ordering::Relaxed);
                        drop(post);
                    };
                    if let Err(error) = remote.add_callback(callback) {
                        assert_eq!(error, LoopError::Gone);
                        return (made, made + 1);
                    }
                }
                unreachable!()
            })
        })
        .collect();
    // Under way, from all of them perhaps.
    while ran.load(Ordering::Relaxed) < 1000 {
        assert_eq!(ioloop.run_once(None), Ok(true));
    }
    drop(ioloop);
    let (mut taken, mut made) = (0, 0);
    for thread in threads {
        let counts: (usize, usize) = thread.join().unwrap();
        taken += counts.0;
        made += counts.1;
    }
    assert!(ran.load(Ordering::Relaxed) <= taken);
    assert_eq!(dropped.load(Ordering::Relaxed), made);
}
