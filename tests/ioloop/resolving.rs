use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::pollers::{Poller, every_poller};
use crate::tools::{Drops, run, run_turns};

every_poller!(
    an_address_is_taken_as_it_is,
    localhost_is_a_loopback_address,
    a_name_that_does_not_resolve_is_an_error,
    a_cancelled_lookup_never_calls_back,
    a_late_cancel_does_nothing_to_a_later_lookup,
);

fn resolve(poller: Poller, host: &str) -> io::Result<Vec<SocketAddr>> {
    let ioloop = poller.new_loop();
    let (found, handle) = (Rc::new(Cell::new(None)), ioloop.handle());
    let f = Rc::clone(&found);
    let done = move |result| {
        f.set(Some(result));
        handle.stop();
    };
    ioloop.services().resolve(host, 5672, Box::new(done));
    let now = found.take();
    assert!(now.is_none(), "called from inside the call");
    run(&ioloop);
    found.take().unwrap()
}

fn an_address_is_taken_as_it_is(poller: Poller) {
    assert_eq!(resolve(poller, "127.0.0.1").unwrap(), ["127.0.0.1:5672".parse().unwrap()]);
    assert_eq!(resolve(poller, "::1").unwrap(), ["[::1]:5672".parse().unwrap()]);
}

fn localhost_is_a_loopback_address(poller: Poller) {
    let found = resolve(poller, "localhost").unwrap();
    assert!(!found.is_empty());
    assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 5672));
}

fn a_name_that_does_not_resolve_is_an_error(poller: Poller) {
    resolve(poller, "no-such-host.invalid").unwrap_err();
    resolve(poller, "not a host name").unwrap_err();
    resolve(poller, "").unwrap_err();
}

fn a_cancelled_lookup_never_calls_back(poller: Poller) {
    let ioloop = poller.new_loop();
    for host in ["127.0.0.1", "localhost"] {
        let drops = Drops::default();
        let probe = drops.probe();
        let done = move |_| {
            drop(probe);
            panic!("cancelled")
        };
        let lookup = ioloop.services().resolve(host, 1, Box::new(done));
        lookup.cancel();
        assert_eq!(drops.count(), 1);
        lookup.cancel();
    }
    // One that is not cancelled, and whose result comes after theirs.
    let handle = ioloop.handle();
    ioloop.services().resolve("localhost", 1, Box::new(move |_| handle.stop()));
    run(&ioloop);
    run_turns(&ioloop, 3);
}

fn a_late_cancel_does_nothing_to_a_later_lookup(poller: Poller) {
    let ioloop = poller.new_loop();
    let handle = ioloop.handle();
    let first = ioloop.services().resolve("127.0.0.1", 1, Box::new(move |_| handle.stop()));
    run(&ioloop);
    let handle = ioloop.handle();
    ioloop.services().resolve("127.0.0.1", 1, Box::new(move |_| handle.stop()));
    first.cancel();
    run(&ioloop);
}
