//! What happened: the state machine returns it, one thing at a time, and the driver calls the
//! closures it carries with nothing borrowed.

use std::any::Any;

use super::callbacks::OnEnding;
use super::secrets::OnUpdated;
use crate::channel::{
    ChannelId, ConfirmSummary, Delivery, GetMessage, OnClose, OnConfirmed, OnGet, OnMessage,
    OnReply, ReturnedMessage, Unconfirmed,
};
use crate::error::{Error, Result};
use crate::protocol::{Method, ShortStr};

/// What the broker asks of the client's credentials.
pub(crate) enum Challenge {
    /// To begin. `Machine::choose` is told the mechanism, then `Machine::respond` the response.
    Start,
    /// To go on: `Machine::respond` is told the response.
    Secure(Vec<u8>),
}

pub(crate) enum Event<'b> {
    /// The broker waits for the client to authenticate.
    Challenged(Challenge),
    /// The connection is open.
    Opened,
    /// The connection has ended, before it was open or after.
    Closed { error: Error, was_open: bool },
    /// The broker takes no messages for now.
    Blocked { reason: ShortStr<'static> },
    /// It takes them again.
    Unblocked,
    /// An update of the secret is complete.
    SecretUpdated { callback: OnUpdated, result: Result<()> },
    /// There is room for what was refused.
    ConnectionWritable,
    /// A request is complete.
    Replied { channel: ChannelId, callback: OnReply, result: Result<Method<'b>> },
    /// A `basic_get` is complete.
    Got { channel: ChannelId, callback: OnGet, result: Result<Option<GetMessage<'b>>> },
    /// A message for a consumer.
    Delivered { channel: ChannelId, on_message: OnMessage, delivery: Delivery<'b> },
    /// A message came back.
    Returned { channel: ChannelId, message: ReturnedMessage<'b> },
    /// The broker has said what became of publishes: `Machine::next_confirm` gives them.
    Confirmed { channel: ChannelId },
    /// All is confirmed that somebody waited for.
    AllConfirmed { channel: ChannelId, callback: OnConfirmed, result: Result<ConfirmSummary> },
    /// A channel has ended, and with it what was published there and is not confirmed.
    Unconfirmed(Box<Unconfirmed>),
    /// There is room for publishes again.
    Writable { channel: ChannelId },
    /// The broker cancelled a consumer.
    Cancelled { channel: ChannelId, consumer_tag: ShortStr<'b> },
    /// A channel has ended.
    ChannelClosed {
        channel: ChannelId,
        on_ending: Option<OnEnding>,
        callbacks: Vec<OnClose>,
        error: Error,
    },
    /// Closures that are no longer needed. Their captures' `Drop` may call the API.
    Released(Box<dyn Any>),
}
