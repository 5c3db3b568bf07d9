//! Of calloop.

use std::io;
use std::time::Instant;

use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, Interest, LoopHandle, Mode};
use haypile::conformance::tools::readable_pair;
use haypile::{CalloopConnection, CalloopServices, Services};
use haypile::{ConnectionCallbacks, ConnectionParameters, IOLoop};

use super::*;

/// A loop, and services on it.
fn new_loop() -> (EventLoop<'static, ()>, Services) {
    let event_loop = EventLoop::try_new().expect("a loop");
    let services = CalloopServices::attach(&event_loop.handle()).expect("its sources");
    (event_loop, services)
}

/// Dispatches until it holds.
fn dispatch_until(event_loop: &mut EventLoop<'static, ()>, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never holds");
        event_loop.dispatch(Duration::from_secs(1), &mut ()).expect("a dispatch");
    }
}

#[test]
fn services_go_from_inside_a_callback() {
    let (mut event_loop, services) = new_loop();
    let (gone, _peer) = dropped_by(services);
    dispatch_until(&mut event_loop, || gone.get());
    event_loop.dispatch(Duration::ZERO, &mut ()).expect("a dispatch");
}

#[test]
fn services_go_from_inside_a_timer() {
    let (mut event_loop, services) = new_loop();
    let weak = services.downgrade();
    services.clone().call_later(Duration::ZERO, move || drop(services));
    dispatch_until(&mut event_loop, || weak.upgrade().is_none());
    event_loop.dispatch(Duration::ZERO, &mut ()).expect("a dispatch");
}

#[test]
fn a_connection_gives_its_loop() {
    let (event_loop, services) = new_loop();
    let connect = |services: &Services| {
        let parameters = ConnectionParameters::new("127.0.0.1");
        CalloopConnection::with_services(parameters, ConnectionCallbacks::new(), services)
    };
    let connection = connect(&services);
    let called = Rc::new(Cell::new(false));
    let call = Rc::clone(&called);
    let handle = connection.loop_handle::<()>().expect("it runs");
    handle.insert_idle(move |()| call.set(true));
    let mut event_loop = event_loop;
    event_loop.dispatch(Duration::ZERO, &mut ()).expect("a dispatch");
    assert!(called.get());
    assert!(connection.loop_handle::<u32>().is_none(), "its data are of another type");
    drop(handle);
    services.core().detach();
    assert!(connection.loop_handle::<()>().is_none());
    let elsewhere = connect(IOLoop::new().expect("a loop").services());
    assert!(elsewhere.loop_handle::<()>().is_none());
}

#[test]
fn a_handle_that_outlives_the_loop_works_no_more() {
    let (event_loop, services) = new_loop();
    let handle = event_loop.handle().downgrade();
    drop(event_loop);
    assert!(handle.upgrade().is_none(), "the services hold it weakly");
    assert_eq!(services.remote().add_callback(|| ()), Err(LoopError::Gone));
}

#[test]
fn a_hang_up_that_nobody_wants_to_know_of_does_not_spin() {
    let (mut event_loop, services) = new_loop();
    let (end, peer) = End::pair(true, || ());
    let key = services.add_fd(Ready::READ, end.clone()).expect("a socket");
    services.modify_fd(key, Ready::NONE).expect("its key");
    drop(peer);
    let wait = |event_loop: &mut EventLoop<'static, ()>| {
        let begun = Instant::now();
        event_loop.dispatch(Duration::from_millis(20), &mut ()).expect("a dispatch");
        begun.elapsed() >= Duration::from_millis(20)
    };
    // It is told of once, which ends one wait, and of which the handler hears nothing.
    wait(&mut event_loop);
    assert!(wait(&mut event_loop) && wait(&mut event_loop));
    assert_eq!(end.calls.get(), 0);
    services.modify_fd(key, Ready::READ).expect("its key");
    event_loop.dispatch(Duration::from_secs(60), &mut ()).expect("a dispatch");
    assert_eq!(end.calls.get(), 1);
}

#[test]
fn a_handler_changes_what_it_is_watched_for() {
    let (mut event_loop, services) = new_loop();
    let key = Rc::new(Cell::new(None));
    let (changing, weak) = (Rc::clone(&key), services.downgrade());
    let (end, mut peer) = End::pair(false, move || {
        let services = weak.upgrade().expect("they are held");
        let key = changing.get().expect("it is added");
        services.modify_fd(key, Ready::NONE).expect("its key");
    });
    key.set(Some(services.add_fd(Ready::READ, end.clone()).expect("a socket")));
    peer.write_all(b"x").expect("room");
    for _ in 0..5 {
        event_loop.dispatch(Duration::from_millis(5), &mut ()).expect("a dispatch");
    }
    assert_eq!(end.calls.get(), 1);
}

#[test]
fn a_timer_that_is_moved_in_the_batch_it_is_due_in_neither_fires_twice_nor_never() {
    let (mut event_loop, services) = new_loop();
    let fired = Rc::new(Cell::new(0));
    let count = Rc::clone(&fired);
    let timer = services.add_timeout(Instant::now(), move || count.set(count.get() + 1));
    let weak = services.downgrade();
    let (end, mut peer) = End::pair(true, move || {
        let services = weak.upgrade().expect("they are held");
        assert!(services.reset_timeout(timer, Instant::now() + Duration::from_millis(20)));
    });
    services.add_fd(Ready::READ, end).expect("a socket");
    peer.write_all(b"x").expect("room");
    let begun = Instant::now();
    dispatch_until(&mut event_loop, || fired.get() > 0);
    assert!(begun.elapsed() >= Duration::from_millis(20));
    event_loop.dispatch(Duration::from_millis(20), &mut ()).expect("a dispatch");
    assert_eq!(fired.get(), 1);
}

/// calloop forgets all that was due in it. Of a connection's socket, something comes.
#[test]
fn after_a_dispatch_that_the_host_ends_by_an_error_the_next_event_finds_what_was_due() {
    let (mut event_loop, services) = new_loop();
    let (end, mut peer) = End::pair(true, || ());
    services.add_fd(Ready::READ, end).expect("a socket");
    let (_there, failing) = readable_pair();
    let failing = Generic::new(failing, Interest::READ, Mode::Level);
    let fails = |_, _: &mut _, (): &mut ()| Err(io::Error::other("of the host's"));
    let failing = event_loop.handle().insert_source(failing, fails).expect("a source");
    let came = Rc::new(Cell::new(0));
    let come = || {
        let came = Rc::clone(&came);
        move || came.set(came.get() + 1)
    };
    services.add_callback(come());
    services.call_later(Duration::ZERO, come());
    event_loop.dispatch(Duration::ZERO, &mut ()).expect_err("the host's source has failed");
    event_loop.handle().remove(failing);
    peer.write_all(b"x").expect("room");
    event_loop.dispatch(Duration::from_secs(60), &mut ()).expect("a dispatch");
    assert_eq!(came.get(), 2);
    services.call_later(Duration::ZERO, come());
    dispatch_until(&mut event_loop, || came.get() == 3);
}

#[test]
fn beside_it_the_loops_own_sources_run() {
    fn repeat(handle: &LoopHandle<'static, u32>) {
        let again = |_: Instant, (): &mut (), count: &mut u32| {
            *count += 1;
            TimeoutAction::ToDuration(Duration::from_millis(1))
        };
        handle.insert_source(Timer::immediate(), again).expect("a source");
    }
    let mut event_loop: EventLoop<'static, u32> = EventLoop::try_new().expect("a loop");
    let services = CalloopServices::attach(&event_loop.handle()).expect("its sources");
    repeat(&event_loop.handle());
    let (end, mut peer) = End::pair(false, || ());
    services.add_fd(Ready::READ, end.clone()).expect("a socket");
    peer.write_all(b"x").expect("room");
    let (begun, mut count) = (Instant::now(), 0);
    while count < 2 || end.calls.get() < 2 {
        event_loop.dispatch(None, &mut count).expect("a dispatch");
        assert!(begun.elapsed() < Duration::from_secs(60), "{count} {}", end.calls.get());
    }
}
