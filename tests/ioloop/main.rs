//! The event loop, through the public API only. Nothing sleeps: where time must pass, the loop
//! waits for it.

#![allow(clippy::unwrap_used)]

mod callbacks;
mod connecting;
mod drops;
mod fds;
mod host;
mod panics;
mod resolving;
mod start_stop;
mod syscalls;
mod timers;

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use haypile::IOLoop;

/// Runs the loop until something stops it. A loop that hangs fails the test.
fn run(ioloop: &IOLoop) {
    let watchdog = ioloop.call_later(Duration::from_secs(20), || panic!("the loop hangs"));
    ioloop.start().unwrap();
    assert!(ioloop.remove_timeout(watchdog));
}

/// Runs what can be run without waiting for anything but the clock, for some turns.
fn run_turns(ioloop: &IOLoop, turns: usize) {
    fn next(ioloop: haypile::LoopHandle, turns: usize) {
        match turns {
            0 => ioloop.stop(),
            _ => ioloop.clone().add_callback(move || next(ioloop, turns - 1)),
        }
    }
    let ioloop_handle = ioloop.handle();
    ioloop.add_callback(move || next(ioloop_handle, turns));
    run(ioloop);
}

/// The message of the panic that comes out of `start`.
fn start_panics(ioloop: &IOLoop) -> String {
    let payload = catch_unwind(AssertUnwindSafe(|| ioloop.start())).unwrap_err();
    (*payload.downcast_ref::<&str>().unwrap()).to_owned()
}

/// What happened, in order.
#[derive(Clone)]
struct Trace<T>(Rc<RefCell<Vec<T>>>);

impl<T: Clone + Debug + PartialEq> Trace<T> {
    fn new() -> Self {
        Self(Rc::default())
    }

    fn add(&self, item: T) {
        self.0.borrow_mut().push(item);
    }

    fn take(&self) -> Vec<T> {
        self.0.take()
    }
}

/// Counts its drops.
#[derive(Clone, Default)]
struct Drops(Rc<Cell<usize>>);

impl Drops {
    fn probe(&self) -> Probe {
        Probe(Rc::clone(&self.0))
    }

    fn count(&self) -> usize {
        self.0.get()
    }
}

struct Probe(Rc<Cell<usize>>);

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// Calls a closure when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Has a closure capture what it does not use.
fn keep<T>(_: &T) {}
