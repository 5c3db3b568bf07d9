//! A callback that panics loses itself alone.

#[cfg(any(
    feature = "async-io",
    feature = "calloop",
    feature = "glib",
    feature = "libev",
    feature = "libevent",
    feature = "libuv",
    feature = "tokio",
))]
mod foreign;
mod session;
#[path = "../support/mod.rs"]
mod support;

use session::{ALL, Notes, after, broker, session};
use support::Host;
use support::hosts::ConformanceHost;
use support::peers::{dead_end, parameters_of};

/// Every kind of callback of a connection that the session below has.
const OF_THE_CONNECTION: [&str; 21] = [
    "on_open",
    "channel on_open",
    "declared",
    "selected",
    "consuming",
    "message 1",
    "message 2",
    "confirm 1",
    "confirm 2",
    "all confirmed",
    "message 4",
    "return a",
    "return b",
    "cancel a",
    "got",
    "confirm 3",
    "confirm 4",
    "not all confirmed",
    "channel closed a",
    "channel closed b",
    "on_close",
];

/// What is dropped when its callback can be called no more.
const DROPS: [&[&str]; 9] = [
    &["drop of on_confirm"],
    &["confirm 1", "confirm 3", "drop of on_confirm"],
    &["drop of on_message"],
    &["drop of on_return"],
    &["drop of on_open_error"],
    &["drop of on_close"],
    // What panics is still there to be dropped later.
    &["message 1", "drop of on_message"],
    &["return a", "drop of on_return"],
    &["message 2", "return a", "drop of on_return", "drop of on_open_error"],
];

/// Those of the loop.
const OF_THE_LOOP: [&str; 4] = ["timer a", "timer b", "post a", "post b"];

mod on_select {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use std::rc::Rc;

    use super::*;
    use support::hosts::Select;

    /// Runs the loop until it is stopped, through all panics; gives their messages.
    fn run_through(host: &Select) -> Vec<String> {
        let mut panics = Vec::new();
        loop {
            match catch_unwind(AssertUnwindSafe(|| host.run())) {
                Ok(()) => return panics,
                Err(panic) => match panic.downcast::<String>() {
                    Ok(text) if text.starts_with("on purpose: ") => panics.push(*text),
                    Ok(other) => resume_unwind(other),
                    Err(other) => resume_unwind(other),
                },
            }
        }
    }

    #[test]
    fn a_panic_comes_out_of_start_and_nothing_else_is_lost() {
        for panicking in OF_THE_CONNECTION.into_iter().chain(OF_THE_LOOP) {
            let host = Select::new();
            let stop = after(2, host.stopper());
            let (peer, neighbour) = (broker(), broker());
            let (notes, other) = (Notes::new(&[panicking]), Notes::new(&[]));
            host.connect(peer.parameters(), session(&notes, Rc::clone(&stop)));
            host.connect(neighbour.parameters(), session(&other, stop));
            let panics = run_through(&host);
            assert_eq!(panics, [format!("on purpose: {panicking}")]);
            for notes in [notes, other] {
                assert_eq!(notes.connection.lines(), ALL);
                assert_eq!(notes.ioloop.lines(), ["post a", "post b", "timer a", "timer b"]);
            }
            peer.join();
            neighbour.join();
        }
    }

    #[test]
    fn a_panic_of_on_open_error_comes_out_of_start() {
        let host = Select::new();
        let notes = Notes::new(&["on_open_error"]);
        host.connect(parameters_of(dead_end()), session(&notes, host.stopper()));
        assert_eq!(run_through(&host), ["on purpose: on_open_error"]);
        assert_eq!(notes.connection.lines(), ["on_open_error"]);
    }

    #[test]
    fn the_panic_of_a_drop_comes_out_of_start_and_nothing_else_is_lost() {
        for panicking in DROPS {
            let host = Select::new();
            let peer = broker();
            let notes = Notes::new(panicking);
            host.connect(peer.parameters(), session(&notes, host.stopper()));
            let all: Vec<_> = panicking.iter().map(|name| format!("on purpose: {name}")).collect();
            assert_eq!(run_through(&host), all);
            assert_eq!(notes.connection.lines(), ALL);
            peer.join();
        }
    }
}
