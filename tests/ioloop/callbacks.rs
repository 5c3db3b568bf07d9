use std::cell::Cell;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use haypile::{IOLoop, LoopError, LoopHandle, Ready};

use crate::{Trace, run};

#[test]
fn callbacks_run_in_order_never_inside_the_call_that_adds_them() {
    let ioloop = IOLoop::new().unwrap();
    let trace = Trace::new();
    for number in 0..3 {
        let t = trace.clone();
        ioloop.add_callback(move || t.add(number));
    }
    assert_eq!(trace.take(), []);
    let handle = ioloop.handle();
    ioloop.add_callback(move || handle.stop());
    run(&ioloop);
    assert_eq!(trace.take(), [0, 1, 2]);
}

#[test]
fn callbacks_run_as_a_snapshot() {
    let ioloop = IOLoop::new().unwrap();
    let (trace, handle) = (Trace::new(), ioloop.handle());
    let t = trace.clone();
    ioloop.add_callback(move || {
        let (inner, h) = (t.clone(), handle.clone());
        handle.add_callback(move || {
            inner.add("added by a callback");
            h.stop();
        });
        t.add("callback");
    });
    let t = trace.clone();
    ioloop.call_later(Duration::ZERO, move || t.add("timer"));
    run(&ioloop);
    assert_eq!(trace.take(), ["callback", "timer", "added by a callback"]);
}

#[test]
fn a_callback_that_reposts_itself_starves_nobody() {
    fn repost(ioloop: LoopHandle) {
        ioloop.clone().add_callback(move || repost(ioloop));
    }
    let ioloop = IOLoop::new().unwrap();
    let (mut there, here) = UnixStream::pair().unwrap();
    let seen = Rc::new(Cell::new(Ready::NONE));
    repost(ioloop.handle());
    let s = Rc::clone(&seen);
    let done = move |ioloop: &LoopHandle, what| {
        s.set(s.get() | what);
        if s.get().contains(Ready::READ | Ready::WRITE) {
            ioloop.stop();
        }
    };
    there.write_all(b"x").unwrap();
    let d = done.clone();
    ioloop.add_handler(here, Ready::READ, move |ioloop, ready| d(ioloop, ready)).unwrap();
    let handle = ioloop.handle();
    ioloop.call_later(Duration::from_millis(1), move || done(&handle, Ready::WRITE));
    run(&ioloop);
}

#[test]
fn posts_of_many_threads_come_complete_and_in_order_of_each() {
    const THREADS: usize = 4;
    const POSTS: usize = 25_000;
    let ioloop = IOLoop::new().unwrap();
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

#[test]
fn a_post_wakes_a_loop_that_sleeps() {
    let ioloop = IOLoop::new().unwrap();
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

#[test]
fn a_post_before_start_and_after_the_drop() {
    let ioloop = IOLoop::new().unwrap();
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
