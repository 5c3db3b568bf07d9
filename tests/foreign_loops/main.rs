//! What is peculiar to loops that are not the crate's own: that they go first, that their services
//! go from inside their callbacks, and what each of them is known for.
#![cfg(any(
    feature = "async-io",
    feature = "calloop",
    feature = "glib",
    feature = "libev",
    feature = "libevent",
    feature = "libuv",
    feature = "tokio"
))]

#[cfg(feature = "async-io")]
mod of_async_io;
#[cfg(feature = "calloop")]
mod of_calloop;
#[cfg(feature = "tokio")]
mod of_tokio;
#[path = "../support/mod.rs"]
mod support;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use haypile::{FdHandler, LoopError, Ready};
use support::hosts::ConformanceHost;
use support::{Host, every_host};

every_host!(
    posts_of_four_threads_race_with_the_end_of_the_loop,
    what_is_watched_goes_with_the_loop,
    what_a_user_adds_to_the_end_takes_nothing_from_it,
    a_panic_that_throws_another_harms_nobody,
    a_loop_that_is_run_again_goes_on,
);

/// One end of a pair of sockets, which reads what comes, or leaves it.
struct End {
    socket: UnixStream,
    reads: bool,
    calls: Cell<usize>,
    on_call: Box<dyn Fn()>,
}

impl End {
    fn pair(reads: bool, on_call: impl Fn() + 'static) -> (Rc<Self>, UnixStream) {
        let (socket, peer) = UnixStream::pair().expect("a pair");
        socket.set_nonblocking(true).expect("an option");
        let on_call = Box::new(on_call);
        (Rc::new(Self { socket, reads, calls: Cell::new(0), on_call }), peer)
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl FdHandler for End {
    fn on_ready(self: Rc<Self>, ready: Ready) -> Ready {
        self.calls.set(self.calls.get() + 1);
        let mut blocked = Ready::NONE;
        if self.reads && matches!((&self.socket).read(&mut [0; 64]), Ok(0..64) | Err(_)) {
            blocked = Ready::READ;
        }
        (self.on_call)();
        blocked & ready
    }
}

fn posts_of_four_threads_race_with_the_end_of_the_loop<H: Host>() {
    for _ in 0..20 {
        let host = H::new();
        let posts = Arc::new(());
        let threads = [(); 4].map(|()| {
            let (remote, posts) = (host.services().remote(), Arc::clone(&posts));
            thread::spawn(move || {
                loop {
                    // Four are faster than one: what waits must not grow for ever.
                    while Arc::strong_count(&posts) > 1_000 {
                        thread::yield_now();
                    }
                    let post = Arc::clone(&posts);
                    if let Err(error) = remote.add_callback(move || drop(post)) {
                        break error;
                    }
                }
            })
        });
        let stop = host.stopper();
        host.services().call_later(Duration::from_millis(2), move || stop());
        host.run();
        drop(host);
        for thread in threads {
            assert_eq!(thread.join().expect("no panic"), LoopError::Gone);
        }
        assert_eq!(Arc::strong_count(&posts), 1, "what was posted, or refused, is dropped");
    }
}

fn what_is_watched_goes_with_the_loop<H: Host>() {
    let host = H::new();
    let services = host.services();
    let (end, mut peer) = End::pair(true, host.stopper_fn());
    services.add_fd(Ready::READ, end.clone()).expect("a socket");
    peer.write_all(b"x").expect("room");
    host.run();
    assert_eq!(end.calls.get(), 1);
    drop(host);
    // Whoever holds the services holds no descriptor.
    assert_eq!(Rc::strong_count(&end), 1);
    let refused = services.add_fd(Ready::READ, end.clone()).expect_err("the loop is gone");
    let cause = refused.get_ref().and_then(|cause| cause.downcast_ref::<LoopError>());
    assert_eq!(cause, Some(&LoopError::Gone));
    services.add_callback(|| unreachable!("the loop is gone"));
    services.call_later(Duration::ZERO, || unreachable!("the loop is gone"));
    assert_eq!(services.remote().add_callback(|| ()), Err(LoopError::Gone));
}

fn what_a_user_adds_to_the_end_takes_nothing_from_it<H: Host>() {
    let host = H::new();
    let services = host.services();
    let (end, _peer) = End::pair(true, || ());
    services.add_fd(Ready::READ, end.clone()).expect("a socket");
    let order = Rc::new(RefCell::new(Vec::new()));
    for number in 0..2 {
        let order = Rc::clone(&order);
        services.core().add_on_detach(move || order.borrow_mut().push(number));
    }
    drop(host);
    assert_eq!(*order.borrow(), [0, 1]);
    assert_eq!(Rc::strong_count(&end), 1, "it is watched still");
    let late = Rc::clone(&order);
    services.core().add_on_detach(move || late.borrow_mut().push(2));
    assert_eq!((order.borrow().len(), Rc::strong_count(&order)), (2, 1));
}

/// What is thrown may panic when it is dropped.
fn a_panic_that_throws_another_harms_nobody<H: Host>() {
    struct Another;
    impl Drop for Another {
        fn drop(&mut self) {
            panic!("another");
        }
    }
    if H::UNWINDS {
        return; // it comes out of the run, and is its caller's
    }
    let host = H::new();
    let told = Rc::new(Cell::new(0));
    let tell = Rc::clone(&told);
    host.services().core().set_on_panic(move |_| tell.set(tell.get() + 1));
    host.services().add_callback(|| std::panic::panic_any(Another));
    host.services().add_callback(host.stopper_fn());
    host.run();
    assert_eq!(told.get(), 1);
}

fn a_loop_that_is_run_again_goes_on<H: Host>() {
    let host = H::new();
    let (end, mut peer) = End::pair(false, host.stopper_fn());
    let key = host.services().add_fd(Ready::READ, end.clone()).expect("a socket");
    peer.write_all(b"x").expect("room");
    // Unread, it is told again. A loop may tell more than once before it stops, and then stops at
    // once when it is run again.
    for calls in 1..=5 {
        while end.calls.get() < calls {
            host.run();
        }
    }
    host.services().remove_fd(key);
    let (calls, stop) = (end.calls.get(), host.stopper());
    let fired = Rc::new(Cell::new(false));
    let fire = Rc::clone(&fired);
    host.services().call_later(Duration::from_millis(5), move || {
        fire.set(true);
        stop();
    });
    while !fired.get() {
        host.run();
    }
    assert_eq!((end.calls.get(), Rc::strong_count(&end)), (calls, 1));
}

trait StopperFn {
    fn stopper_fn(&self) -> Box<dyn Fn()>;
}

impl<H: ConformanceHost> StopperFn for H {
    fn stopper_fn(&self) -> Box<dyn Fn()> {
        let stop = self.stopper();
        Box::new(move || stop())
    }
}

/// Services that only a callback of theirs holds, a descriptor, and what their end is noted by.
#[cfg(any(feature = "async-io", feature = "calloop", feature = "tokio"))]
fn dropped_by(services: haypile::Services) -> (Rc<Cell<bool>>, UnixStream) {
    let gone = Rc::new(Cell::new(false));
    struct Note(Rc<Cell<bool>>);
    impl Drop for Note {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let note = Note(Rc::clone(&gone));
    let slot = Rc::new(Cell::new(Some(services.clone())));
    let (end, mut peer) = End::pair(true, move || {
        // Both the services and, with them, this very handler.
        drop(slot.take());
        let _ = &note;
    });
    services.add_fd(Ready::READ, end).expect("a socket");
    peer.write_all(b"x").expect("room");
    (gone, peer)
}
