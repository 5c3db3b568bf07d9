//! A session in which every kind of callback is called, in a known order.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Once;
use std::time::Duration;

use haypile::protocol::channel;
use haypile::{
    BasicProperties, Channel, Confirm, ConnectionCallbacks, Delivery, Error, Result, Services,
    basic, queue,
};

use crate::support::peers::{Peer, Wire, delivery, message, method_bytes};
use crate::support::{self, Log};

/// Calls `stop` when it is called for the last of so many times.
pub fn after(times: usize, stop: Rc<dyn Fn()>) -> Rc<dyn Fn()> {
    let left = Cell::new(times);
    Rc::new(move || {
        left.set(left.get() - 1);
        if left.get() == 0 {
            stop();
        }
    })
}

pub fn quiet() {
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
pub struct Notes {
    panicking: Rc<[&'static str]>,
    pub connection: Log,
    pub ioloop: Log,
    /// What ended the connection.
    pub ended: Rc<RefCell<Option<Error>>>,
}

impl Notes {
    pub fn new(panicking: &[&'static str]) -> Self {
        quiet();
        println!("{panicking:?}");
        let (connection, ioloop) = (Log::default(), Log::default());
        Self { panicking: panicking.into(), connection, ioloop, ended: Rc::default() }
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

pub struct PanicsWhenDropped(pub &'static str);

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("on purpose: {}", self.0);
    }
}

/// A broker that, once it is consumed from, sends everything at once: one read takes it all.
pub fn broker() -> Peer {
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
pub fn session(notes: &Notes, stop: Rc<dyn Fn()>) -> ConnectionCallbacks {
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
        .on_close(move |connection, error| {
            let _probe = end;
            closing.ended.replace(Some(error));
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
pub const ALL: [&str; 23] = [
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
