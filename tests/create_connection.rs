//! Connections whose kind is chosen when the program runs.

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use haypile::{
    ConnectionCallbacks, ConnectionKind, ConnectionParameters, ConnectionWorkflow, Error,
    ParametersError, create_connection,
};
use support::peers::{Peer, dead_end, parameters_of};
use support::{Host, every_host};

every_host!(on_the_services_of_any_loop);

/// A broker that opens and closes, behind a host that takes no connection.
fn hosts() -> (Peer, ConnectionWorkflow) {
    let peer = Peer::new(|wire| {
        wire.open();
        assert!(wire.obey());
    });
    let hosts: [ConnectionParameters; 2] = [parameters_of(dead_end()), peer.parameters()];
    let workflow = ConnectionWorkflow::from(hosts.to_vec());
    (peer, workflow)
}

/// Closes what has opened; notes the end.
fn callbacks(stop: Rc<dyn Fn()>) -> (ConnectionCallbacks, Rc<RefCell<Vec<Error>>>) {
    let ends = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&ends);
    let callbacks =
        ConnectionCallbacks::new().on_open(support::close).on_close(move |connection, reason| {
            assert!(connection.is_closed());
            noted.borrow_mut().push(reason);
            stop();
        });
    (callbacks, ends)
}

fn assert_closed(ends: &RefCell<Vec<Error>>) {
    assert!(matches!(ends.take()[..], [Error::ConnectionClosed(_)]));
}

fn on_the_services_of_any_loop<H: Host>() {
    let host = H::new();
    let (peer, workflow) = hosts();
    let (callbacks, ends) = callbacks(host.stopper());
    let connection = create_connection(host.services(), workflow, callbacks).expect("a loop");
    assert!(connection.ioloop().is_none() && !connection.is_open());
    assert!(Rc::ptr_eq(connection.services().core(), host.services().core()));
    host.run();
    assert_closed(&ends);
    peer.join();
}

#[test]
fn on_a_loop_of_its_own() {
    let (peer, workflow) = hosts();
    let stop: Rc<RefCell<Option<haypile::LoopHandle>>> = Rc::default();
    let ioloop = Rc::clone(&stop);
    let (callbacks, ends) = callbacks(Rc::new(move || ioloop.borrow().as_ref().unwrap().stop()));
    let kind: ConnectionKind = "select".parse().expect("a kind");
    let connection = create_connection(kind, workflow, callbacks).expect("a loop");
    let ioloop = connection.ioloop().expect("its own");
    stop.replace(Some(ioloop.clone()));
    ioloop.start().expect("no error");
    assert_closed(&ends);
    peer.join();
}

#[cfg(feature = "tokio")]
#[test]
fn on_the_local_set_that_runs() {
    let (peer, workflow) = hosts();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let done = Rc::new(tokio::sync::Notify::new());
        let stop = Rc::clone(&done);
        let (callbacks, ends) = callbacks(Rc::new(move || stop.notify_one()));
        let kind: ConnectionKind = "tokio".parse().expect("a kind");
        let connection = create_connection(kind, workflow, callbacks).expect("a loop");
        assert!(connection.ioloop().is_none());
        done.notified().await;
        assert_closed(&ends);
    });
    peer.join();
}

#[cfg(feature = "tokio")]
#[test]
fn a_kind_whose_loop_does_not_run_is_told() {
    let (callbacks, _) = callbacks(Rc::new(|| ()));
    let kind: ConnectionKind = "tokio".parse().expect("a kind");
    let refused = create_connection(kind, parameters_of(dead_end()), callbacks);
    let error = Error::Parameters(ParametersError::KindNotRunning { kind: "tokio" });
    assert_eq!(refused.err(), Some(error));
}

#[test]
fn a_kind_that_cannot_be_made_by_its_name_is_told() {
    let parse = |name: &str| name.parse::<ConnectionKind>().expect_err("no such kind");
    assert_eq!(parse("twisted"), ParametersError::UnknownKind("twisted".into()));
    let needs_services = [
        ("async-io", cfg!(feature = "async-io")),
        ("calloop", cfg!(feature = "calloop")),
        ("glib", cfg!(feature = "glib")),
        ("libev", cfg!(feature = "libev")),
        ("libevent", cfg!(feature = "libevent")),
        ("libuv", cfg!(feature = "libuv")),
    ];
    let not_compiled_in = |kind: &'static str| {
        let error = parse(kind);
        assert_eq!(error, ParametersError::KindNotCompiledIn { kind });
        assert!(error.to_string().contains(&format!("feature {kind:?}")), "{error}");
    };
    for (kind, compiled_in) in needs_services {
        match compiled_in {
            true => assert_eq!(parse(kind), ParametersError::KindNeedsServices { kind }),
            false => not_compiled_in(kind),
        }
    }
    if cfg!(not(feature = "tokio")) {
        not_compiled_in("tokio");
    }
}
