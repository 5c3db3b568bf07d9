//! Whatever keeps a loop busy, all else has its turn.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use haypile::{IOLoop, LoopHandle, Ready};

use crate::pollers::{Poller, every_poller};
use crate::tools::{MS, readable_pair, run};

every_poller!(
    a_descriptor_that_is_always_ready_starves_nobody,
    a_callback_that_reposts_itself_starves_nobody,
    a_timer_that_is_always_due_starves_nobody,
    a_periodic_timer_of_no_period_starves_nobody,
    a_thread_that_posts_without_end_starves_nobody,
);

/// Runs the loop until a descriptor, callbacks, a timer and a post of another thread have each had
/// ten calls, one after the other.
fn serves_all(ioloop: &IOLoop) {
    let served = Rc::new(Cell::new([0; 4]));
    let (s, handle) = (Rc::clone(&served), ioloop.handle());
    let serve = move |what: usize| {
        let mut counts = s.get();
        counts[what] += 1;
        s.set(counts);
        if counts.iter().all(|&count| count >= 10) {
            handle.stop();
        }
        counts[what] < 10
    };
    let (_there, here) = readable_pair();
    let s = serve.clone();
    let handler = move |_: &LoopHandle, _| {
        s(0);
    };
    let key = ioloop.add_handler(here, Ready::READ, handler).unwrap();

    fn again(ioloop: LoopHandle, serve: impl Fn(usize) -> bool + Clone + 'static) {
        ioloop.clone().add_callback(move || {
            if serve(1) {
                again(ioloop, serve);
            }
        });
    }
    again(ioloop.handle(), serve.clone());

    fn later(ioloop: LoopHandle, serve: impl Fn(usize) -> bool + Clone + 'static) {
        ioloop.clone().call_later(MS / 10, move || {
            if serve(2) {
                later(ioloop, serve);
            }
        });
    }
    later(ioloop.handle(), serve.clone());

    // A post cannot carry what is the loop's thread's: it counts, and a timer looks.
    let posts = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (remote, p) = (ioloop.remote(), Arc::clone(&posts));
    let thread = thread::spawn(move || {
        for _ in 0..10 {
            let p = Arc::clone(&p);
            let callback = move || {
                p.fetch_add(1, Ordering::Relaxed);
            };
            remote.add_callback(callback).unwrap();
        }
    });
    let mut seen = 0;
    let looks = ioloop.call_every(MS / 10, move || {
        while seen < posts.load(Ordering::Relaxed) {
            seen += 1;
            serve(3);
        }
    });
    run(ioloop);
    thread.join().unwrap();
    assert!(served.get().iter().all(|&count| count >= 10));
    assert!(ioloop.remove_handler(key) && ioloop.remove_timeout(looks));
}

fn a_descriptor_that_is_always_ready_starves_nobody(poller: Poller) {
    let ioloop = poller.new_loop();
    let mut theres = Vec::new();
    for _ in 0..3 {
        let (there, busy) = readable_pair();
        theres.push(there);
        ioloop.add_handler(busy, Ready::READ | Ready::WRITE, |_, _| ()).unwrap();
    }
    serves_all(&ioloop);
}

fn a_callback_that_reposts_itself_starves_nobody(poller: Poller) {
    fn repost(ioloop: LoopHandle) {
        ioloop.clone().add_callback(move || repost(ioloop));
    }
    let ioloop = poller.new_loop();
    repost(ioloop.handle());
    serves_all(&ioloop);
}

fn a_timer_that_is_always_due_starves_nobody(poller: Poller) {
    fn again(ioloop: LoopHandle) {
        ioloop.clone().call_later(Duration::ZERO, move || again(ioloop));
    }
    let ioloop = poller.new_loop();
    again(ioloop.handle());
    serves_all(&ioloop);
}

fn a_periodic_timer_of_no_period_starves_nobody(poller: Poller) {
    let ioloop = poller.new_loop();
    ioloop.call_every(Duration::ZERO, || ());
    serves_all(&ioloop);
}

fn a_thread_that_posts_without_end_starves_nobody(poller: Poller) {
    let ioloop = poller.new_loop();
    let (remote, done) = (ioloop.remote(), Arc::new(AtomicBool::new(false)));
    let d = Arc::clone(&done);
    let thread = thread::spawn(move || {
        while !d.load(Ordering::Relaxed) {
            remote.add_callback(|| ()).unwrap();
        }
    });
    serves_all(&ioloop);
    done.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}
