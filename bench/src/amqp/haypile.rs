//! haypile, on any loop.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use haypile::{
    BasicProperties, Channel, ConnectionCallbacks, ConnectionParameters, Error, PublishError,
    PublishOutcome, Services, basic, queue,
};

use super::job::{Job, Work};
use crate::Result;
use crate::hosts::Host;
use crate::outcome::{Outcome, Samples, Timing};

/// From so many bytes on, to share a body is cheaper than to copy it.
const SHARED: usize = 8 * 1024;

pub fn run_on<H: Host>(work: &Work) -> Result<Option<Outcome>> {
    let parameters: ConnectionParameters = work.url.parse()?;
    let host = H::new()?;
    let bench = Rc::new(Bench {
        work: work.clone(),
        body: work.body().into(),
        services: host.services().clone(),
        stop: host.stopper(),
        timing: Cell::new(None),
        count: Cell::new(0),
        sent: Cell::new(Instant::now()),
        trips: RefCell::default(),
        outcome: OnceCell::new(),
    });
    let [opened, failed, closed] = [(); 3].map(|()| Rc::clone(&bench));
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            let on_open = move |channel: &Channel, open: haypile::Result<()>| {
                open.expect("a channel");
                opened.start(channel);
            };
            connection.channel(None, on_open).expect("it is open");
        })
        .on_open_error(move |_, error| failed.end(Err(error)))
        .on_close(move |_, reason| closed.end(Err(reason)));
    let _connection = host.connect(parameters, callbacks);
    host.run();
    let outcome = bench.outcome.get().cloned().ok_or("the loop has ended before the work")?;
    Ok(Some(outcome?))
}

struct Bench {
    work: Work,
    body: Bytes,
    services: Services,
    stop: Rc<dyn Fn()>,
    timing: Cell<Option<Timing>>,
    count: Cell<u64>,
    /// When the request left that is under way.
    sent: Cell<Instant>,
    trips: RefCell<Samples>,
    outcome: OnceCell<Result<Outcome, Error>>,
}

impl Bench {
    fn start(self: Rc<Self>, channel: &Channel) {
        match self.work.job {
            Job::Publish => self.publish(channel),
            Job::Confirm => self.confirm(channel),
            Job::Consume => self.consume(channel, false),
            Job::ConsumeAck => self.consume(channel, true),
            Job::Rpc | Job::LatencyRpc | Job::LatencyPublishDeliver => self.rpc(channel),
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
            match self.send(channel) {
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
        let on_confirm = move |channel: &Channel, confirm: haypile::Confirm<'_>| {
            assert_eq!(confirm.outcome, PublishOutcome::Acked);
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
            let qos = basic::Qos { prefetch_count: self.work.prefetch(), ..Default::default() };
            let on_set = |_: &Channel, set: haypile::Result<_>| assert!(set.is_ok(), "{set:?}");
            channel.basic_qos(qos, on_set).expect("it is open");
        }
        self.begin();
        let mut left = self.work.messages;
        let on_message = move |this: &Rc<Self>, channel: &Channel, delivery_tag| {
            if ack {
                let ack = basic::Ack { delivery_tag, multiple: false };
                channel.basic_ack(ack).expect("it is open");
            }
            left -= 1;
            if left == 0 {
                this.declare(channel);
            }
        };
        self.start_consumer(channel, !ack, on_message, |_, _| {});
    }

    fn rpc(self: Rc<Self>, channel: &Channel) {
        let mut left = self.work.messages;
        let on_message = move |this: &Rc<Self>, channel: &Channel, _| {
            this.trips.borrow_mut().add(this.sent.get());
            left -= 1;
            match left {
                0 => this.done(),
                _ => this.request(channel),
            }
        };
        self.start_consumer(channel, true, on_message, |this, channel| {
            this.begin();
            this.request(channel);
        });
    }

    fn request(self: &Rc<Self>, channel: &Channel) {
        let Some(pause) = self.work.pause() else { return self.request_now(channel) };
        let (this, channel) = (Rc::clone(self), channel.clone());
        self.services.call_later(pause, move || this.request_now(&channel));
    }

    fn request_now(&self, channel: &Channel) {
        self.sent.set(Instant::now());
        self.send(channel).expect("there is room");
    }

    fn start_consumer(
        self: Rc<Self>,
        channel: &Channel,
        no_ack: bool,
        mut on_message: impl FnMut(&Rc<Self>, &Channel, u64) + 'static,
        on_started: impl FnOnce(&Rc<Self>, &Channel) + 'static,
    ) {
        let queue = self.work.queue.clone().into();
        let consume = basic::Consume { queue, no_ack, ..Default::default() };
        let this = Rc::clone(&self);
        channel
            .basic_consume(
                consume,
                move |channel, delivery| on_message(&self, channel, delivery.delivery_tag()),
                move |channel, started| {
                    started.expect("a consumer");
                    on_started(&this, channel);
                },
            )
            .expect("it is open");
    }

    #[inline]
    fn send(&self, channel: &Channel) -> std::result::Result<u64, PublishError> {
        let routing_key = self.work.queue.as_str().into();
        let to = basic::Publish { routing_key, ..Default::default() };
        let properties = BasicProperties::default();
        match self.body.len() {
            ..SHARED => channel.basic_publish(to, &properties, &self.body[..]),
            _ => channel.basic_publish(to, &properties, self.body.clone()),
        }
    }

    fn declare(self: &Rc<Self>, channel: &Channel) {
        let this = Rc::clone(self);
        let declare = queue::Declare {
            queue: self.work.queue.clone().into(),
            passive: true,
            ..Default::default()
        };
        channel
            .queue_declare(declare, move |_, declared| {
                declared.expect("an answer");
                this.done();
            })
            .expect("it is open");
    }

    fn begin(&self) {
        self.timing.set(Some(Timing::begin()));
    }

    fn done(&self) {
        let timing = self.timing.take().expect("it has begun");
        let outcome = timing.end(self.work.messages);
        self.end(Ok(self.trips.borrow().report(outcome, "")));
    }

    fn end(&self, outcome: Result<Outcome, Error>) {
        // The first is what counts.
        if self.outcome.set(outcome).is_ok() {
            (self.stop)();
        }
    }
}
