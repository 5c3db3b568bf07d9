//! Nothing is left on a loop that is dropped, and what is dropped may call anything.

use std::cell::{Cell, RefCell};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use haypile::{LoopHandle, Ready};

use crate::pollers::{Poller, every_poller};
use crate::tools::{Drops, OnDrop, keep, run};

every_poller!(
    the_drop_of_the_loop_drops_all_that_is_on_it,
    a_loop_that_is_gone_drops_what_it_is_given,
    what_is_dropped_with_the_loop_may_call_everything,
    what_is_dropped_by_removal_and_after_the_call_may_call_everything,
);

fn the_drop_of_the_loop_drops_all_that_is_on_it(poller: Poller) {
    let ioloop = poller.new_loop();
    let drops = Drops::default();
    // A closure may hold the loop's services, though they hold the loop.
    let held = || (drops.probe(), ioloop.services().clone(), ioloop.handle());
    let (callback, timer, handler, lookup) = (held(), held(), held(), held());
    let (connecting, connected, remote) = (held(), held(), drops.0.clone());
    ioloop.add_callback(move || drop(callback));
    ioloop.call_later(Duration::from_secs(3600), move || drop(timer));
    let (there, here) = UnixStream::pair().unwrap();
    ioloop.add_handler(here, Ready::READ, move |_, _| keep(&handler)).unwrap();
    ioloop.services().resolve("127.0.0.1", 1, Box::new(move |_| drop(lookup)));
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let timeout = Some(Duration::from_secs(3600));
    ioloop.services().connect_socket(address, timeout, move |_| drop(connecting));
    // At once an error, which is posted.
    let broadcast = "255.255.255.255:1".parse().unwrap();
    ioloop.services().connect_socket(broadcast, timeout, move |_| drop(connected));
    drop(ioloop);
    assert_eq!(drops.count(), 6);
    assert_eq!(Rc::strong_count(&remote), 2);
    let mut byte = [0];
    assert_eq!(std::io::Read::read(&mut &there, &mut byte).unwrap(), 0);
}

fn a_loop_that_is_gone_drops_what_it_is_given(poller: Poller) {
    let ioloop = poller.new_loop();
    let (handle, services) = (ioloop.handle(), ioloop.services().clone());
    let late = ioloop.call_later(Duration::ZERO, || ());
    drop(ioloop);
    for _ in 0..2 {
        // First with what holds the adapter, then without.
        let drops = Drops::default();
        let probe = drops.probe();
        handle.add_callback(move || drop(probe));
        let probe = drops.probe();
        let id = handle.call_later(Duration::ZERO, move || drop(probe));
        assert!(!handle.remove_timeout(id) && !handle.remove_timeout(late));
        let probe = drops.probe();
        let stream = UnixStream::pair().unwrap().0;
        assert!(handle.add_handler(stream, Ready::READ, move |_, _| keep(&probe)).is_err());
        handle.stop();
        assert_eq!(drops.count(), 3);
    }
    let drops = Drops::default();
    let probe = drops.probe();
    let lookup = services.resolve("localhost", 1, Box::new(move |_| drop(probe)));
    let probe = drops.probe();
    let broadcast = "255.255.255.255:1".parse().unwrap();
    let attempt = services.connect_socket(broadcast, None, move |_| drop(probe));
    assert_eq!(drops.count(), 2);
    lookup.cancel();
    attempt.cancel();
    drop(services);
    assert!(handle.services().is_none());
}

/// Calls everything, and is kept by everything.
fn caller(handle: &LoopHandle, calls: &Rc<Cell<usize>>) -> OnDrop<impl FnMut() + use<>> {
    let (handle, calls) = (handle.clone(), Rc::clone(calls));
    let stale = RefCell::new(Vec::new());
    OnDrop(move || {
        calls.set(calls.get() + 1);
        handle.add_callback(|| ());
        let id = handle.call_later(Duration::ZERO, || ());
        handle.remove_timeout(id);
        let stream = UnixStream::pair().unwrap().0;
        if let Ok(key) = handle.add_handler(stream, Ready::READ, |_, _| ()) {
            handle.remove_handler(key);
            stale.borrow_mut().push(key);
        }
        let _ = handle.remote().add_callback(|| ());
        if let Some(services) = handle.services() {
            services.resolve("127.0.0.1", 1, Box::new(|_| ()));
            services.connect_socket("127.0.0.1:1".parse().unwrap(), None, |_| ()).cancel();
        }
        handle.stop();
    })
}

fn what_is_dropped_with_the_loop_may_call_everything(poller: Poller) {
    let ioloop = poller.new_loop();
    let (handle, calls) = (ioloop.handle(), Rc::default());
    let held = || caller(&handle, &calls);
    for _ in 0..2 {
        let (callback, timer, handler, lookup, connecting) =
            (held(), held(), held(), held(), held());
        ioloop.add_callback(move || drop(callback));
        ioloop.call_later(Duration::from_secs(3600), move || drop(timer));
        let stream = UnixStream::pair().unwrap().0;
        ioloop.add_handler(stream, Ready::READ, move |_, _| keep(&handler)).unwrap();
        let services = ioloop.services();
        services.resolve("127.0.0.1", 1, Box::new(move |_| drop(lookup)));
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        services.connect_socket(address, None, move |_| drop(connecting));
    }
    drop(ioloop);
    assert_eq!(calls.get(), 10);
}

fn what_is_dropped_by_removal_and_after_the_call_may_call_everything(poller: Poller) {
    let ioloop = poller.new_loop();
    let (handle, calls) = (ioloop.handle(), Rc::default());
    let held = || caller(&handle, &calls);
    let (callback, timer, removed, handler) = (held(), held(), held(), held());
    ioloop.add_callback(move || drop(callback));
    ioloop.call_later(Duration::ZERO, move || drop(timer));
    let id = ioloop.call_later(Duration::ZERO, move || drop(removed));
    assert!(ioloop.remove_timeout(id));
    let (_there, here) = UnixStream::pair().unwrap();
    let key = Rc::new(Cell::new(None));
    let k = Rc::clone(&key);
    let remove = move |ioloop: &LoopHandle, _| {
        let _ = &handler;
        ioloop.remove_handler(k.get().unwrap());
    };
    key.set(Some(ioloop.add_handler(here, Ready::WRITE, remove).unwrap()));
    let replaced = held();
    ioloop.services().core().set_on_panic(move |_| keep(&replaced));
    ioloop.services().core().set_on_panic(|_| ());
    // `caller` stops the loop, here before the start and then in its first turn.
    run(&ioloop);
    run(&ioloop);
    assert_eq!(calls.get(), 5);
}
