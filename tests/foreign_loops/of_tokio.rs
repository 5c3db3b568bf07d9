//! Of tokio.

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
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
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
