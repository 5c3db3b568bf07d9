//! A loop with connections to the stand-in broker on it, brought step by step to where a
//! measurement begins.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use haypile::{
    BasicProperties, Channel, Connection, ConnectionCallbacks, ConnectionParameters, Delivery,
    Heartbeat, IOLoop, LoopHandle, PublishError, basic, queue,
};

use crate::Result;
use crate::outcome::{Outcome, Timing};

/// Bytes of each body.
pub const SIZE: usize = crate::amqp::SMALL;

pub struct Stage {
    pub ioloop: IOLoop,
    parameters: ConnectionParameters,
}

impl Stage {
    pub fn new(port: u16) -> Result<Self> {
        let mut parameters = ConnectionParameters::new("127.0.0.1");
        parameters.set_port(port);
        Ok(Self { ioloop: IOLoop::new()?, parameters })
    }

    pub fn set_heartbeat(&mut self, seconds: u16) {
        self.parameters.set_heartbeat(Heartbeat::Exactly(seconds));
    }

    pub fn connect(&self) -> Result<Connection> {
        let mut connections = self.connect_all(1, 1)?;
        connections.pop().ok_or("it is open".into())
    }

    /// Opens so many connections, `at_once` of them under way at any time.
    pub fn connect_all(&self, count: usize, at_once: usize) -> Result<Vec<Connection>> {
        let opening = Rc::new(Opening {
            count,
            started: Cell::new(0),
            parameters: self.parameters.clone(),
            open: RefCell::new(Vec::with_capacity(count)),
            ioloop: self.ioloop.handle(),
        });
        (0..at_once).for_each(|_| opening.connect_next());
        self.ioloop.start()?;
        Ok(opening.open.take())
    }

    /// Opens so many channels.
    pub fn channels(&self, connection: &Connection, count: usize) -> Result<Vec<Channel>> {
        let left = Countdown::new(count, &self.ioloop);
        let channels = (0..count).map(|_| {
            let opened = left.part();
            connection.channel(None, move |_, ok| {
                ok.expect("a channel");
                opened.done();
            })
        });
        let channels = channels.collect::<Result<_, _>>()?;
        self.ioloop.start()?;
        Ok(channels)
    }

    /// Starts a consumer on each of the channels given, and then calls `then`, from the loop.
    pub fn consume(
        &self,
        channels: impl Iterator<Item = Channel>,
        options: &basic::Consume<'static>,
        tag: impl Fn(usize) -> String,
        on_message: impl FnMut(&Channel, &Delivery<'_>) + Clone + 'static,
        then: impl FnOnce() + 'static,
    ) -> Result<()> {
        let last = Rc::new(Cell::new(Some(then)));
        for (number, channel) in channels.enumerate() {
            let consume = basic::Consume { consumer_tag: tag(number).into(), ..options.clone() };
            let last = Rc::clone(&last);
            channel.basic_consume(consume, on_message.clone(), move |_, started| {
                started.expect("a consumer");
                if let Some(then) = Rc::into_inner(last).and_then(Cell::into_inner) {
                    then();
                }
            })?;
        }
        Ok(())
    }

    /// Publishes so many messages over the channels in turn, until the broker has got them all.
    pub fn publish(&self, channels: Vec<Channel>, messages: u64) -> Result<Outcome> {
        let first = channels[0].clone();
        let publisher = Rc::new(Publisher {
            channels,
            next: Cell::new(0),
            left: Cell::new(messages),
            body: [b'x'; SIZE],
            end: End::new(&self.ioloop),
        });
        let again = Rc::clone(&publisher);
        first.connection().add_on_writable_callback(move |_| again.publish())?;
        let timing = Timing::begin();
        publisher.publish();
        self.ioloop.start()?;
        Ok(timing.end(messages))
    }
}

struct Opening {
    count: usize,
    started: Cell<usize>,
    parameters: ConnectionParameters,
    open: RefCell<Vec<Connection>>,
    ioloop: LoopHandle,
}

impl Opening {
    fn connect_next(self: &Rc<Self>) {
        if self.started.get() == self.count {
            return;
        }
        self.started.set(self.started.get() + 1);
        let (this, services) = (Rc::clone(self), self.ioloop.services().expect("the loop runs"));
        let callbacks = ConnectionCallbacks::new()
            .on_open(move |connection| {
                let mut open = this.open.borrow_mut();
                open.push(connection.clone());
                if open.len() == this.count {
                    this.ioloop.stop();
                }
                drop(open);
                this.connect_next();
            })
            .on_close(|_, reason| panic!("a connection has ended: {reason}"));
        services.connect(self.parameters.clone(), callbacks);
    }
}

/// Stops the loop when so many things are done.
struct Countdown {
    left: Rc<Cell<usize>>,
    ioloop: LoopHandle,
}

impl Countdown {
    fn new(count: usize, ioloop: &IOLoop) -> Self {
        Self { left: Rc::new(Cell::new(count)), ioloop: ioloop.handle() }
    }

    fn part(&self) -> Self {
        Self { left: Rc::clone(&self.left), ioloop: self.ioloop.clone() }
    }

    fn done(&self) {
        self.left.set(self.left.get() - 1);
        if self.left.get() == 0 {
            self.ioloop.stop();
        }
    }
}

struct Publisher {
    channels: Vec<Channel>,
    next: Cell<usize>,
    left: Cell<u64>,
    body: [u8; SIZE],
    end: End,
}

impl Publisher {
    /// Publishes until there is no more room, or nothing more to publish.
    fn publish(&self) {
        while self.left.get() > 0 {
            let next = self.next.get();
            match publish(&self.channels[next], "sink", &self.body) {
                Ok(_) => {}
                Err(PublishError::Full) => return,
                Err(error) => panic!("{error}"),
            }
            self.next.set(if next + 1 < self.channels.len() { next + 1 } else { 0 });
            self.left.set(self.left.get() - 1);
        }
        self.end.ask(&self.channels[0]);
    }
}

#[inline]
pub fn publish(channel: &Channel, routing_key: &str, body: &[u8]) -> Result<u64, PublishError> {
    let to = basic::Publish { routing_key: routing_key.into(), ..Default::default() };
    channel.basic_publish(to, &BasicProperties::default(), body)
}

/// Stops the loop once the broker has answered what is asked last.
#[derive(Clone)]
pub struct End(LoopHandle);

impl End {
    pub fn new(ioloop: &IOLoop) -> Self {
        Self(ioloop.handle())
    }

    pub fn ask(&self, channel: &Channel) {
        let ioloop = self.0.clone();
        let declare = queue::Declare { queue: "last".into(), ..Default::default() };
        channel
            .queue_declare(declare, move |_, declared| {
                declared.expect("an answer");
                ioloop.stop();
            })
            .expect("it is open");
    }
}
