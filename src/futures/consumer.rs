//! A consumer as a stream of messages.

use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use futures_core::Stream;

use super::wake::WakerCell;
use super::watch::Watch;
use super::{AsyncChannel, Reply};
use crate::channel::{Channel, Delivery};
use crate::error::{Error, LoopError, Party};
use crate::protocol::{ShortStr, basic};

/// Room for so many messages that wait is kept while none does.
const KEPT: usize = 128;

/// The messages of a consumer, in the order they come: a [`Stream`], which ends when the consumer
/// does. [`end`](Self::end) tells why. [`AsyncChannel::basic_consume`] starts one.
///
/// **What is not taken yet waits here**, and takes memory: as many messages as
/// [`basic_qos`](AsyncChannel::basic_qos) lets the broker send ahead of acknowledgements. Set it:
/// without, and for a consumer with `no_ack`, nothing but the length of the queue bounds them.
///
/// **Acknowledge** each by [`Channel::basic_ack`](crate::Channel::basic_ack) on the channel of the
/// consumer, or from wherever it goes by [`Delivery::acker`](crate::Message::acker).
///
/// **To drop it** cancels the consumer. Messages that were not taken go back to their queue (with
/// `no_ack`, they are lost); those that were taken are their taker's to acknowledge, also after that.
///
/// A message here is [owned](crate::Message::into_owned): its parts are copied out of the read buffer,
/// a body of 4 KiB and more shares it. That takes memory four times a message, and once more if it came
/// by another exchange than the default one. A callback, which
/// [`Channel::basic_consume`](crate::Channel::basic_consume) takes, sees a message in place, and takes
/// none.
pub struct Consumer {
    channel: AsyncChannel,
    no_ack: bool,
    inbox: Rc<Inbox>,
}

/// Why a [`Consumer`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerEnd {
    /// It was cancelled: by this program, or by the broker, for example because its queue was deleted.
    Cancelled(Party),
    /// Its channel has ended, with this reason.
    Channel(Error),
}

#[derive(Default)]
struct Inbox {
    /// From the call on that has started it.
    tag: OnceCell<ShortStr<'static>>,
    deliveries: RefCell<VecDeque<Delivery<'static>>>,
    end: OnceCell<ConsumerEnd>,
    waker: WakerCell,
}

impl Inbox {
    fn put(&self, delivery: Delivery<'static>) {
        self.deliveries.borrow_mut().push_back(delivery);
        self.waker.wake();
    }

    fn take(&self) -> Option<Delivery<'static>> {
        let mut deliveries = self.deliveries.borrow_mut();
        let next = deliveries.pop_front();
        if deliveries.is_empty() {
            deliveries.shrink_to(KEPT);
        }
        next
    }

    /// The first that is told counts.
    fn end(&self, end: ConsumerEnd) {
        if self.end.set(end).is_ok() {
            self.waker.wake();
        }
    }
}

/// The consumers of a channel, by their tags: which of them the broker has cancelled is told by that.
#[derive(Default)]
pub(super) struct Consumers(RefCell<HashMap<ShortStr<'static>, Weak<Inbox>>>);

impl Consumers {
    pub(super) fn cancelled(&self, consumer_tag: &ShortStr<'_>) {
        let inbox = self.0.borrow().get(consumer_tag.as_bytes()).and_then(Weak::upgrade);
        match inbox {
            Some(inbox) => inbox.end(ConsumerEnd::Cancelled(Party::Broker)),
            None => log::warn!("the broker cancelled the consumer {consumer_tag}"),
        }
    }

    fn add(&self, consumer_tag: &ShortStr<'static>, inbox: &Rc<Inbox>) {
        self.0.borrow_mut().insert(consumer_tag.clone(), Rc::downgrade(inbox));
    }

    /// Removes that very consumer: another one may have the tag by now.
    fn remove(&self, consumer_tag: &ShortStr<'_>, inbox: &Rc<Inbox>) {
        let mut known = self.0.borrow_mut();
        let found = known.get(consumer_tag.as_bytes());
        if found.is_some_and(|found| Weak::as_ptr(found) == Rc::as_ptr(inbox)) {
            known.remove(consumer_tag.as_bytes());
        }
        if known.is_empty() {
            *known = HashMap::new();
        }
    }
}

/// What the channel has of a consumer, until that has ended.
struct OfChannel {
    channel: Channel,
    watch: Rc<Watch>,
    consumers: Rc<Consumers>,
    inbox: Rc<Inbox>,
}

impl Drop for OfChannel {
    fn drop(&mut self) {
        if let Some(tag) = self.inbox.tag.get() {
            self.consumers.remove(tag, &self.inbox);
        }
        self.inbox.end(match self.watch.cause() {
            Some(cause) => ConsumerEnd::Channel(cause.clone()),
            None if self.channel.is_closed() => ConsumerEnd::Channel(LoopError::Gone.into()),
            None => ConsumerEnd::Cancelled(Party::Client),
        });
    }
}

impl Consumer {
    pub(super) fn start(channel: &AsyncChannel, method: basic::Consume<'_>) -> Reply<Self> {
        Reply::to(|told| {
            let inbox = Rc::<Inbox>::default();
            let of_channel = OfChannel {
                channel: (**channel).clone(),
                watch: Rc::clone(&channel.shared().watch),
                consumers: Rc::clone(&channel.shared().consumers),
                inbox: Rc::clone(&inbox),
            };
            let no_ack = method.no_ack;
            let consumer = Self { channel: channel.clone(), no_ack, inbox: Rc::clone(&inbox) };
            let tag = (**channel).basic_consume(
                method,
                move |_, delivery| of_channel.inbox.put(delivery.clone().into_owned()),
                |_, started| told.tell(started.map(|_| consumer)),
            )?;
            channel.shared().consumers.add(&tag, &inbox);
            let _ = inbox.tag.set(tag);
            Ok(())
        })
    }

    /// Its tag.
    pub fn consumer_tag(&self) -> &ShortStr<'static> {
        match self.inbox.tag.get() {
            Some(tag) => tag,
            None => unreachable!("it was given when the consumer was started"),
        }
    }

    /// The channel it is on.
    pub fn channel(&self) -> &AsyncChannel {
        &self.channel
    }

    /// The next message; `None` when there will be no more. To drop the future takes none.
    pub async fn next(&mut self) -> Option<Delivery<'static>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// Why it has ended, if it has. What came before that can still be taken.
    pub fn end(&self) -> Option<&ConsumerEnd> {
        self.inbox.end.get()
    }
}

impl Stream for Consumer {
    type Item = Delivery<'static>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.inbox.take();
        if next.is_some() || self.end().is_some() {
            return Poll::Ready(next);
        }
        self.inbox.waker.set(context.waker());
        Poll::Pending
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let waiting = self.inbox.deliveries.borrow().len();
        (waiting, self.end().map(|_| waiting))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.inbox.waker.clear();
        let Some(consumer_tag) = self.inbox.tag.get().cloned() else { return };
        // It fails if the consumer has ended, or is cancelled already.
        let _ = (*self.channel).basic_cancel(basic::Cancel { consumer_tag }, |_, _| ());
        for delivery in self.inbox.deliveries.take() {
            if !self.no_ack {
                let reject = basic::Reject { delivery_tag: delivery.delivery_tag(), requeue: true };
                // Of a channel that has ended, the broker has put them back itself.
                let _ = self.channel.basic_reject(reject);
            }
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("consumer_tag", &self.inbox.tag.get())
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}
