//! A connection whose broker, clock and transport are the test.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use haypile::protocol::{
    EncodeMethod, Frame, FrameKind, Method, PROTOCOL_HEADER, channel, connection,
};
use haypile::{
    BasicProperties, Body, Channel, ConnectionCallbacks, ConnectionParameters, Error,
    ProtocolConnection, Undelivered, basic,
};

use crate::support::peers::{method_bytes, start, tune};

/// How a connection has ended.
#[derive(Debug, PartialEq)]
pub enum Ended {
    Unopened(Error),
    Closed(Error, Undelivered),
}

pub struct Scene {
    pub protocol: Rc<ProtocolConnection>,
    now: Rc<Cell<Instant>>,
    ended: Rc<RefCell<Option<Ended>>>,
    wakes: Arc<AtomicUsize>,
}

impl Scene {
    pub fn new() -> Self {
        Self::with(ConnectionParameters::default(), ConnectionCallbacks::new())
    }

    pub fn with(parameters: ConnectionParameters, callbacks: ConnectionCallbacks) -> Self {
        let (now, ended) = (Rc::new(Cell::new(Instant::now())), Rc::new(RefCell::new(None)));
        let (failed, closed) = (Rc::clone(&ended), Rc::clone(&ended));
        let callbacks = callbacks
            .on_open_error(move |_, error| {
                assert_eq!(failed.replace(Some(Ended::Unopened(error))), None, "told again");
            })
            .on_close(move |connection, reason| {
                let ended = Ended::Closed(reason, connection.undelivered());
                assert_eq!(closed.replace(Some(ended)), None, "told again");
            });
        let wakes = Arc::<AtomicUsize>::default();
        let (clock, woken) = (Rc::clone(&now), Arc::clone(&wakes));
        let wake = move || {
            woken.fetch_add(1, Ordering::Relaxed);
        };
        let clock = move || clock.get();
        let protocol = ProtocolConnection::with_clock(parameters, callbacks, wake, clock);
        Self { protocol: Rc::new(protocol), now, ended, wakes }
    }

    /// One that is open, with all sent so far that was to be.
    pub fn open() -> Self {
        let scene = Self::new();
        scene.handshake(&tune());
        scene
    }

    pub fn handshake(&self, tune: &connection::Tune) {
        self.say(0, &start());
        self.say(0, tune);
        self.say(0, &connection::OpenOk {});
        assert!(self.protocol.is_open());
        let sent = ["connection.start-ok", "connection.tune-ok", "connection.open"];
        assert_eq!(self.methods(), sent);
        self.rest();
    }

    /// Opens a channel.
    pub fn channel(&self) -> Channel {
        let channel = self.protocol.channel(None, |_, opened| opened.expect("it opens"));
        let channel = channel.expect("the connection is open");
        self.say(1, &channel::OpenOk {});
        assert_eq!(self.methods(), ["channel.open"]);
        self.rest();
        channel
    }

    /// Nothing waits to be done, and nobody has been woken.
    fn rest(&self) {
        self.process();
        self.wakes();
    }

    pub fn feed(&self, bytes: &[u8]) {
        self.protocol.data_received(bytes).expect("not nested");
    }

    pub fn say(&self, channel: u16, method: &impl EncodeMethod) {
        self.feed(&method_bytes(channel, method));
    }

    pub fn process(&self) {
        self.protocol.process_due().expect("not nested");
    }

    /// Takes all that is to be sent.
    pub fn sent(&self) -> Vec<u8> {
        let mut sent = Vec::new();
        let written = self.protocol.write_output(|slices| {
            slices.iter().for_each(|slice| sent.extend_from_slice(slice));
            Ok(slices.iter().map(|slice| slice.len()).sum())
        });
        assert_eq!(written.expect("to memory"), sent.len());
        assert_eq!(self.protocol.output_len(), 0);
        sent
    }

    /// The names of the methods, and the heartbeats, that are to be sent.
    pub fn methods(&self) -> Vec<&'static str> {
        names(&self.sent())
    }

    pub fn now(&self) -> Instant {
        self.now.get()
    }

    /// Lets time pass, and nothing be done.
    pub fn pass(&self, time: Duration) {
        self.now.set(self.now.get() + time);
    }

    /// How often the host was woken since this was last called.
    pub fn wakes(&self) -> usize {
        self.wakes.swap(0, Ordering::Relaxed)
    }

    /// Drops the connection. Gives how often its host is woken after that, when asked, and whether an
    /// end was told.
    pub fn drop_protocol(self) -> (impl Fn() -> usize, bool) {
        drop(self.protocol);
        let wakes = self.wakes;
        (move || wakes.swap(0, Ordering::Relaxed), self.ended.take().is_some())
    }

    /// How it has ended, once.
    pub fn ended(&self) -> Option<Ended> {
        self.ended.take()
    }

    /// The error of a connection that was never open.
    pub fn failure(&self) -> Error {
        match self.ended() {
            Some(Ended::Unopened(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    /// The reason of the end of one that was.
    pub fn reason(&self) -> Error {
        match self.ended() {
            Some(Ended::Closed(reason, _)) => reason,
            other => panic!("{other:?}"),
        }
    }
}

pub fn names(mut sent: &[u8]) -> Vec<&'static str> {
    sent = sent.strip_prefix(&PROTOCOL_HEADER).unwrap_or(sent);
    let mut names = Vec::new();
    while let Some((frame, size)) = Frame::parse(sent, 0).expect("a frame") {
        match frame.kind {
            FrameKind::Method => {
                names.push(Method::decode(frame.payload).expect("a method").name());
            }
            FrameKind::Heartbeat => names.push("heartbeat"),
            _ => {}
        }
        sent = &sent[size..];
    }
    assert!(sent.is_empty(), "a frame is cut");
    names
}

pub fn publish<'b>(channel: &Channel, body: impl Into<Body<'b>>) {
    let to = basic::Publish { routing_key: "key".into(), ..Default::default() };
    channel.basic_publish(to, &BasicProperties::default(), body).expect("there is room");
}
