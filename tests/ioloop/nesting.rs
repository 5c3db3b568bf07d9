//! A loop inside of another one, by its descriptor.

use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use haypile::{IOLoop, LoopHandle, Ready};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::pollers::{Poller, every_poller};
use crate::tools::{MS, Trace, keep, readable_pair, run};

every_poller!(
    a_queue_has_a_descriptor_and_lists_have_none,
    the_descriptor_is_readable_while_there_is_something_to_take,
    a_bare_poll_drives_the_loop,
    a_loop_runs_inside_of_another,
);

fn a_queue_has_a_descriptor_and_lists_have_none(poller: Poller) {
    assert_eq!(poller.new_loop().poll_fd().is_some(), poller.has_queue());
}

fn readable(fd: BorrowedFd<'_>) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&now)).unwrap() == 1
}

fn the_descriptor_is_readable_while_there_is_something_to_take(poller: Poller) {
    let ioloop = poller.new_loop();
    let Some(fd) = ioloop.poll_fd() else { return assert!(!poller.has_queue()) };
    let turn = || assert_eq!(ioloop.run_once(Some(Duration::ZERO)), Ok(true));
    assert!(!readable(fd));
    // A post of another thread, until its turn.
    for _ in 0..3 {
        let remote = ioloop.remote();
        thread::spawn(move || remote.add_callback(|| ()).unwrap()).join().unwrap();
        assert!(readable(fd));
        turn();
        assert!(!readable(fd), "and would spin");
    }
    // A descriptor, until it is not ready or not watched.
    let (_there, here) = readable_pair();
    let key = ioloop.add_handler(here, Ready::READ, |_, _| ()).unwrap();
    for _ in 0..3 {
        assert!(readable(fd));
        turn();
    }
    ioloop.update_handler(key, Ready::NONE).unwrap();
    assert!(!readable(fd));
    ioloop.update_handler(key, Ready::READ).unwrap();
    assert!(readable(fd));
    assert!(ioloop.remove_handler(key));
    assert!(!readable(fd));
    // Waits that have had a deadline leave nothing.
    ioloop.call_later(MS, || ());
    while ioloop.time_to_deadline().is_some() {
        assert_eq!(ioloop.run_once(None), Ok(true));
    }
    turn();
    assert!(!readable(fd));
}

/// Puts to `trace` what each kind of source brings, and stops after the last.
fn sources(ioloop: &IOLoop, trace: &Trace<&'static str>) -> thread::JoinHandle<()> {
    let (there, here) = readable_pair();
    let (t, handle) = (trace.clone(), ioloop.handle());
    let key = Rc::new(std::cell::Cell::new(None));
    let k = Rc::clone(&key);
    let handler = move |ioloop: &LoopHandle, _| {
        keep(&there);
        t.add("handler");
        assert!(ioloop.remove_handler(k.get().unwrap()));
        let (t, h) = (t.clone(), handle.clone());
        ioloop.call_later(2 * MS, move || {
            t.add("timer");
            h.add_callback(move || t.add("callback"));
        });
    };
    key.set(Some(ioloop.add_handler(here, Ready::READ, handler).unwrap()));
    let remote = ioloop.remote();
    thread::spawn(move || remote.add_callback(|| ()).unwrap())
}

fn a_bare_poll_drives_the_loop(poller: Poller) {
    let ioloop = poller.new_loop();
    let Some(fd) = ioloop.poll_fd() else { return assert!(!poller.has_queue()) };
    let trace = Trace::new();
    let thread = sources(&ioloop, &trace);
    while trace.len() < 3 {
        let left = ioloop.time_to_deadline().unwrap_or(Duration::from_secs(20));
        let left = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() };
        poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&left)).unwrap();
        assert_eq!(ioloop.run_once(Some(Duration::ZERO)), Ok(true));
    }
    assert_eq!(trace.take(), ["handler", "timer", "callback"]);
    thread.join().unwrap();
}

/// The inner loop as a descriptor of the outer one.
struct Inner(Rc<IOLoop>);

impl AsFd for Inner {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.poll_fd().unwrap()
    }
}

/// A turn of the inner loop, and the outer loop's timer for what that waits for.
fn turn(inner: &Rc<IOLoop>, outer: &LoopHandle, trace: &Trace<&'static str>) {
    assert_eq!(inner.run_once(Some(Duration::ZERO)), Ok(true));
    if trace.len() == 3 {
        outer.stop();
    } else if let Some(left) = inner.time_to_deadline() {
        let (inner, handle, trace) = (Rc::clone(inner), outer.clone(), trace.clone());
        outer.call_later(left, move || turn(&inner, &handle, &trace));
    }
}

fn a_loop_runs_inside_of_another(poller: Poller) {
    for inner in Poller::ALL.into_iter().filter(|inner| inner.has_queue()) {
        let (outer, inner) = (poller.new_loop(), Rc::new(inner.new_loop()));
        let trace = Trace::new();
        let thread = sources(&inner, &trace);
        let (i, t) = (Rc::clone(&inner), trace.clone());
        let on_ready = move |outer: &LoopHandle, _| turn(&i, outer, &t);
        outer.add_handler(Inner(Rc::clone(&inner)), Ready::READ, on_ready).unwrap();
        run(&outer);
        assert_eq!(trace.take(), ["handler", "timer", "callback"]);
        thread.join().unwrap();
    }
}
