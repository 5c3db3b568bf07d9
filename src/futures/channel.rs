//! A channel whose requests are futures.

use std::cell::OnceCell;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::rc::{Rc, Weak};

use super::confirmation::{Confirmation, Confirms};
use super::connection::unless_wanted;
use super::consumer::Consumers;
use super::watch::{Ending, Waiting, Watch};
use super::{Consumer, Reply};
use crate::channel::{Body, Channel, ConfirmSummary, GetMessage, for_each_request};
use crate::error::{Error, Misuse, PublishError, Result};
use crate::protocol::{BasicProperties, ShortStr, basic, channel, exchange, queue, tx};

/// A [`Channel`] whose requests give futures instead of taking callbacks, under the same names. By
/// `Deref` it has all else that a `Channel` has: `basic_publish`, `basic_ack`, `is_open`, and so on.
/// [`AsyncConnection::open_channel`](super::AsyncConnection::open_channel) gives one.
///
/// A cheap clone, free to drop: that closes nothing.
///
/// **Requests** are made by the call, in their place among the others; the [`Reply`] only waits. A
/// [request timeout](Channel::set_request_timeout) holds here too.
#[derive(Clone)]
pub struct AsyncChannel {
    channel: Channel,
    shared: Rc<Shared>,
}

pub(super) struct Shared {
    pub(super) watch: Rc<Watch>,
    pub(super) consumers: Rc<Consumers>,
    /// From `confirm_delivery` on.
    confirms: OnceCell<Weak<Confirms>>,
}

/// The requests of the table, as methods that give a future.
macro_rules! futures {
    ($($(#[$doc:meta])* $name:ident($method:ty) -> $reply:ty;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// [`Misuse::ChannelNotOpen`] and [`Misuse::Encode`], before anything is sent; what ended
        /// the request.
        pub fn $name(&self, method: $method) -> Reply<$reply> {
            Reply::to(|told| self.channel.$name(method, |_, reply| told.tell(reply)))
        }
    )*};
}

impl AsyncChannel {
    /// Of a channel that has just opened.
    pub(super) fn new(channel: &Channel) -> Result<Self> {
        let (watch, consumers) = (Rc::<Watch>::default(), Rc::<Consumers>::default());
        let (ending, room, known) = (Ending::of(&watch), Rc::clone(&watch), Rc::clone(&consumers));
        channel.set_on_ending(|cause| ending.tell(cause))?;
        channel.add_on_writable_callback(move |_| room.changed())?;
        channel.add_on_cancel_callback(move |_, consumer_tag| known.cancelled(consumer_tag))?;
        let shared = Shared { watch, consumers, confirms: OnceCell::new() };
        Ok(Self { channel: channel.clone(), shared: Rc::new(shared) })
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    for_each_request!(futures);

    /// Waits until there is room to publish: [`basic_publish`](Channel::basic_publish) is not refused
    /// with [`PublishError::Full`](crate::PublishError::Full) or
    /// [`PublishError::TooManyUnconfirmed`](crate::PublishError::TooManyUnconfirmed) then. It is ready
    /// at once if there is room. After a refusal, that is when the low water mark is reached. Of
    /// several who wait, each is told, and the first may take all the room there is.
    ///
    /// # Errors
    /// What has ended the channel.
    ///
    /// ```no_run
    /// # async fn f(channel: &haypile::futures::AsyncChannel) -> haypile::Result<()> {
    /// use haypile::{BasicProperties, basic};
    ///
    /// for number in 0..1_000_000 {
    ///     channel.writable().await?;
    ///     let to = basic::Publish { routing_key: "hello".into(), ..Default::default() };
    ///     channel.basic_publish(to, &BasicProperties::default(), format!("{number}"))?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn writable(&self) -> impl Future<Output = Result<()>> + Unpin + use<> {
        let channel = self.channel.clone();
        Waiting::new(&self.shared.watch, move |watch| match channel.has_room() {
            Ok(true) => Some(Ok(())),
            Ok(false) => None,
            // It ends soon, or has ended.
            Err(_) => watch.cause().cloned().map(Err),
        })
    }

    /// Puts the channel into confirm mode, as [`Channel::confirm_delivery`] does, for
    /// [`publish`](Self::publish). There is no need to wait for the reply.
    ///
    /// # Errors
    /// Those of [`Channel::confirm_delivery`]; what ended the request.
    pub fn confirm_delivery(&self) -> Reply<()> {
        Reply::to(|told| {
            let confirms = Rc::<Confirms>::default();
            let waiting = Rc::downgrade(&confirms);
            self.channel.confirm_delivery(
                move |_, confirm| confirms.resolve(confirm),
                |_, selected| told.tell(selected),
            )?;
            // The channel has seen to it that this is the first.
            let _ = self.shared.confirms.set(waiting);
            Ok(())
        })
    }

    /// Publishes a message at once, as [`basic_publish`](Channel::basic_publish) does, and waits for
    /// what the broker says of it. To await each before the next is published costs a round trip for
    /// each: keep some futures, or let [`wait_for_confirms`](Self::wait_for_confirms) wait for many.
    ///
    /// To drop the future takes back no message.
    ///
    /// # Errors
    /// [`Error::Publish`] as of [`basic_publish`](Channel::basic_publish), also before
    /// [`confirm_delivery`](Self::confirm_delivery) was called ([`Misuse::NotConfirming`]): nothing
    /// was sent. Any other error is what ended the channel before the broker told; the message may be
    /// in its queue or not.
    ///
    /// ```no_run
    /// # async fn f(channel: &haypile::futures::AsyncChannel) -> haypile::Result<()> {
    /// use haypile::{BasicProperties, basic};
    ///
    /// channel.confirm_delivery().await?;
    /// let mut confirmations = Vec::new();
    /// for number in 0..100 {
    ///     channel.writable().await?;
    ///     let to = basic::Publish { routing_key: "hello".into(), ..Default::default() };
    ///     confirmations.push(channel.publish(to, &BasicProperties::default(), format!("{number}")));
    /// }
    /// for confirmation in confirmations {
    ///     assert!(confirmation.await?.is_acked());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn publish<'b>(
        &self,
        method: basic::Publish<'_>,
        properties: &BasicProperties<'_>,
        body: impl Into<Body<'b>>,
    ) -> Reply<Confirmation> {
        Reply::to(|told| {
            let confirms = self.shared.confirms.get();
            let confirms = confirms.ok_or(PublishError::Misuse(Misuse::NotConfirming))?;
            let number = self.channel.basic_publish(method, properties, body)?;
            if let Some(confirms) = confirms.upgrade() {
                confirms.wait(number, told);
            }
            Ok(())
        })
    }

    /// Waits until all that was published so far is resolved, and gives how it fared: see
    /// [`Channel::when_confirmed`].
    ///
    /// # Errors
    /// Those of [`Channel::when_confirmed`], and what its callback is told.
    pub fn wait_for_confirms(&self) -> Reply<ConfirmSummary> {
        Reply::to(|told| self.channel.when_confirmed(|_, summary| told.tell(summary)))
    }

    /// Starts a consumer, as [`Channel::basic_consume`] does: a stream of its messages. One that
    /// starts when the future has been dropped is cancelled, and what came for it goes back to its
    /// queue.
    ///
    /// # Errors
    /// Those of [`Channel::basic_consume`]; what ended the request.
    pub fn basic_consume(&self, method: basic::Consume<'_>) -> Reply<Consumer> {
        Consumer::start(self, method)
    }

    /// [Cancels](Channel::basic_cancel) a consumer. Its stream ends when that is answered.
    ///
    /// # Errors
    /// Those of [`Channel::basic_cancel`]; what ended the request.
    pub fn basic_cancel(&self, method: basic::Cancel<'_>) -> Reply<basic::CancelOk<'static>> {
        Reply::to(|told| self.channel.basic_cancel(method, |_, reply| told.tell(reply)))
    }

    /// [Fetches](Channel::basic_get) one message: `None` if the queue is empty. One that comes when
    /// the future has been dropped goes back to its queue; with `no_ack`, it is lost, which is logged.
    ///
    /// # Errors
    /// Those of [`Channel::basic_get`]; what ended the request.
    pub fn basic_get(&self, method: basic::Get<'_>) -> Reply<Option<GetMessage<'static>>> {
        let abandon = if method.no_ack { lose } else { requeue };
        Reply::or_else(abandon, |told| {
            self.channel.basic_get(method, |_, got| {
                told.tell(got.map(|message| message.map(GetMessage::into_owned)));
            })
        })
    }

    /// [Closes the channel](Channel::close), and waits until it has ended.
    ///
    /// # Errors
    /// Those of [`Channel::close`]; what ended the channel, if that was not this program.
    pub fn close<'a>(&self, reply_code: u16, reply_text: impl Into<ShortStr<'a>>) -> Reply<()> {
        Reply::to(|told| {
            self.channel.close(reply_code, reply_text)?;
            self.channel.add_on_close_callback(|_, reason| told.tell(unless_wanted(reason)))
        })
    }

    /// Waits until the channel has ended, and gives the reason, as
    /// [`add_on_close_callback`](Channel::add_on_close_callback) does. Any number of futures may wait,
    /// and each is told.
    pub fn closed(&self) -> impl Future<Output = Error> + Unpin + use<> {
        Waiting::new(&self.shared.watch, |watch| watch.cause().cloned())
    }
}

/// Puts a message back that nobody waits for any more.
fn requeue(message: Option<GetMessage<'static>>) {
    if let Some(message) = message {
        // Of a channel that has ended, the broker has put it back itself.
        let _ = message.acker().reject(true);
    }
}

fn lose(message: Option<GetMessage<'static>>) {
    if message.is_some() {
        log::warn!("lost the message of a basic.get that nobody waited for");
    }
}

impl Deref for AsyncChannel {
    type Target = Channel;

    fn deref(&self) -> &Channel {
        &self.channel
    }
}

impl fmt::Debug for AsyncChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncChannel").field(&self.channel).finish()
    }
}
