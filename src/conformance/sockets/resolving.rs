//! Name lookups. pika's ask for names of the Internet, and these for none.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::Lookup;
use crate::conformance::stage::Stage;
use crate::conformance::tools::Probes;

/// Resolves, and gives what came. To cancel it then does nothing.
fn resolve(stage: &Stage, host: &str) -> io::Result<Vec<SocketAddr>> {
    let (found, stop) = (Rc::new(Cell::new(None)), stage.stopper());
    let keep = Rc::clone(&found);
    let done = move |result| {
        assert!(keep.replace(Some(result)).is_none(), "told twice");
        stop();
    };
    let lookup = stage.services().resolve(host, 5672, Box::new(done));
    let now = found.take();
    assert!(now.is_none(), "told from inside of the call");
    stage.run();
    lookup.cancel();
    stage.settle();
    found.take().expect("it was told")
}

pub(in crate::conformance) fn a_name_has_addresses(stage: &Stage) {
    for host in ["localhost", "127.0.0.1", "::1"] {
        let found = resolve(stage, host).expect("every machine has it");
        assert!(!found.is_empty());
        for address in found {
            assert!(address.ip().is_loopback() && address.port() == 5672, "{address}");
        }
    }
}

pub(in crate::conformance) fn an_unknown_name_is_an_error(stage: &Stage) {
    resolve(stage, "no-such-host.invalid").expect_err("by definition");
    resolve(stage, "not a host name").expect_err("by its blanks");
}

/// Begins lookups, and has `cancel` see to them: nothing is told.
fn cancelled(stage: &Stage, cancel: impl FnOnce(Vec<Lookup>, Probes)) {
    let probes = Probes::default();
    let begin = |host| {
        let probe = probes.probe();
        let done = move |_| {
            probe.touch();
            panic!("cancelled");
        };
        stage.services().resolve(host, 1, Box::new(done))
    };
    cancel(["127.0.0.1", "localhost", "no-such-host.invalid"].map(begin).into(), probes.clone());
    // One whose result comes after theirs.
    resolve(stage, "localhost").expect("every machine has it");
    stage.settle();
    assert_eq!(probes.live(), 0);
}

pub(in crate::conformance) fn one_cancelled_at_once_is_silent(stage: &Stage) {
    cancelled(stage, |lookups, probes| {
        lookups.iter().for_each(Lookup::cancel);
        assert_eq!(probes.live(), 0, "what cannot be called any more is dropped");
        lookups.iter().for_each(Lookup::cancel);
    });
}

pub(in crate::conformance) fn one_cancelled_from_the_loop_is_silent(stage: &Stage) {
    let (services, begun) = (stage.services(), Rc::new(Cell::new(Vec::new())));
    // Before what the lookups post.
    let lookups = Rc::clone(&begun);
    services.add_callback(move || lookups.take().iter().for_each(Lookup::cancel));
    cancelled(stage, |lookups, _| begun.set(lookups));
}
