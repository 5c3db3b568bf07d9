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

#[cfg(feature = "async-io")]
mod of_async_io {
    use std::future::{Future, pending, poll_fn};
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::{Context, Poll, Waker};
    use std::time::Instant;

    use async_executor::LocalExecutor;
    use async_io::{Timer, block_on};
    use haypile::AsyncIoServices;

    use super::*;

    #[test]
    fn the_driver_ends_with_the_services() {
        let (services, driver) = AsyncIoServices::attach();
        let ran = Rc::new(Cell::new(false));
        let run = Rc::clone(&ran);
        let weak = services.downgrade();
        services.clone().call_later(Duration::from_millis(5), move || {
            run.set(true);
            drop(services);
        });
        block_on(driver);
        assert!(ran.get() && weak.upgrade().is_none());
    }

    #[test]
    fn services_that_nobody_holds_end_the_driver_at_once() {
        let (services, driver) = AsyncIoServices::attach();
        drop(services);
        block_on(driver);
    }

    #[test]
    fn services_go_from_inside_a_callback() {
        let (services, driver) = AsyncIoServices::attach();
        let (gone, _peer) = dropped_by(services);
        block_on(driver);
        assert!(gone.get());
    }

    #[test]
    fn a_driver_that_is_dropped_is_the_end() {
        let (services, driver) = AsyncIoServices::attach();
        let held = Rc::new(());
        let callback = Rc::clone(&held);
        services.add_callback(move || drop(callback));
        drop(driver);
        assert_eq!(Rc::strong_count(&held), 1);
        assert_eq!(services.remote().add_callback(|| ()), Err(LoopError::Gone));
    }

    #[test]
    fn the_driver_goes_from_one_executor_to_another() {
        let (services, driver) = AsyncIoServices::attach();
        let mut driver = Box::pin(driver);
        // A waker that wakes nobody is forgotten with its executor.
        assert!(driver.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let executor = LocalExecutor::new();
        executor.spawn(driver).detach();
        let waiting = Rc::new(Cell::new(None::<Waker>));
        let waits = Rc::clone(&waiting);
        let (end, mut peer) =
            End::pair(true, move || waits.take().into_iter().for_each(Waker::wake));
        services.add_fd(Ready::READ, end.clone()).expect("a socket");
        // It writes once the executor has been run, and nobody but the driver wakes that.
        let (tell, told) = mpsc::channel();
        let writer = thread::spawn(move || {
            told.recv().expect("the executor runs");
            peer.write_all(b"x").expect("room");
            peer
        });
        let until = poll_fn(|context| {
            if end.calls.get() > 0 {
                return Poll::Ready(());
            }
            waiting.set(Some(context.waker().clone()));
            let _ = tell.send(());
            Poll::Pending
        });
        block_on(executor.run(until));
        drop(writer.join());
    }

    #[test]
    fn beside_it_other_tasks_run_while_a_descriptor_is_always_ready() {
        let (services, driver) = AsyncIoServices::attach();
        let (end, mut peer) = End::pair(false, || ());
        services.add_fd(Ready::READ, end.clone()).expect("a socket");
        peer.write_all(b"x").expect("room");
        let executor = LocalExecutor::new();
        executor.spawn(driver).detach();
        let begun = Instant::now();
        // It is told again and again, and this task has its turn.
        block_on(executor.run(async {
            while end.calls.get() < 2 {
                Timer::after(Duration::from_millis(1)).await;
                assert!(begun.elapsed() < Duration::from_secs(60), "{}", end.calls.get());
            }
        }));
        // What was woken and is not polled any more does no harm.
        drop(executor);
        assert_eq!(Rc::strong_count(&end), 1);
        let mut never = pin!(pending::<()>());
        assert!(never.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
}

#[cfg(feature = "calloop")]
mod of_calloop {
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
}

#[cfg(feature = "tokio")]
mod of_tokio {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use tokio::runtime::{Builder, LocalOptions};
    use tokio::sync::oneshot;
    use tokio::task::{LocalSet, yield_now};

    use haypile::{ConnectionCallbacks, ConnectionParameters, IOLoop};
    use haypile::{TokioConnection, TokioServices};

    use crate::support::peers::Peer;

    use super::*;

    #[test]
    fn services_go_from_inside_a_callback() {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, async {
            let (gone, _peer) = dropped_by(TokioServices::attach());
            while !gone.get() {
                yield_now().await;
            }
        });
    }

    #[test]
    fn a_connection_needs_nobody_to_hold_it() {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, async {
            let peer = Peer::new(|wire| {
                wire.open();
                wire.obey();
            });
            let (tell, closed) = oneshot::channel();
            let callbacks = ConnectionCallbacks::new()
                .on_open(|connection| connection.close(200, "bye").expect("it is open"))
                .on_close(move |_, reason| drop(tell.send(reason)));
            drop(TokioConnection::new(peer.parameters(), callbacks));
            closed.await.expect("it was told");
            peer.join();
        });
    }

    /// Not later, when it would be the end of the connections alone.
    #[test]
    fn a_runtime_without_time_or_io_is_refused_at_once() {
        let attaches = |builder: &mut Builder| {
            let runtime = builder.build().expect("a runtime");
            let attach = || {
                LocalSet::new().block_on(&runtime, async { drop(TokioServices::attach()) });
            };
            catch_unwind(AssertUnwindSafe(attach)).is_ok()
        };
        assert!(attaches(Builder::new_current_thread().enable_all()));
        assert!(!attaches(Builder::new_current_thread().enable_io()));
        assert!(!attaches(Builder::new_current_thread().enable_time()));
    }

    #[test]
    fn a_connection_gives_its_runtime() {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let parameters = ConnectionParameters::new("127.0.0.1");
        LocalSet::new().block_on(&runtime, async {
            let connection = TokioConnection::new(parameters.clone(), ConnectionCallbacks::new());
            let own = connection.runtime().expect("it runs");
            assert_eq!(own.id(), runtime.handle().id());
            haypile::BaseConnection::services(&connection).core().detach();
            assert!(connection.runtime().is_none());
        });
        let ioloop = IOLoop::new().expect("a loop");
        let callbacks = ConnectionCallbacks::new();
        let elsewhere = TokioConnection::with_services(parameters, callbacks, ioloop.services());
        assert!(elsewhere.runtime().is_none());
    }

    #[test]
    fn a_local_runtime_does_as_well_as_a_local_set() {
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        let runtime = runtime.expect("a runtime");
        let services = runtime.block_on(async {
            let services = TokioServices::attach();
            let (end, mut peer) = End::pair(true, || ());
            services.add_fd(Ready::READ, end.clone()).expect("a socket");
            peer.write_all(b"x").expect("room");
            while end.calls.get() == 0 {
                yield_now().await;
            }
            services
        });
        drop(runtime);
        assert_eq!(services.remote().add_callback(|| ()), Err(LoopError::Gone));
    }

    #[test]
    fn descriptors_are_added_from_outside_the_runtime_too() {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let tasks = LocalSet::new();
        let services = tasks.block_on(&runtime, async { TokioServices::attach() });
        let (end, mut peer) = End::pair(true, || ());
        services.add_fd(Ready::READ, end.clone()).expect("a socket");
        peer.write_all(b"x").expect("room");
        tasks.block_on(&runtime, async {
            while end.calls.get() == 0 {
                yield_now().await;
            }
        });
    }
}
