//! The user's handle on a channel.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::callbacks::{Completion, OnMessage};
use super::message::{Body, Delivery, GetMessage, ReturnedMessage};
use super::remote::RemoteChannel;
use super::request_table::for_each_request;
use super::state::{ChannelId, ChannelState, Observers};
use crate::connection::{Connection, Inbox, Session, Wire};
use crate::error::{Error, Misuse, ProtocolError, PublishError, Result};
use crate::protocol::{
    BasicProperties, EncodeMethod, Method, ReplyMethod, Request, ShortStr, basic, channel,
    exchange, queue, tx,
};

/// A handle on a channel: cheap to clone, free to drop.
///
/// The connection owns the channel until it has closed; the handle holds it weakly, so that
/// closures may capture it. It stays on the loop's thread (`!Send`). Every method may be called
/// from any callback; none calls back before it returns.
///
/// **Requests** (`queue_declare` and all others that take a callback last) complete exactly once,
/// from the loop: with the broker's reply, or with the error that ended the channel or connection.
/// One at a time is on the wire; the others wait in order, and what is published or acknowledged
/// behind a waiting request keeps its place behind it. Their time can be limited: see
/// [`set_request_timeout`](Self::set_request_timeout).
///
/// **Errors**: every call on a channel that is not open is [`Misuse::ChannelNotOpen`], and a value
/// that AMQP cannot carry is [`Misuse::Encode`]; nothing is sent then, and the closures that came
/// with the call are dropped uncalled.
#[derive(Clone)]
pub struct Channel {
    session: Weak<Session>,
    id: ChannelId,
}

/// The requests of the table, as methods that take a callback.
macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident($method:ty) -> $reply:ty;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// [`Misuse::ChannelNotOpen`] and [`Misuse::Encode`], before anything is sent.
        pub fn $name(
            &self,
            method: $method,
            on_reply: impl FnOnce(&Channel, Result<$reply>) + 'static,
        ) -> Result<()> {
            self.request(&method, on_reply)
        }
    )*};
}

impl Channel {
    pub(crate) fn new(session: Weak<Session>, id: ChannelId) -> Self {
        Self { session, id }
    }

    #[inline]
    fn session(&self) -> Result<Rc<Session>, Misuse> {
        self.session.upgrade().ok_or(Misuse::ChannelNotOpen)
    }

    /// Works on the channel's state, if it and its connection are open.
    #[inline]
    pub(super) fn work<R, E: From<Misuse>>(
        &self,
        work: impl FnOnce(&mut ChannelState, &mut Wire) -> Result<R, E>,
    ) -> Result<R, E> {
        self.session()?.with(|machine| {
            let (channel, wire) = machine.open_channel_mut(self.id)?;
            work(channel, wire)
        })
    }

    /// Has the channel put something into its output, and does nothing else.
    #[inline]
    fn put<R, E: From<Misuse>>(
        &self,
        put: impl FnOnce(&mut ChannelState, &mut Wire) -> Result<R, E>,
    ) -> Result<R, E> {
        self.session()?.put(|machine| {
            let (channel, wire) = machine.open_channel_mut(self.id)?;
            put(channel, wire)
        })
    }

    /// Works on the channel's state with the time.
    pub(super) fn work_at<R>(
        &self,
        work: impl FnOnce(&mut ChannelState, &mut Wire, Instant) -> Result<R, Misuse>,
    ) -> Result<R, Misuse> {
        // An adapter's clock is asked with nothing borrowed.
        let now = self.session()?.services().ok_or(Misuse::ChannelNotOpen)?.now();
        self.work(|channel, wire| work(channel, wire, now))
    }

    /// Makes a request of the channel, whose time begins to run.
    pub(super) fn ask<R>(
        &self,
        ask: impl FnOnce(&mut ChannelState, &mut Wire) -> Result<R, Misuse>,
    ) -> Result<R, Misuse> {
        self.work_at(|channel, wire, now| {
            let asked = ask(channel, wire)?;
            channel.limit_last_request(wire, now);
            Ok(asked)
        })
    }

    fn request<M: Request>(
        &self,
        method: &M,
        on_reply: impl FnOnce(&Channel, Result<M::Reply>) + 'static,
    ) -> Result<()> {
        let mut completion = Some(reply_as(on_reply));
        Ok(self.ask(|channel, wire| channel.request(wire, method, &mut completion))?)
    }

    /// Its number on the connection.
    pub fn channel_number(&self) -> u16 {
        self.id.number
    }

    /// The connection it is on.
    pub fn connection(&self) -> Connection {
        Connection::new(self.session.clone())
    }

    /// A handle for other threads: it posts closures that get this one.
    pub fn remote(&self) -> RemoteChannel {
        let session = self.session.upgrade();
        let inbox = session.as_ref().map_or(Inbox::ended(), |session| session.inbox());
        RemoteChannel::new(Arc::clone(inbox), self.id)
    }

    /// Whether it is open: the broker has opened it, and nobody has closed it or its connection.
    pub fn is_open(&self) -> bool {
        self.is(|machine_is_open, channel| machine_is_open && channel.is_open())
    }

    /// Whether `close` was called on it, and it has not ended yet.
    pub fn is_closing(&self) -> bool {
        self.is(|_, channel| channel.is_closing())
    }

    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        !self.is(|_, _| true)
    }

    fn is(&self, test: impl FnOnce(bool, &ChannelState) -> bool) -> bool {
        let Some(session) = self.session.upgrade() else { return false };
        session.look(|machine| {
            machine.channel(self.id).is_some_and(|channel| test(machine.is_open(), channel))
        })
    }

    /// Looks at the channel's state, if it has not ended.
    pub(super) fn look<R>(&self, look: impl FnOnce(&ChannelState) -> R) -> Option<R> {
        self.session.upgrade()?.look(|machine| machine.channel(self.id).map(look))
    }

    /// Closes the channel (AMQP channel.close): once the requests that wait are answered, the
    /// broker is told; when it has answered, the close callbacks are called. Consumers get no more
    /// messages from now on. A channel that is still opening is closed as soon as it is open, and
    /// its `on_open` is told that it was closed.
    ///
    /// # Errors
    /// [`Misuse::ChannelNotOpen`] if it is closing or closed already; [`Misuse::Encode`] if
    /// `reply_text` is longer than 255 bytes.
    pub fn close<'a>(&self, reply_code: u16, reply_text: impl Into<ShortStr<'a>>) -> Result<()> {
        let reply_text = reply_text.into();
        Ok(self.ask(|channel, wire| channel.close(wire, reply_code, reply_text))?)
    }

    /// Limits how long the broker may take to answer each request that is made from now on; `None`
    /// is no limit, which is the default unless the connection's
    /// [`set_request_timeout`](Connection::set_request_timeout) says otherwise.
    ///
    /// The time runs from the call on, also while the request waits for those before it. When it
    /// is over, the request completes with [`Error::RequestTimeout`]. Whether it takes effect is
    /// then not known: it is sent in its turn all the same, its reply is awaited and dropped, and
    /// what follows keeps its place behind it. What it would bring is undone:
    ///
    /// - the message of a `basic_get` goes back to its queue (`no_ack`: it is lost, which is
    ///   logged); a get that is not sent yet is not sent at all;
    /// - the consumer of a `basic_consume` is not called any more, and is cancelled;
    /// - a channel whose opening was not answered is closed when it opens;
    /// - a `close` that is not answered ends the channel without the broker: the close callbacks
    ///   get the error, and the number stays in use until the answer comes.
    ///
    /// # Errors
    /// [`Misuse::ChannelNotOpen`] if the channel has ended.
    pub fn set_request_timeout(&self, limit: impl Into<Option<Duration>>) -> Result<()> {
        let limit = limit.into();
        self.work(|channel, _| {
            channel.set_request_timeout(limit);
            Ok::<_, Misuse>(())
        })?;
        Ok(())
    }

    /// Adds a closure that is called once, when the channel has ended, however it did: with
    /// [`Error::ChannelClosed`], with [`Error::RequestTimeout`], or with what ended its connection
    /// (pika's `add_on_close_callback`). They are called in the order they were added. A channel
    /// that the broker closes and that has none is logged.
    ///
    /// # Errors
    /// [`Misuse::ChannelNotOpen`] if it has ended already; the closure is dropped uncalled.
    pub fn add_on_close_callback(
        &self,
        on_close: impl FnOnce(&Channel, Error) + 'static,
    ) -> Result<()> {
        self.observe(Box::new(on_close) as _, |observers| &mut observers.on_close)
    }

    /// Adds a closure that is called for each message that comes back because the broker could not
    /// route it (AMQP basic.return; pika's `add_on_return_callback`). Without one, each is logged.
    ///
    /// # Errors
    /// [`Misuse::ChannelNotOpen`] if the channel has ended already.
    pub fn add_on_return_callback(
        &self,
        on_return: impl FnMut(&Channel, &ReturnedMessage<'_>) + 'static,
    ) -> Result<()> {
        self.observe(Box::new(on_return) as _, |observers| &mut observers.on_return)
    }

    /// Adds a closure that is called with the consumer tag when the broker cancels a consumer, for
    /// example because its queue was deleted (AMQP basic.cancel; pika's `add_on_cancel_callback`).
    /// Without one, it is logged.
    ///
    /// # Errors
    /// [`Misuse::ChannelNotOpen`] if the channel has ended already.
    pub fn add_on_cancel_callback(
        &self,
        on_cancel: impl FnMut(&Channel, &ShortStr<'_>) + 'static,
    ) -> Result<()> {
        self.observe(Box::new(on_cancel) as _, |observers| &mut observers.on_cancel)
    }

    /// Adds a closure that is called when there is room again for what
    /// [`basic_publish`](Self::basic_publish) has refused with
    /// [`PublishError::Full`] or [`PublishError::TooManyUnconfirmed`]: once for each time that there
    /// was none.
    ///
    /// # Errors
    /// [`Misuse::ChannelNotOpen`] if the channel has ended already.
    ///
    /// ```no_run
    /// use haypile::{BasicProperties, Channel, PublishError, basic};
    ///
    /// /// Publishes what is left, as far as there is room for it.
    /// fn publish(channel: &Channel, left: &mut Vec<String>) -> Result<(), PublishError> {
    ///     while let Some(next) = left.last() {
    ///         let to = basic::Publish { routing_key: "hello".into(), ..Default::default() };
    ///         match channel.basic_publish(to, &BasicProperties::default(), next) {
    ///             Ok(_) => drop(left.pop()),
    ///             Err(PublishError::Full) => return Ok(()), // the callback goes on
    ///             Err(error) => return Err(error),
    ///         }
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # fn f(channel: &Channel, mut left: Vec<String>) -> haypile::Result<()> {
    /// publish(channel, &mut left)?;
    /// channel.add_on_writable_callback(move |channel| {
    ///     publish(channel, &mut left).expect("the channel is open");
    /// })
    /// # }
    /// ```
    pub fn add_on_writable_callback(
        &self,
        on_writable: impl FnMut(&Channel) + 'static,
    ) -> Result<()> {
        self.observe(Box::new(on_writable) as _, |observers| &mut observers.on_writable)
    }

    fn observe<F>(&self, closure: F, list: fn(&mut Observers) -> &mut Vec<F>) -> Result<()> {
        let mut closure = Some(closure);
        self.session()?.with(|machine| {
            let channel = machine.channel_mut(self.id).ok_or(Misuse::ChannelNotOpen)?;
            list(&mut channel.observers).extend(closure.take());
            Ok(())
        })
    }

    /// Publishes a message (AMQP basic.publish). Gives its sequence number: the broker's delivery
    /// tag for it in [confirm mode](Self::confirm_delivery), where counting starts again at 1;
    /// before that, its number on this channel, from 1 on.
    ///
    /// The message is encoded at once, in its place behind requests that wait, and leaves by the
    /// end of the loop's turn with all else that was published meanwhile. A body that is handed
    /// over (`Vec`, `String`, `Bytes`) and longer than 8 KiB is not copied.
    ///
    /// # Errors
    /// [`PublishError::Misuse`]: the channel is not open, or a value cannot be encoded.
    /// [`PublishError::Full`]: too much waits to be sent, see
    /// [`set_water_marks`](crate::ConnectionParameters::set_water_marks), or the broker has paused
    /// the channel.
    /// [`PublishError::TooManyUnconfirmed`]: see
    /// [`set_max_unconfirmed`](Self::set_max_unconfirmed). Nothing of the message is sent then. That
    /// no such exchange exists is found by the broker later, which then closes the channel.
    ///
    /// ```no_run
    /// # fn f(channel: &haypile::Channel) -> haypile::Result<()> {
    /// use haypile::{BasicProperties, basic};
    ///
    /// let to = basic::Publish { routing_key: "hello".into(), ..Default::default() };
    /// let properties = BasicProperties { delivery_mode: Some(2), ..Default::default() };
    /// channel.basic_publish(to, &properties, "Hello!")?;
    /// # Ok(()) }
    /// ```
    #[inline]
    pub fn basic_publish<'b>(
        &self,
        method: basic::Publish<'_>,
        properties: &BasicProperties<'_>,
        body: impl Into<Body<'b>>,
    ) -> Result<u64, PublishError> {
        // It outlives the work: it may be the last of memory whose drop is the user's.
        let mut body = body.into();
        self.put(|channel, wire| channel.publish(wire, &method, properties, &mut body))
    }

    /// Starts a consumer (AMQP basic.consume). Gives its tag: the one in `method`, or a new one if
    /// that is empty.
    ///
    /// `on_message` is called for each message, from the loop, until the consumer is cancelled or
    /// the channel ends; deliveries may come before `on_reply`.
    ///
    /// # Errors
    /// [`Misuse::ConsumerTagInUse`], [`Misuse::ChannelNotOpen`], [`Misuse::Encode`], before
    /// anything is sent.
    ///
    /// ```no_run
    /// # fn f(channel: &haypile::Channel) -> haypile::Result<()> {
    /// use haypile::basic;
    ///
    /// channel.basic_consume(
    ///     basic::Consume { queue: "hello".into(), ..Default::default() },
    ///     |channel, delivery| {
    ///         println!("{}", String::from_utf8_lossy(delivery.body()));
    ///         let delivery_tag = delivery.delivery_tag();
    ///         channel.basic_ack(basic::Ack { delivery_tag, multiple: false }).expect("open");
    ///     },
    ///     |_, started| println!("consuming as {}", started.expect("started").consumer_tag),
    /// )?;
    /// # Ok(()) }
    /// ```
    pub fn basic_consume(
        &self,
        method: basic::Consume<'_>,
        on_message: impl FnMut(&Channel, &Delivery<'_>) + 'static,
        on_reply: impl FnOnce(&Channel, Result<basic::ConsumeOk<'static>>) + 'static,
    ) -> Result<ShortStr<'static>> {
        let mut on_message: Option<OnMessage> = Some(Rc::new(RefCell::new(on_message)));
        let mut completion = Some(reply_as(on_reply));
        Ok(self
            .ask(|channel, wire| channel.consume(wire, method, &mut on_message, &mut completion))?)
    }

    /// Cancels a consumer (AMQP basic.cancel). Its closure is not called any more; messages that
    /// are on their way go back to the queue, unless the consumer takes them unacknowledged: those
    /// are lost.
    ///
    /// # Errors
    /// [`Misuse::UnknownConsumerTag`] if there is no such consumer, or it is cancelled already;
    /// [`Misuse::ChannelNotOpen`].
    pub fn basic_cancel(
        &self,
        method: basic::Cancel<'_>,
        on_reply: impl FnOnce(&Channel, Result<basic::CancelOk<'static>>) + 'static,
    ) -> Result<()> {
        let mut completion = Some(reply_as(on_reply));
        Ok(self.ask(|channel, wire| channel.cancel(wire, &method, &mut completion))?)
    }

    /// The tags of the consumers that are started and not cancelled (pika's `consumer_tags`), in no
    /// certain order.
    pub fn consumer_tags(&self) -> Vec<ShortStr<'static>> {
        let tags = |channel: &ChannelState| {
            channel.consumers.tags().map(|tag| tag.clone().into()).collect()
        };
        self.look(tags).unwrap_or_default()
    }

    /// Fetches one message (AMQP basic.get): `None` if the queue is empty.
    ///
    /// # Errors
    /// [`Misuse::ChannelNotOpen`] and [`Misuse::Encode`], before anything is sent.
    pub fn basic_get(
        &self,
        method: basic::Get<'_>,
        on_reply: impl FnOnce(&Channel, Result<Option<GetMessage<'_>>>) + 'static,
    ) -> Result<()> {
        let mut completion = Some(Completion::Get(Box::new(on_reply)));
        Ok(self.ask(|channel, wire| channel.get(wire, &method, &mut completion))?)
    }

    /// Acknowledges a delivery, or all up to it (AMQP basic.ack).
    ///
    /// # Errors
    /// [`Misuse::ChannelNotOpen`]. A tag that the broker does not know makes it close the channel.
    #[inline]
    pub fn basic_ack(&self, method: basic::Ack) -> Result<()> {
        self.settle(&method, method.delivery_tag, method.multiple)
    }

    /// Refuses a delivery, or all up to it (RabbitMQ's basic.nack).
    ///
    /// # Errors
    /// [`Misuse::ChannelNotOpen`]. A tag that the broker does not know makes it close the channel.
    #[inline]
    pub fn basic_nack(&self, method: basic::Nack) -> Result<()> {
        self.settle(&method, method.delivery_tag, method.multiple)
    }

    /// Refuses a delivery (AMQP basic.reject).
    ///
    /// # Errors
    /// [`Misuse::ChannelNotOpen`]. A tag that the broker does not know makes it close the channel.
    #[inline]
    pub fn basic_reject(&self, method: basic::Reject) -> Result<()> {
        self.settle(&method, method.delivery_tag, false)
    }

    #[inline]
    fn settle<M: EncodeMethod>(&self, method: &M, tag: u64, multiple: bool) -> Result<()> {
        Ok(self.put(|channel, wire| channel.settle(wire, method, tag, multiple))?)
    }

    for_each_request!(requests);
}

/// Makes a completion of a closure that takes one kind of reply.
fn reply_as<R: ReplyMethod>(on_reply: impl FnOnce(&Channel, Result<R>) + 'static) -> Completion {
    Completion::Reply(Box::new(move |channel: &Channel, reply: Result<Method<'_>>| {
        let reply = reply.and_then(|method| {
            let (channel, name) = (channel.channel_number(), method.name());
            R::from_method(method)
                .ok_or_else(|| ProtocolError::UnexpectedMethod { channel, method: name }.into())
        });
        on_reply(channel, reply);
    }))
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel")
            .field("channel_number", &self.id.number)
            .field("is_open", &self.is_open())
            .finish()
    }
}
