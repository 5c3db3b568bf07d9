//! haypile, on its own loop.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use haypile::{
    BasicProperties, Channel, ConnectionCallbacks, ConnectionParameters, IOLoop, LoopHandle,
    PublishError, SelectConnection, basic, queue,
};

use super::job::{Job, Work};
use crate::Result;
use crate::outcome::{Outcome, Timing};

pub fn run(work: &Work) -> Result<Option<Outcome>> {
    let mut parameters = ConnectionParameters::new(&work.host);
    parameters.set_port(work.port);
    let ioloop = IOLoop::new()?;
    let bench = Rc::new(Bench {
        work: work.clone(),
        body: vec![b'x'; work.size],
        ioloop: ioloop.handle(),
        timing: Cell::new(None),
        count: Cell::new(0),
        outcome: OnceCell::new(),
    });
    let opened = Rc::clone(&bench);
    let callbacks = ConnectionCallbacks::new().on_open(|connection| {
        let on_open = move |channel: &Channel, open: haypile::Result<()>| {
            open.expect("a channel");
            opened.start(channel);
        };
        connection.channel(None, on_open).expect("it is open");
    });
    let _connection = SelectConnection::with_ioloop(parameters, callbacks, &ioloop)?;
    ioloop.start()?;
    Ok(bench.outcome.get().cloned())
}

struct Bench {
    work: Work,
    body: Vec<u8>,
    ioloop: LoopHandle,
    timing: Cell<Option<Timing>>,
    count: Cell<u64>,
    outcome: OnceCell<Outcome>,
}

impl Bench {
    fn start(self: Rc<Self>, channel: &Channel) {
        match self.work.job {
            Job::Publish => self.publish(channel),
            Job::Confirm => self.confirm(channel),
            Job::Consume => self.consume(channel, false),
            Job::ConsumeAck => self.consume(channel, true),
            Job::Rpc => self.rpc(channel),
        }
    }

    fn publish(self: Rc<Self>, channel: &Channel) {
        self.begin();
        let again = Rc::clone(&self);
        channel
            .add_on_writable_callback(move |channel| again.publish_all(channel))
            .expect("it is open");
        self.publish_all(channel);
    }

    /// Publishes until there is no more room, or nothing more to publish.
    fn publish_all(self: &Rc<Self>, channel: &Channel) {
        while self.count.get() < self.work.messages {
            match self.send(channel, "sink") {
                Ok(_) => self.count.set(self.count.get() + 1),
                Err(PublishError::Full | PublishError::TooManyUnconfirmed { .. }) => return,
                Err(error) => panic!("{error}"),
            }
        }
        if self.work.job == Job::Publish {
            self.declare(channel);
        }
    }

    fn confirm(self: Rc<Self>, channel: &Channel) {
        let mut left = self.work.messages;
        let end = Rc::clone(&self);
        let on_confirm = move |channel: &Channel, _: haypile::Confirm<'_>| {
            left -= 1;
            if left == 0 {
                end.declare(channel);
            }
        };
        let this = Rc::clone(&self);
        let on_selected = move |channel: &Channel, selected: haypile::Result<()>| {
            selected.expect("it confirms");
            this.publish(channel);
        };
        channel.confirm_delivery(on_confirm, on_selected).expect("it is open");
        channel.set_max_unconfirmed(self.work.window as usize).expect("it is open");
    }

    fn consume(self: Rc<Self>, channel: &Channel, ack: bool) {
        if ack {
            let prefetch_count = u16::try_from(self.work.window).unwrap_or(u16::MAX);
            let qos = basic::Qos { prefetch_count, ..Default::default() };
            let on_set = |_: &Channel, set: haypile::Result<_>| assert!(set.is_ok(), "{set:?}");
            channel.basic_qos(qos, on_set).expect("it is open");
        }
        self.begin();
        let queue = self.work.flood();
        let mut left = self.work.messages;
        self.start_consumer(channel, &queue, !ack, move |this, channel, delivery_tag| {
            if ack {
                let ack = basic::Ack { delivery_tag, multiple: false };
                channel.basic_ack(ack).expect("it is open");
            }
            left -= 1;
            if left == 0 {
                this.declare(channel);
            }
        });
    }

    fn rpc(self: Rc<Self>, channel: &Channel) {
        let mut left = self.work.messages;
        Rc::clone(&self).start_consumer(channel, "echo", true, move |this, channel, _| {
            left -= 1;
            match left {
                0 => this.end(),
                _ => drop(this.send(channel, "echo").expect("there is room")),
            }
        });
        self.begin();
        self.send(channel, "echo").expect("there is room");
    }

    fn start_consumer(
        self: Rc<Self>,
        channel: &Channel,
        queue: &str,
        no_ack: bool,
        mut on_message: impl FnMut(&Rc<Self>, &Channel, u64) + 'static,
    ) {
        let consume = basic::Consume { queue: queue.into(), no_ack, ..Default::default() };
        channel
            .basic_consume(
                consume,
                move |channel, delivery| on_message(&self, channel, delivery.delivery_tag()),
                |_, started| drop(started.expect("a consumer")),
            )
            .expect("it is open");
    }

    #[inline]
    fn send(&self, channel: &Channel, routing_key: &str) -> std::result::Result<u64, PublishError> {
        let to = basic::Publish { routing_key: routing_key.into(), ..Default::default() };
        channel.basic_publish(to, &BasicProperties::default(), &self.body[..])
    }

    fn declare(self: &Rc<Self>, channel: &Channel) {
        let this = Rc::clone(self);
        let declare = queue::Declare { queue: "last".into(), ..Default::default() };
        channel
            .queue_declare(declare, move |_, declared| {
                declared.expect("an answer");
                this.end();
            })
            .expect("it is open");
    }

    fn begin(&self) {
        self.timing.set(Some(Timing::begin()));
    }

    fn end(&self) {
        if let Some(timing) = self.timing.take() {
            let _ = self.outcome.set(timing.end(self.work.messages));
        }
        self.ioloop.stop();
    }
}
