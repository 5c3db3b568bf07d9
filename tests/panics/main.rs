//! A callback that panics loses itself alone.

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

/// Whether a callback is called whatever happens, once its channel is there.
#[cfg(feature = "tokio")]
fn completes(name: &str) -> bool {
    ["declared", "selected", "consuming", "got"].contains(&name)
        || name.contains("confirm")
        || name.starts_with("channel closed")
}

#[cfg(feature = "tokio")]
mod on_tokio {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Duration;

    use haypile::protocol::Method;

    use super::*;
    use crate::session::{PanicsWhenDropped, quiet};
    use support::Log;
    use support::hosts::Tokio;
    use support::peers::Peer;

    /// A host, and what its `on_panic` is told.
    fn host() -> (Tokio, Log) {
        let (host, told) = (Tokio::new(), Log::default());
        let panics = told.clone();
        host.services().core().set_on_panic(move |message| panics.add(message));
        (host, told)
    }

    /// A connection beside, which must not be concerned.
    fn neighbour(host: &Tokio, stop: Rc<dyn Fn()>) -> (Peer, Notes) {
        let (peer, notes) = (broker(), Notes::new(&[]));
        host.connect(peer.parameters(), session(&notes, stop));
        (peer, notes)
    }

    #[test]
    fn a_panic_of_a_connections_callback_closes_that_connection_alone() {
        for panicking in OF_THE_CONNECTION {
            let (host, told) = host();
            let stop = after(2, host.stopper());
            let peer = broker();
            let notes = Notes::new(&[panicking]);
            host.connect(peer.parameters(), session(&notes, Rc::clone(&stop)));
            let (other_peer, other) = neighbour(&host, stop);
            host.run();
            let message = format!("on purpose: {panicking}");
            assert_eq!(told.lines(), [message.as_str()]);
            if panicking != "on_close" && !panicking.starts_with("channel closed") {
                assert_eq!(notes.ended.take(), Some(haypile::Error::CallbackPanicked(message)));
                let lines = notes.connection.lines();
                let at = lines.iter().position(|line| line == panicking).unwrap();
                assert_eq!(lines[..=at], ALL[..=at]);
                // Nothing comes from the broker any more, but everything is completed, once.
                assert!(
                    !lines[at + 1..].iter().any(|line| line.starts_with("message")),
                    "{lines:?}"
                );
                let made = ALL[..=at].contains(&"channel on_open");
                for once in ALL.into_iter().filter(|name| completes(name)) {
                    let count = lines.iter().filter(|line| **line == once).count();
                    assert_eq!(count, usize::from(made), "{once}");
                }
            }
            assert_eq!(other.connection.lines(), ALL);
            assert_eq!(other.ioloop.lines(), ["post a", "post b", "timer a", "timer b"]);
            peer.join();
            other_peer.join();
        }
    }

    #[test]
    fn a_panic_of_the_loops_callback_closes_no_connection() {
        for panicking in OF_THE_LOOP {
            let (host, told) = host();
            let peer = broker();
            let notes = Notes::new(&[panicking]);
            host.connect(peer.parameters(), session(&notes, host.stopper()));
            host.run();
            assert_eq!(told.lines(), [format!("on purpose: {panicking}")]);
            assert_eq!(notes.connection.lines(), ALL);
            assert_eq!(notes.ioloop.lines(), ["post a", "post b", "timer a", "timer b"]);
            peer.join();
        }
    }

    #[test]
    fn a_panic_of_on_open_error_is_told() {
        let (host, told) = host();
        let stop = after(2, host.stopper());
        let notes = Notes::new(&["on_open_error"]);
        host.connect(parameters_of(dead_end()), session(&notes, Rc::clone(&stop)));
        let (peer, other) = neighbour(&host, stop);
        host.run();
        assert_eq!(told.lines(), ["on purpose: on_open_error"]);
        assert_eq!(notes.connection.lines(), ["on_open_error"]);
        assert_eq!(other.connection.lines(), ALL);
        peer.join();
    }

    #[test]
    fn the_panic_of_a_drop_is_told() {
        for panicking in DROPS {
            let (host, told) = host();
            let stop = after(2, host.stopper());
            let peer = broker();
            let notes = Notes::new(panicking);
            host.connect(peer.parameters(), session(&notes, Rc::clone(&stop)));
            let (other_peer, other) = neighbour(&host, stop);
            host.run();
            // The first panic of a message ends the connection, so that no more messages come.
            let all =
                panicking.iter().filter(|name| !(panicking.len() > 2 && **name == "return a"));
            let all: Vec<_> = all.map(|name| format!("on purpose: {name}")).collect();
            assert_eq!(told.lines(), all);
            assert_eq!(notes.connection.lines().last().unwrap(), "on_close");
            assert_eq!(other.connection.lines(), ALL);
            peer.join();
            other_peer.join();
        }
    }

    #[test]
    fn the_panic_of_a_drop_of_a_timer_that_has_removed_itself_is_told() {
        quiet();
        let host = Tokio::new();
        let told = Log::default();
        let (panics, stop) = (told.clone(), host.stopper());
        host.services().core().set_on_panic(move |message| {
            panics.add(message);
            stop();
        });
        let timer = Rc::new(Cell::new(None));
        let (id, services) = (Rc::clone(&timer), host.services());
        let probe = PanicsWhenDropped("drop of a timer");
        let callback = move || {
            let _probe = &probe;
            assert!(services.remove_timeout(id.get().expect("it is known")));
        };
        timer.set(Some(host.services().call_every(Duration::ZERO, callback)));
        host.run();
        assert_eq!(told.lines(), ["on purpose: drop of a timer"]);
    }

    #[test]
    fn the_broker_is_told_of_a_panic() {
        let (host, _) = host();
        let peer = Peer::new(|wire| {
            wire.open();
            let frame = wire.expect("connection.close");
            match frame.method() {
                Method::Connection(haypile::protocol::connection::Method::Close(close)) => {
                    assert_eq!(
                        (close.reply_code, close.reply_text.as_bytes()),
                        (541, &b"a callback panicked"[..])
                    );
                }
                other => panic!("{}", other.name()),
            }
            assert_eq!(wire.read_to_end(), 0);
        });
        host.connect(peer.parameters(), session(&Notes::new(&["on_open"]), host.stopper()));
        host.run();
        peer.join();
    }
}
