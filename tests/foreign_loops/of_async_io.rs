//! Of async-io.

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
    let (end, mut peer) = End::pair(true, move || waits.take().into_iter().for_each(Waker::wake));
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
