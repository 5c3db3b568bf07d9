//! The answer to a delivery, from any thread.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::handle::Channel;
use super::state::ChannelId;
use crate::connection::{Inbox, Post};
use crate::error::Result;
use crate::protocol::basic;

/// Where a message has come from, and its answer goes to.
#[derive(Clone)]
pub(crate) struct Origin<'a> {
    inbox: Cow<'a, Arc<Inbox>>,
    channel: ChannelId,
}

impl<'a> Origin<'a> {
    pub(crate) fn new(inbox: &'a Arc<Inbox>, channel: ChannelId) -> Self {
        Self { inbox: Cow::Borrowed(inbox), channel }
    }

    pub(super) fn into_owned(self) -> Origin<'static> {
        Origin { inbox: Cow::Owned(self.inbox.into_owned()), channel: self.channel }
    }

    pub(super) fn acker(&self, delivery_tag: u64) -> Acker {
        Acker {
            inbox: Arc::clone(&self.inbox),
            channel: self.channel,
            delivery_tag,
            if_dropped: IfDropped::Complain,
        }
    }
}

/// Of a connection that has ended, until a session says where it is from.
impl Default for Origin<'_> {
    fn default() -> Self {
        Self::new(Inbox::ended(), ChannelId { number: 0, generation: 0 })
    }
}

/// Answers one delivery, from any thread: `Send + Sync`. Had by
/// [`Delivery::acker`](crate::Message::acker), in the consumer's callback, or of a delivery that was
/// made [owned](crate::Message::into_owned), wherever that is.
///
/// It is consumed by its use, so it answers once. The answer goes to the channel that the delivery
/// came on, in the order that is said at [`RemoteConnection`](crate::RemoteConnection); those of all
/// threads leave together at the end of the loop's turn. If that channel has ended by then, nothing
/// is sent: the broker has put the message back to its queue, and a later channel of the same number
/// gets no answer that is not its own.
///
/// On the loop's own thread [`Channel::basic_ack`] is for this: it does not wait for the next turn, so
/// it does not come behind what is called meanwhile.
///
/// **Dropped without an answer**, a delivery stays out until its channel ends, and takes a place of
/// the consumer's prefetch: that is logged as a warning. A worker that may panic says
/// [`requeue_if_dropped`](Self::requeue_if_dropped).
///
/// ```no_run
/// # use haypile::{Channel, Delivery};
/// # fn compress(_: &[u8]) -> Option<()> { None }
/// fn on_message(_: &Channel, delivery: &Delivery<'_>) {
///     let (body, acker) = (delivery.to_bytes(), delivery.acker());
///     std::thread::spawn(move || {
///         let answered = match compress(&body) {
///             Some(()) => acker.ack(),
///             None => acker.reject(false),
///         };
///         if let Err(error) = answered {
///             eprintln!("the broker will deliver it again: {error}");
///         }
///     });
/// }
/// ```
#[must_use = "a delivery without an answer stays out until its channel ends"]
pub struct Acker {
    inbox: Arc<Inbox>,
    channel: ChannelId,
    delivery_tag: u64,
    if_dropped: IfDropped,
}

/// What becomes of a delivery whose acker is dropped.
#[derive(Clone, Copy)]
enum IfDropped {
    Complain,
    Requeue,
    /// It has its answer.
    Nothing,
}

impl Acker {
    /// Acknowledges the delivery (AMQP basic.ack).
    ///
    /// # Errors
    /// Those of [`RemoteConnection::add_callback`](crate::RemoteConnection::add_callback): the
    /// broker delivers the message again. `Ok` says that the loop has the answer, not that the
    /// broker has it.
    pub fn ack(self) -> Result<()> {
        self.answer(Verdict::Ack)
    }

    /// Refuses the delivery (RabbitMQ's basic.nack): back to the queue, or away to its dead letters.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub fn nack(self, requeue: bool) -> Result<()> {
        self.answer(Verdict::Nack { requeue })
    }

    /// Refuses the delivery (AMQP basic.reject): as [`nack`](Self::nack), and known to any broker.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub fn reject(self, requeue: bool) -> Result<()> {
        self.answer(Verdict::Reject { requeue })
    }

    /// From now on, to drop it without an answer puts the message back to its queue, by a panic
    /// also. A message that makes every worker panic then comes for ever, unless its queue limits
    /// that.
    pub fn requeue_if_dropped(mut self) -> Self {
        self.if_dropped = IfDropped::Requeue;
        self
    }

    /// The tag of the delivery, on the channel it came on.
    pub fn delivery_tag(&self) -> u64 {
        self.delivery_tag
    }

    /// The number of that channel.
    pub fn channel_number(&self) -> u16 {
        self.channel.number
    }

    fn answer(mut self, verdict: Verdict) -> Result<()> {
        self.if_dropped = IfDropped::Nothing;
        self.post(verdict)
    }

    fn post(&self, verdict: Verdict) -> Result<()> {
        let answer = Answer { delivery_tag: self.delivery_tag, verdict };
        self.inbox.put(Post::Answer(self.channel, answer))
    }
}

impl Drop for Acker {
    fn drop(&mut self) {
        match self.if_dropped {
            IfDropped::Requeue => drop(self.post(Verdict::Nack { requeue: true })),
            IfDropped::Complain if !self.inbox.has_ended() => {
                let (tag, number) = (self.delivery_tag, self.channel.number);
                log::warn!("delivery {tag} on channel {number} was dropped without an answer");
            }
            IfDropped::Complain | IfDropped::Nothing => {}
        }
    }
}

impl fmt::Debug for Acker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acker")
            .field("channel_number", &self.channel.number)
            .field("delivery_tag", &self.delivery_tag)
            .finish()
    }
}

/// What an acker says, on its way.
pub(crate) struct Answer {
    delivery_tag: u64,
    verdict: Verdict,
}

enum Verdict {
    Ack,
    Nack { requeue: bool },
    Reject { requeue: bool },
}

impl Answer {
    pub(crate) fn give(self, channel: &Channel) {
        let delivery_tag = self.delivery_tag;
        let given = match self.verdict {
            Verdict::Ack => channel.basic_ack(basic::Ack { delivery_tag, multiple: false }),
            Verdict::Nack { requeue } => {
                channel.basic_nack(basic::Nack { delivery_tag, multiple: false, requeue })
            }
            Verdict::Reject { requeue } => {
                channel.basic_reject(basic::Reject { delivery_tag, requeue })
            }
        };
        if let Err(error) = given {
            log::debug!("the answer to delivery {delivery_tag} came too late: {error}");
        }
    }
}
