//! The system calls of what an adapter does over and over, counted exactly on every loop: as many as
//! that loop makes by itself for the same. `bench adapters` counts those beside these.

mod support;

use std::cell::{Cell, OnceCell};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use haypile::{FdHandler, Interest, Ready, Services};
use support::Host;
use support::hosts::{every_c_loop, on_host};
use support::strace::{assert_at_most, assert_calls_a_round, rounds};

// Not on async-io, of which a thread of its own takes part when it finds the time.
on_host!(on_select: Select, a_hop a_timer a_wake);
#[cfg(feature = "calloop")]
on_host!(on_calloop: Calloop, a_hop a_timer a_wake);
#[cfg(feature = "tokio")]
on_host!(on_tokio: Tokio, a_hop a_timer a_wake);
every_c_loop!(a_hop, a_timer, a_wake);

/// Has `count` run the test of that name in processes of its own, in which it runs `scenario`.
fn counted<H: Host>(name: &str, count: impl FnOnce(&str), scenario: impl FnOnce(&H, usize)) {
    match rounds() {
        Some(rounds) => scenario(&H::new(), rounds),
        None => count(&format!("on_{}::{name}", H::NAME.replace('-', "_"))),
    }
}

/// A byte that goes to and fro over a socket pair: a wait, a read, a write.
fn a_hop<H: Host>() {
    let count = |child: &str| assert_calls_a_round(child, H::CALLS.wait + 2.0);
    counted::<H>("a_hop", count, |host, rounds| {
        let left = Rc::new(Cell::new(rounds));
        let (one, other) = UnixStream::pair().unwrap();
        (&one).write_all(b"x").unwrap();
        for end in [one, other] {
            let hop = Hop { end, left: Rc::clone(&left), stop: host.stopper() };
            host.services().add_fd(Interest::READ, Rc::new(hop)).unwrap();
        }
        host.run();
    });
}

struct Hop {
    end: UnixStream,
    left: Rc<Cell<usize>>,
    stop: Rc<dyn Fn()>,
}

impl AsFd for Hop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

impl FdHandler for Hop {
    fn on_ready(self: Rc<Self>, ready: Ready) -> Ready {
        let mut byte = [0];
        (&self.end).read_exact(&mut byte).unwrap();
        (&self.end).write_all(&byte).unwrap();
        self.left.set(self.left.get() - 1);
        if self.left.get() == 0 {
            (self.stop)();
        }
        ready
    }
}

/// A timer that is due, set by the one before: a turn of the loop.
fn a_timer<H: Host>() {
    fn next(services: &Services, left: usize, stop: Rc<dyn Fn()>) {
        let again = services.clone();
        services.add_timeout(Instant::now(), move || match left {
            0 => stop(),
            _ => next(&again, left - 1, stop),
        });
    }
    let count = |child: &str| assert_calls_a_round(child, H::CALLS.timer);
    counted::<H>("a_timer", count, |host, rounds| {
        next(&host.services(), rounds, host.stopper());
        host.run();
    });
}

/// A post to a loop that waits, by a thread that waits in turn until it has been called: a byte there,
/// and one back by which that thread knows, which it reads.
fn a_wake<H: Host>() {
    thread_local! {
        static STOP: OnceCell<Rc<dyn Fn()>> = const { OnceCell::new() };
    }
    let count = |child: &str| assert_at_most(child, H::CALLS.wake + 2.0);
    counted::<H>("a_wake", count, |host, rounds| {
        assert!(STOP.with(|stop| stop.set(host.stopper()).is_ok()));
        let (called, mut caller) = UnixStream::pair().unwrap();
        let (called, remote) = (Arc::new(called), host.services().remote());
        let poster = std::thread::spawn(move || {
            for left in (0..rounds).rev() {
                let called = Arc::clone(&called);
                let callback = move || {
                    (&*called).write_all(b"x").unwrap();
                    if left == 0 {
                        STOP.with(|stop| stop.get().unwrap()());
                    }
                };
                remote.add_callback(callback).unwrap();
                caller.read_exact(&mut [0]).unwrap();
            }
        });
        host.run();
        poster.join().unwrap();
    });
}
