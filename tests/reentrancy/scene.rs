//! A session whose callbacks do what a test wants done in one of them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use haypile::{
    BaseConnection, BasicProperties, Channel, Connection, ConnectionCallbacks, Delivery, Error,
    Misuse, Result, basic, queue,
};

use crate::Action::{self, AskMore, CloseChannel, CloseConnection, DropHandles};

/// What the callbacks of one session share.
#[derive(Clone)]
pub struct Scene(pub Rc<Shared>);

pub struct Shared {
    pub kind: &'static str,
    pub actions: &'static [Action],
    pub stop: Rc<dyn Fn()>,
    /// Requests that were taken, and those that were completed.
    pub asked: Cell<usize>,
    pub completed: Cell<usize>,
    /// How often the actions were done.
    pub acted: Cell<usize>,
    /// Messages after which none may come any more.
    pub silenced: Cell<bool>,
    pub messages: Cell<usize>,
    /// Every handle that the scene keeps.
    pub connections: RefCell<Vec<Connection>>,
    pub hosts: RefCell<Vec<Box<dyn BaseConnection>>>,
    pub channels: RefCell<Vec<Channel>>,
    pub ended: RefCell<Vec<Error>>,
}

/// Asks for something on a channel, which is taken if it is open, and notes that it was completed.
macro_rules! ask {
    ($scene:expr, $channel:expr, $name:ident($method:expr), $then:expr) => {{
        let scene = $scene.clone();
        let was_open = $channel.is_open();
        let asked = $channel.$name($method, move |channel, _| {
            scene.complete();
            $then(&scene, channel);
        });
        $scene.asked(asked, was_open, Misuse::ChannelNotOpen);
    }};
}
pub(crate) use ask;

pub fn nothing(_: &Scene, _: &Channel) {}

pub fn act(scene: &Scene, channel: &Channel) {
    scene.act(&channel.connection(), Some(channel));
}

impl Scene {
    /// Notes a request that was taken, as it is if the channel or connection was open.
    pub fn asked<T>(&self, result: Result<T>, was_open: bool, otherwise: Misuse) {
        match result {
            Ok(_) => {
                assert!(was_open);
                self.0.asked.set(self.0.asked.get() + 1);
            }
            Err(error) => {
                assert_eq!((error, was_open), (otherwise.into(), false));
            }
        }
    }

    pub fn complete(&self) {
        self.0.completed.set(self.0.completed.get() + 1);
    }

    pub fn is(&self, kind: &str) -> bool {
        self.0.kind == kind
    }

    pub fn callbacks(&self) -> ConnectionCallbacks {
        let (opened, refused, closed) = (self.clone(), self.clone(), self.clone());
        ConnectionCallbacks::new()
            .on_open(move |connection| {
                opened.0.connections.borrow_mut().push(connection.clone());
                if opened.is("on_open") {
                    return opened.act(connection, None);
                }
                opened.open_channel(connection, |scene, channel| {
                    scene.0.channels.borrow_mut().push(channel.clone());
                    match scene.is("channel on_open") {
                        true => act(scene, channel),
                        false => scene.prepare(channel),
                    }
                });
            })
            .on_open_error(move |connection, error| refused.end(connection, error))
            .on_close(move |connection, error| closed.end(connection, error))
    }

    pub fn end(&self, connection: &Connection, error: Error) {
        assert!(connection.is_closed());
        assert_eq!(self.0.completed.get(), self.0.asked.get(), "the end is told last");
        self.0.ended.borrow_mut().push(error);
        if self.is("on_close") || self.is("on_open_error") {
            let channel = self.0.channels.borrow().last().cloned();
            self.act(connection, channel.as_ref());
        }
        (self.0.stop)();
    }

    pub fn open_channel(
        &self,
        connection: &Connection,
        then: impl FnOnce(&Scene, &Channel) + 'static,
    ) {
        let (scene, was_open) = (self.clone(), connection.is_open());
        let asked = connection.channel(None, move |channel, _| {
            scene.complete();
            then(&scene, channel);
        });
        self.asked(asked, was_open, Misuse::ConnectionNotOpen);
    }

    /// Has messages on their way, then goes for the callback.
    pub fn prepare(&self, channel: &Channel) {
        let scene = self.clone();
        let declare = queue::Declare { exclusive: true, ..Default::default() };
        let declared = move |channel: &Channel, ok: Result<queue::DeclareOk<'static>>| {
            scene.complete();
            let queue = ok.expect("declared").queue.to_string();
            scene.consume(channel, &queue);
            for _ in 0..5 {
                publish(channel, "", &queue);
            }
            scene.go_for_it(channel, &queue);
        };
        self.asked(channel.queue_declare(declare, declared), true, Misuse::ChannelNotOpen);
    }

    pub fn consume(&self, channel: &Channel, queue: &str) {
        let (scene, consuming) = (self.clone(), self.clone());
        let consume = basic::Consume { queue: queue.into(), no_ack: true, ..Default::default() };
        let on_message = move |channel: &Channel, _: &Delivery<'_>| {
            assert!(!scene.0.silenced.get(), "a message after close");
            scene.0.messages.set(scene.0.messages.get() + 1);
            if scene.is("on_message") && scene.0.messages.get() == 1 {
                act(&scene, channel);
            }
        };
        let (was_open, ok) = (channel.is_open(), move |_: &Channel, _| consuming.complete());
        let asked = channel.basic_consume(consume, on_message, ok);
        self.asked(asked, was_open, Misuse::ChannelNotOpen);
    }

    /// What is done in the callback.
    pub fn act(&self, connection: &Connection, channel: Option<&Channel>) {
        self.0.acted.set(self.0.acted.get() + 1);
        for action in self.0.actions {
            match (action, channel) {
                (CloseChannel, Some(channel)) => {
                    let was_open = channel.is_open();
                    let closed = channel.close(200, "in a callback");
                    assert_eq!(closed.is_ok(), was_open);
                    self.0.silenced.set(true);
                }
                (CloseConnection, _) => {
                    let was_open = connection.is_open();
                    let closed = connection.close(200, "in a callback");
                    assert_eq!(closed.is_ok(), was_open);
                    self.0.silenced.set(true);
                }
                (DropHandles, _) => {
                    drop(self.0.connections.take());
                    drop(self.0.hosts.take());
                    drop(self.0.channels.take());
                }
                (AskMore, Some(channel)) => self.ask_more(channel),
                (CloseChannel, None) => {}
                (AskMore, None) => self.open_channel(connection, |scene, channel| {
                    scene.ask_more(channel);
                }),
            }
        }
        // The end comes by a handle that nobody keeps.
        self.open_channel(connection, |_, channel| drop(channel.connection().close(200, "over")));
    }

    pub fn ask_more(&self, channel: &Channel) {
        let to = basic::Publish { routing_key: "nowhere".into(), ..Default::default() };
        let published = channel.basic_publish(to, &BasicProperties::default(), "x");
        assert_eq!(published.is_ok(), channel.is_open());
        ask!(self, channel, queue_declare(own_queue()), nothing);
        let scene = self.clone();
        let consume = basic::Consume { consumer_tag: "more".into(), ..Default::default() };
        let was_open = channel.is_open();
        let started = move |_: &Channel, _| scene.complete();
        let asked = channel.basic_consume(consume, |_, _| (), started);
        self.asked(asked, was_open, Misuse::ChannelNotOpen);
        ask!(self, channel, basic_get(basic::Get::default()), nothing);
        ask!(self, channel, basic_cancel(basic::Cancel { consumer_tag: "more".into() }), nothing);
        self.open_channel(&channel.connection(), |scene, channel| {
            ask!(scene, channel, queue_declare(own_queue()), nothing);
        });
    }
}

pub fn own_queue() -> queue::Declare<'static> {
    queue::Declare { exclusive: true, ..Default::default() }
}

pub fn publish(channel: &Channel, exchange: &str, routing_key: &str) {
    let (exchange, routing_key) = (exchange.into(), routing_key.into());
    let to = basic::Publish { exchange, routing_key, ..Default::default() };
    channel.basic_publish(to, &BasicProperties::default(), "x").expect("it is open");
}
