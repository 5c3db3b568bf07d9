//! Publisher confirms, as the user asks for them.

use std::cell::RefCell;
use std::rc::Rc;

use super::{Confirm, ConfirmSummary, OnConfirm, OnConfirmed};
use crate::channel::{Channel, Completion};
use crate::error::{Misuse, Result};
use crate::protocol::Method;

impl Channel {
    /// Puts the channel into confirm mode (RabbitMQ's confirm.select; pika's `confirm_delivery`).
    /// From this call on, `on_confirm` is told exactly once of each message published here what
    /// became of it.
    ///
    /// `on_selected` is called when the broker has agreed. There is no need to wait for it: what is
    /// published meanwhile keeps its place behind this request and counts. The numbers that
    /// [`basic_publish`](Self::basic_publish) gives start again at 1 with this call, and are the
    /// broker's own delivery tags.
    ///
    /// - One acknowledgement of the broker may cover many messages; `on_confirm` is called for each,
    ///   in the order of its number. Acknowledgements need not come in order.
    /// - A `mandatory` message that comes back is told to the return callbacks first, and here as
    ///   [`PublishOutcome::Returned`](crate::PublishOutcome::Returned) when its acknowledgement
    ///   follows. basic.return does not say which publish it is of. RabbitMQ (since 3.8) returns in
    ///   the order of publishing, and before it acknowledges; thus it is the first unresolved
    ///   mandatory publish behind the last one that came back, of the same exchange, routing key,
    ///   `message_id`, `correlation_id` and body. Which one that is can be mistaken only among
    ///   messages alike in all of these, of which some are routed and others are not (the queue
    ///   comes or goes between them): then the number of those that came back is right, and one
    ///   that was routed may be told as returned instead of its twin. A `message_id` of its own for
    ///   each message rules that out.
    /// - When the channel or its connection ends, each message that is not resolved is told as
    ///   [`PublishOutcome::Lost`](crate::PublishOutcome::Lost), before the channel's close
    ///   callbacks. `close` does not wait for confirms: see
    ///   [`when_confirmed`](Self::when_confirmed).
    /// - An acknowledgement of what was told already is dropped and logged; one of tag 0 with
    ///   `multiple` is of all that were sent, as AMQP has it. One of what was never sent ends the
    ///   connection with
    ///   [`ProtocolError::UnknownDeliveryTag`](crate::ProtocolError::UnknownDeliveryTag): if broker
    ///   and client do not count alike, no confirm can be relied on.
    ///
    /// # Errors
    /// [`Misuse::AlreadyConfirming`] the second time: there is no way back. A channel that is
    /// transactional is closed by the broker. [`Misuse::ChannelNotOpen`].
    ///
    /// ```no_run
    /// # fn f(channel: &haypile::Channel) -> haypile::Result<()> {
    /// use haypile::{BasicProperties, PublishOutcome, basic};
    ///
    /// channel.confirm_delivery(
    ///     |_, confirm| match confirm.outcome {
    ///         PublishOutcome::Acked => println!("{} is safe", confirm.sequence_number),
    ///         failed => println!("{}: {failed:?}", confirm.sequence_number),
    ///     },
    ///     |_, selected| selected.expect("the broker confirms"),
    /// )?;
    /// let to = basic::Publish { routing_key: "hello".into(), ..Default::default() };
    /// assert_eq!(channel.basic_publish(to, &BasicProperties::default(), "Hello!")?, 1);
    /// # Ok(()) }
    /// ```
    pub fn confirm_delivery(
        &self,
        on_confirm: impl FnMut(&Channel, Confirm<'_>) + 'static,
        on_selected: impl FnOnce(&Channel, Result<()>) + 'static,
    ) -> Result<()> {
        let on_selected = |channel: &Channel, selected: Result<Method<'_>>| {
            on_selected(channel, selected.map(|_| ()));
        };
        let mut on_confirm: Option<OnConfirm> = Some(Rc::new(RefCell::new(on_confirm)));
        let mut completion = Some(Completion::Reply(Box::new(on_selected)));
        Ok(self.ask(|channel, wire| {
            channel.confirm_delivery(wire, &mut on_confirm, &mut completion)
        })?)
    }

    /// Has `on_confirmed` called once everything that was published on the channel so far is
    /// resolved: at the next turn of the loop, if it is already. It comes after `on_confirm` was
    /// told of each.
    ///
    /// The summary tells how they fared; each message is counted in the summary of the first call
    /// of `when_confirmed` that comes after it was published. If the channel ends before, the
    /// error says why. A [request timeout](Self::set_request_timeout) holds here too: past it,
    /// `on_confirmed` is called with [`Error::RequestTimeout`](crate::Error::RequestTimeout), and
    /// what it would have counted is counted for the next call.
    ///
    /// # Errors
    /// [`Misuse::NotConfirming`] if the channel is not in confirm mode; [`Misuse::ChannelNotOpen`].
    pub fn when_confirmed(
        &self,
        on_confirmed: impl FnOnce(&Channel, Result<ConfirmSummary>) + 'static,
    ) -> Result<()> {
        let mut on_confirmed: Option<OnConfirmed> = Some(Box::new(on_confirmed));
        Ok(self
            .work_at(|channel, wire, now| channel.when_confirmed(wire, now, &mut on_confirmed))?)
    }

    /// Limits how many messages may be published and not resolved, in confirm mode; `None`, the
    /// default, is no limit. Past it, [`basic_publish`](Self::basic_publish) is refused with
    /// [`PublishError::TooManyUnconfirmed`](crate::PublishError::TooManyUnconfirmed), and the
    /// [writable callbacks](Self::add_on_writable_callback) are called when no more than half of
    /// the limit is left unresolved. A limit of 0 refuses all.
    ///
    /// # Errors
    /// [`Misuse::ChannelNotOpen`].
    pub fn set_max_unconfirmed(&self, limit: impl Into<Option<usize>>) -> Result<()> {
        let limit = limit.into().unwrap_or(usize::MAX);
        self.work(|channel, wire| {
            channel.set_max_unconfirmed(wire, limit);
            Ok::<_, Misuse>(())
        })?;
        Ok(())
    }

    /// How many messages are published and not resolved; 0 if the channel is not in confirm mode or
    /// has ended.
    pub fn unconfirmed(&self) -> usize {
        self.look(|channel| channel.unconfirmed()).unwrap_or(0)
    }
}
