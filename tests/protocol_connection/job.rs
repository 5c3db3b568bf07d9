//! What each transport must carry: a channel, a queue, small and large messages there and back, and an
//! orderly end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use haypile::{
    BasicProperties, Channel, Closed, ConnectionCallbacks, Delivery, Error, Party, Result, basic,
    queue,
};

/// What a job came to.
#[derive(Default)]
pub struct Job {
    received: RefCell<Vec<Vec<u8>>>,
    ended: Cell<Option<Error>>,
}

impl Job {
    /// Messages of these bodies are to go there and back.
    pub fn callbacks(self: &Rc<Self>, bodies: &[Vec<u8>]) -> ConnectionCallbacks {
        let (opens, closes, bodies) = (Rc::clone(self), Rc::clone(self), bodies.to_vec());
        ConnectionCallbacks::new()
            .on_open(move |connection| {
                let opened = move |channel: &Channel, opened: Result<()>| {
                    opened.expect("the channel opens");
                    opens.on_channel(channel, bodies);
                };
                connection.channel(None, opened).expect("the connection is open");
            })
            .on_open_error(|_, error| panic!("{error}"))
            .on_close(move |_, reason| assert_eq!(closes.ended.replace(Some(reason)), None))
    }

    fn on_channel(self: Rc<Self>, channel: &Channel, bodies: Vec<Vec<u8>>) {
        let declare = queue::Declare { exclusive: true, ..Default::default() };
        let declared = move |channel: &Channel, declared: Result<queue::DeclareOk<'static>>| {
            let queue = declared.expect("the queue is declared").queue;
            let expected = bodies.len();
            for body in bodies {
                let to = basic::Publish { routing_key: queue.clone(), ..Default::default() };
                channel
                    .basic_publish(to, &BasicProperties::default(), body)
                    .expect("there is room");
            }
            let consume = basic::Consume { queue, ..Default::default() };
            let on_message = move |channel: &Channel, delivery: &Delivery<'_>| {
                self.received.borrow_mut().push(delivery.body().to_vec());
                let delivery_tag = delivery.delivery_tag();
                channel.basic_ack(basic::Ack { delivery_tag, multiple: false }).expect("open");
                if self.received.borrow().len() == expected {
                    channel.connection().close(200, "done").expect("the connection is open");
                }
            };
            let started = |_: &Channel, started: Result<_>| drop(started.expect("consuming"));
            channel.basic_consume(consume, on_message, started).expect("the channel is open");
        };
        channel.queue_declare(declare, declared).expect("the channel is open");
    }

    /// All has come back, and the connection has been closed in order.
    pub fn assert_done(&self, bodies: &[Vec<u8>]) {
        let (by, reply_text) = (Party::Client, "done".to_owned());
        let closed = Closed { by, reply_code: 200, reply_text, cause: (0, 0) };
        assert_eq!(self.ended.take(), Some(Error::ConnectionClosed(closed)));
        assert!(*self.received.borrow() == bodies, "the messages are others");
    }
}
