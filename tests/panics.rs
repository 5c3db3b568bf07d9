//! A callback that panics loses itself alone.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Once;
use std::time::Duration;

use haypile::protocol::channel;
use haypile::{
    BasicProperties, Channel, Confirm, ConnectionCallbacks, Delivery, Result, Services, basic,
    queue,
};
use support::hosts::ConformanceHost;
use support::peers::{Peer, Wire, dead_end, delivery, message, method_bytes, parameters_of};
use support::{Host, Log};

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

fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let text = panic.payload().downcast_ref::<String>();
            if !text.is_some_and(|text| text.starts_with("on purpose")) {
                loud(panic);
            }
        }));
    });
}

/// What the callbacks of a session do: note that they were called, and panic if it is their turn.
#[derive(Clone)]
struct Notes {
    panicking: Rc<[&'static str]>,
    connection: Log,
    ioloop: Log,
}

impl Notes {
    fn new(panicking: &[&'static str]) -> Self {
        quiet();
        println!("{panicking:?}");
        Self { panicking: panicking.into(), connection: Log::default(), ioloop: Log::default() }
    }

    /// The last thing that a callback of the connection does.
    fn end(&self, name: &str) {
        self.connection.add(name);
        self.panic_if(name);
    }

    /// The last thing that a callback of the loop does.
    fn end_of_loop(&self, name: &str) {
        self.ioloop.add(name);
        self.panic_if(name);
    }

    /// For a callback to capture: does what the name says.
    fn when_dropped(&self, name: &'static str) -> Option<PanicsWhenDropped> {
        self.panicking.contains(&name).then(|| PanicsWhenDropped(name))
    }

    fn panic_if(&self, name: &str) {
        assert!(!self.panicking.contains(&name), "on purpose: {name}");
    }
}

struct PanicsWhenDropped(&'static str);

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("on purpose: {}", self.0);
    }
}

/// A broker that, once it is consumed from, sends everything at once: one read takes it all.
fn broker() -> Peer {
    Peer::new(|wire: &mut Wire| {
        wire.open();
        while let Some(frame) = wire.frame() {
            if frame.kind == haypile::protocol::FrameKind::Method
                && frame.method().name() == "basic.consume"
            {
                wire.send(burst());
            } else if wire.answer(&frame) {
                break;
            }
        }
    })
}

fn burst() -> Vec<u8> {
    let tag = || "mine".into();
    let returned = basic::Return { reply_code: 312, ..Default::default() };
    let close = channel::Close {
        reply_code: 404,
        reply_text: "for no reason".into(),
        ..Default::default()
    };
    [
        method_bytes(1, &basic::ConsumeOk { consumer_tag: tag() }),
        delivery(1, "mine", 1, b"small"),
        delivery(1, "mine", 2, &[7; 5000]),
        method_bytes(1, &basic::Ack { delivery_tag: 2, multiple: true }),
        delivery(1, "mine", 3, b""),
        message(1, &returned, b"returned"),
        delivery(1, "mine", 4, b"last"),
        method_bytes(1, &basic::Cancel { consumer_tag: tag() }),
        method_bytes(1, &close),
    ]
    .concat()
}

/// Starts a session in which every kind of callback is called; `stop` when it has ended.
fn session(notes: &Notes, stop: Rc<dyn Fn()>) -> ConnectionCallbacks {
    let (opening, erring, closing) = (notes.clone(), notes.clone(), notes.clone());
    let no_error = notes.when_dropped("drop of on_open_error");
    let end = notes.when_dropped("drop of on_close");
    let unopened = Rc::clone(&stop);
    ConnectionCallbacks::new()
        .on_open(move |connection| {
            of_the_loop(&opening, &connection.services().unwrap());
            let notes = opening.clone();
            connection
                .channel(None, move |channel, open| on_channel(&notes, channel, open))
                .unwrap();
            opening.end("on_open");
        })
        .on_open_error(move |connection, _| {
            let _probe = &no_error;
            connection.services().unwrap().add_callback(move || unopened());
            erring.end("on_open_error");
        })
        .on_close(move |connection, _| {
            let _probe = end;
            // Not at once: a stop is over with the `start` that a panic ends.
            connection.services().unwrap().add_callback(move || stop());
            closing.end("on_close");
        })
}

fn of_the_loop(notes: &Notes, services: &Services) {
    for name in ["post a", "post b"] {
        let notes = notes.clone();
        services.add_callback(move || notes.end_of_loop(name));
    }
    for name in ["timer a", "timer b"] {
        let notes = notes.clone();
        services.call_later(Duration::ZERO, move || notes.end_of_loop(name));
    }
}

fn on_channel(notes: &Notes, channel: &Channel, open: Result<()>) {
    if open.is_err() {
        return notes.end("channel on_open");
    }
    for name in ["return a", "return b"] {
        let notes = notes.clone();
        let drops = "drop of on_return";
        let probe = (name == "return a").then(|| notes.when_dropped(drops));
        channel
            .add_on_return_callback(move |_, message| {
                let _probe = &probe;
                assert_eq!(message.body(), b"returned");
                notes.end(name);
            })
            .unwrap();
    }
    for name in ["cancel a", "cancel b"] {
        let notes = notes.clone();
        channel
            .add_on_cancel_callback(move |_, tag| {
                assert_eq!(*tag, "mine");
                notes.end(name);
            })
            .unwrap();
    }
    for name in ["channel closed a", "channel closed b"] {
        let notes = notes.clone();
        channel
            .add_on_close_callback(move |channel, _| {
                if name == "channel closed a" {
                    support::close(&channel.connection());
                }
                notes.end(name);
            })
            .unwrap();
    }
    let told = notes.clone();
    let declare = queue::Declare { queue: "q".into(), ..Default::default() };
    channel.queue_declare(declare, move |_, _| told.end("declared")).unwrap();
    let (heard, told) = (notes.clone(), notes.clone());
    let probe = notes.when_dropped("drop of on_confirm");
    let on_confirm = move |_: &Channel, confirm: Confirm<'_>| {
        let _probe = &probe;
        heard.end(&format!("confirm {}", confirm.sequence_number));
    };
    channel.confirm_delivery(on_confirm, move |_, _| told.end("selected")).unwrap();
    for name in ["all confirmed", "not all confirmed"] {
        for _ in 0..2 {
            let to = basic::Publish::default();
            channel.basic_publish(to, &BasicProperties::default(), "x").unwrap();
        }
        let told = notes.clone();
        channel.when_confirmed(move |_, _| told.end(name)).unwrap();
    }
    let (heard, told) = (notes.clone(), notes.clone());
    let consume = basic::Consume { consumer_tag: "mine".into(), ..Default::default() };
    let probe = notes.when_dropped("drop of on_message");
    let on_message = move |_: &Channel, delivery: &Delivery<'_>| {
        let _probe = &probe;
        heard.end(&format!("message {}", delivery.delivery_tag()));
    };
    channel.basic_consume(consume, on_message, move |_, _| told.end("consuming")).unwrap();
    // Asked behind the consume: never answered.
    let told = notes.clone();
    let get = basic::Get { queue: "q".into(), no_ack: true };
    channel
        .basic_get(get, move |_, got| {
            assert!(got.is_err());
            told.end("got");
        })
        .unwrap();
    notes.end("channel on_open");
}

/// What a session calls, in this order, if nothing panics.
const ALL: [&str; 23] = [
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
    "message 3",
    "return a",
    "return b",
    "message 4",
    "cancel a",
    "cancel b",
    "got",
    "confirm 3",
    "confirm 4",
    "not all confirmed",
    "channel closed a",
    "channel closed b",
    "on_close",
];

mod on_select {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

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

/// Calls `stop` when it is called for the last of so many times.
fn after(times: usize, stop: Rc<dyn Fn()>) -> Rc<dyn Fn()> {
    let left = Cell::new(times);
    Rc::new(move || {
        left.set(left.get() - 1);
        if left.get() == 0 {
            stop();
        }
    })
}

#[cfg(feature = "tokio")]
mod on_tokio {
    use std::cell::RefCell;

    use haypile::protocol::Method;

    use super::*;
    use support::hosts::Tokio;

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
            let ended = Rc::new(RefCell::new(None));
            let end = Rc::clone(&ended);
            let mut callbacks = session(&notes, Rc::clone(&stop));
            if panicking != "on_close" {
                let stop = Rc::clone(&stop);
                callbacks = callbacks.on_close(move |_, error| {
                    end.replace(Some(error));
                    stop();
                });
            }
            host.connect(peer.parameters(), callbacks);
            let (other_peer, other) = neighbour(&host, stop);
            host.run();
            let message = format!("on purpose: {panicking}");
            assert_eq!(told.lines(), [message.as_str()]);
            if panicking != "on_close" && !panicking.starts_with("channel closed") {
                assert_eq!(ended.take(), Some(haypile::Error::CallbackPanicked(message)));
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
