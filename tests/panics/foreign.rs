//! On a loop that is not the crate's own, a panic ends in the engine: it closes its connection, and is
//! told.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use haypile::protocol::Method;
use haypile::{BasicProperties, Channel, ConnectionCallbacks, Error, Result, basic};

use crate::session::{ALL, Notes, PanicsWhenDropped, after, broker, quiet, session};
use crate::support::hosts::every_foreign_host;
use crate::support::peers::{Peer, dead_end, parameters_of};
use crate::support::{Host, Log};
use crate::{DROPS, OF_THE_CONNECTION, OF_THE_LOOP};

every_foreign_host!(
    a_panic_of_a_connections_callback_closes_that_connection_alone,
    a_panic_of_the_loops_callback_closes_no_connection,
    a_panic_of_on_open_error_is_told,
    the_panic_of_a_drop_is_told,
    the_panic_of_a_drop_of_a_timer_that_has_removed_itself_is_told,
    the_panic_of_the_drop_of_a_body_that_is_sent_ends_the_connection_soon,
    the_broker_is_told_of_a_panic,
);

/// Whether a callback is called whatever happens, once its channel is there.
fn completes(name: &str) -> bool {
    ["declared", "selected", "consuming", "got"].contains(&name)
        || name.contains("confirm")
        || name.starts_with("channel closed")
}

/// A host, and what its `on_panic` is told.
fn host<H: Host>() -> (H, Log) {
    let (host, told) = (H::new(), Log::default());
    let panics = told.clone();
    host.services().core().set_on_panic(move |message| panics.add(message));
    (host, told)
}

/// A connection beside, which must not be concerned.
fn neighbour<H: Host>(host: &H, stop: Rc<dyn Fn()>) -> (Peer, Notes) {
    let (peer, notes) = (broker(), Notes::new(&[]));
    host.connect(peer.parameters(), session(&notes, stop));
    (peer, notes)
}

fn a_panic_of_a_connections_callback_closes_that_connection_alone<H: Host>() {
    for panicking in OF_THE_CONNECTION {
        let (host, told) = host::<H>();
        let stop = after(2, host.stopper());
        let peer = broker();
        let notes = Notes::new(&[panicking]);
        host.connect(peer.parameters(), session(&notes, Rc::clone(&stop)));
        let (other_peer, other) = neighbour(&host, stop);
        host.run();
        let message = format!("on purpose: {panicking}");
        assert_eq!(told.lines(), [message.as_str()]);
        if panicking != "on_close" && !panicking.starts_with("channel closed") {
            assert_eq!(notes.ended.take(), Some(Error::CallbackPanicked(message)));
            let lines = notes.connection.lines();
            let at = lines.iter().position(|line| line == panicking).unwrap();
            assert_eq!(lines[..=at], ALL[..=at]);
            // Nothing comes from the broker any more, but everything is completed, once.
            assert!(!lines[at + 1..].iter().any(|line| line.starts_with("message")), "{lines:?}");
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

fn a_panic_of_the_loops_callback_closes_no_connection<H: Host>() {
    for panicking in OF_THE_LOOP {
        let (host, told) = host::<H>();
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

fn a_panic_of_on_open_error_is_told<H: Host>() {
    let (host, told) = host::<H>();
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

fn the_panic_of_a_drop_is_told<H: Host>() {
    for panicking in DROPS {
        let (host, told) = host::<H>();
        let stop = after(2, host.stopper());
        let peer = broker();
        let notes = Notes::new(panicking);
        host.connect(peer.parameters(), session(&notes, Rc::clone(&stop)));
        let (other_peer, other) = neighbour(&host, stop);
        host.run();
        // The first panic of a message ends the connection, so that no more messages come.
        let all = panicking.iter().filter(|name| !(panicking.len() > 2 && **name == "return a"));
        let all: Vec<_> = all.map(|name| format!("on purpose: {name}")).collect();
        assert_eq!(told.lines(), all);
        assert_eq!(notes.connection.lines().last().unwrap(), "on_close");
        assert_eq!(other.connection.lines(), ALL);
        peer.join();
        other_peer.join();
    }
}

fn the_panic_of_a_drop_of_a_timer_that_has_removed_itself_is_told<H: Host>() {
    quiet();
    let host = H::new();
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

/// Memory of the user's own.
struct Body;

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &[0; 50_000]
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        panic!("on purpose: body");
    }
}

/// Nothing comes from the peer that the end could be told with.
fn the_panic_of_the_drop_of_a_body_that_is_sent_ends_the_connection_soon<H: Host>() {
    let ((host, told), ended) = (host::<H>(), Rc::new(Cell::new(None)));
    let peer = Peer::new(|wire| {
        wire.open();
        wire.grant("channel.open");
        while wire.frame().is_some() {}
    });
    let publish = |channel: &Channel, _: Result<()>| {
        let body = bytes::Bytes::from_owner(Body);
        let to = basic::Publish { routing_key: "anywhere".into(), ..Default::default() };
        channel.basic_publish(to, &BasicProperties::default(), body).unwrap();
    };
    let (end, stop) = (Rc::clone(&ended), host.stopper());
    let callbacks = ConnectionCallbacks::new()
        .on_open(move |connection| drop(connection.channel(None, publish).unwrap()))
        .on_close(move |_, reason| {
            end.set(Some(reason));
            stop();
        });
    host.connect(peer.parameters(), callbacks);
    host.run();
    assert_eq!(told.lines(), ["on purpose: body"]);
    assert_eq!(ended.take(), Some(Error::CallbackPanicked("on purpose: body".into())));
    peer.join();
}

fn the_broker_is_told_of_a_panic<H: Host>() {
    let (host, _) = host::<H>();
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
