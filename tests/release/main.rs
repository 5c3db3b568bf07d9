//! Whatever way a connection ends, every closure that it or its loop was given is dropped, its
//! socket closed; and what is dropped may call everything.

mod bodies;
#[path = "../support/mod.rs"]
mod support;
mod watch;

use std::cell::Cell;
use std::rc::Rc;

use haypile::{Connection, SelectConnection};

use bodies::bodies_of_the_users_own_memory;
use support::peers::{Peer, dead_end, parameters_of, silent};
use support::{Host, every_host};
use watch::{Calls, Scene, Watch, fill};

every_host!(
    a_connection_that_is_closed,
    a_connection_that_is_refused,
    a_connection_that_is_aborted_while_it_resolves,
    a_connection_that_is_aborted_while_it_connects,
    a_connection_that_is_aborted_in_the_handshake,
    a_connection_whose_broker_dies,
    a_loop_that_goes_while_a_connection_resolves,
    a_loop_that_goes_while_a_connection_connects,
    a_loop_that_goes_in_the_handshake,
    a_loop_that_goes_while_a_connection_is_open,
    bodies_of_the_users_own_memory,
);

fn each(scenario: impl Fn(Calls)) {
    for calls in [Calls::Never, Calls::Always, Calls::OnceFilled] {
        println!("drops call everything: {calls:?}");
        scenario(calls);
    }
}

fn a_connection_that_is_closed<H: Host>() {
    each(|calls| {
        let peer = Peer::new(|wire| {
            wire.open();
            assert!(wire.obey());
            assert_eq!(wire.read_to_end(), 0);
        });
        let scene = Scene::<H>::new(calls, peer.parameters(), |watch, connection, _| {
            fill(watch, connection, |channel| support::close(&channel.connection()));
        });
        scene.run_and_go();
        peer.join();
    });
}

fn never(_: &Watch, _: &Connection, _: Rc<dyn Fn()>) {
    unreachable!("it is not open")
}

fn a_connection_that_is_refused<H: Host>() {
    each(|calls| Scene::<H>::new(calls, parameters_of(dead_end()), never).run_and_go());
}

fn a_connection_that_is_aborted_while_it_resolves<H: Host>() {
    each(|calls| {
        let scene = Scene::<H>::new(calls, parameters_of(dead_end()), never);
        scene.connection.close(200, "no").unwrap();
        scene.run_and_go();
    });
}

fn a_connection_that_is_aborted_while_it_connects<H: Host>() {
    each(|calls| {
        let scene = Scene::<H>::new(calls, parameters_of(silent()), never);
        scene.run_into_connecting();
        scene.connection.close(200, "no").unwrap();
        scene.run_and_go();
    });
}

/// A peer that reads the header and says nothing.
fn reserved() -> Peer {
    Peer::new(|wire| {
        wire.header();
        assert_eq!(wire.read_to_end(), 0);
    })
}

fn a_connection_that_is_aborted_in_the_handshake<H: Host>() {
    each(|calls| {
        let peer = reserved();
        let scene = Scene::<H>::new(calls, peer.parameters(), never);
        scene.run_into_handshake();
        scene.connection.close(200, "no").unwrap();
        scene.run_and_go();
        peer.join();
    });
}

fn a_connection_whose_broker_dies<H: Host>() {
    each(|calls| {
        let peer = Peer::new(|wire| {
            wire.open();
            wire.grant("channel.open");
            wire.frame();
        });
        let scene = Scene::<H>::new(calls, peer.parameters(), |watch, connection, _| {
            fill(watch, connection, |_| ());
        });
        scene.run_and_go();
        peer.join();
    });
}

fn a_loop_that_goes_while_a_connection_resolves<H: Host>() {
    each(|calls| Scene::<H>::new(calls, parameters_of(dead_end()), never).go());
}

fn a_loop_that_goes_while_a_connection_connects<H: Host>() {
    each(|calls| {
        let scene = Scene::<H>::new(calls, parameters_of(silent()), never);
        scene.run_into_connecting();
        scene.go();
    });
}

fn a_loop_that_goes_in_the_handshake<H: Host>() {
    each(|calls| {
        let peer = reserved();
        let scene = Scene::<H>::new(calls, peer.parameters(), never);
        scene.run_into_handshake();
        scene.go();
        peer.join();
    });
}

fn a_loop_that_goes_while_a_connection_is_open<H: Host>() {
    each(|calls| {
        let peer = Peer::new(|wire| {
            wire.open();
            wire.grant("channel.open");
            wire.read_to_end();
        });
        let scene = Scene::<H>::new(calls, peer.parameters(), |watch, connection, stop| {
            fill(watch, connection, move |_| stop());
        });
        scene.host.run();
        assert!(scene.connection.is_open() || calls != Calls::Never);
        scene.go();
        peer.join();
    });
}

#[test]
fn a_loop_of_its_own_goes_with_its_connection() {
    for started in [false, true] {
        let watch = Watch::default();
        let peer = reserved();
        let callbacks = watch.callbacks(never, Rc::new(|| ()));
        let connection = SelectConnection::new(peer.parameters(), callbacks).unwrap();
        if started {
            let stop = connection.ioloop().clone();
            support::once_sent((*connection).clone(), move || stop.stop());
            connection.ioloop().start().unwrap();
        }
        watch.handles.borrow_mut().connection = Some((*connection).clone());
        let ioloop = connection.ioloop().clone();
        drop(connection);
        watch.assert_all_released();
        assert_eq!(ioloop.start(), Err(haypile::LoopError::Gone.into()));
        if started {
            peer.join();
        }
    }
}

#[test]
fn a_loop_that_its_own_callback_drops_ends() {
    let watch = Watch::default();
    let peer = Peer::new(|wire| {
        wire.open();
        wire.grant("channel.open");
        wire.read_to_end();
    });
    let owner: Rc<Cell<Option<SelectConnection>>> = Rc::default();
    let dropping = Rc::clone(&owner);
    let callbacks = watch.callbacks(
        move |watch, connection, _| {
            fill(watch, connection, move |channel| {
                drop(dropping.take().expect("it is there"));
                assert!(channel.is_closed() && channel.connection().is_closed());
            });
        },
        Rc::new(|| ()),
    );
    let connection = SelectConnection::new(peer.parameters(), callbacks).unwrap();
    let ioloop = connection.ioloop().clone();
    owner.set(Some(connection));
    assert_eq!(ioloop.start(), Ok(()));
    watch.assert_all_released();
    peer.join();
}
