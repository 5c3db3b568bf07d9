//! What happened: the state machine returns it, one thing at a time, and the driver calls the
//! closures it carries with nothing borrowed.

use std::any::Any;

use crate::channel::{
    ChannelId, ConsumerKey, Delivery, GetMessage, OnClose, OnGet, OnMessage, OnReply,
    ReturnedMessage,
};
use crate::error::{Error, Result};
use crate::protocol::{Method, ShortStr};

pub(crate) enum Event<'b> {
    /// The connection is open.
    Opened,
    /// The connection has ended, before it was open or after.
    Closed { error: Error, was_open: bool },
    /// A request is complete.
    Replied { channel: ChannelId, callback: OnReply, result: Result<Method<'b>> },
    /// A `basic_get` is complete.
    Got { channel: ChannelId, callback: OnGet, result: Result<Option<GetMessage<'b>>> },
    /// A message for a consumer, whose closure goes back by `Machine::give_back`.
    Delivered {
        channel: ChannelId,
        consumer: ConsumerKey,
        on_message: OnMessage,
        delivery: Delivery<'b>,
    },
    /// A message came back.
    Returned { channel: ChannelId, message: ReturnedMessage<'b> },
    /// The broker cancelled a consumer.
    Cancelled { channel: ChannelId, consumer_tag: ShortStr<'b> },
    /// A channel has ended.
    ChannelClosed { channel: ChannelId, callbacks: Vec<OnClose>, error: Error },
    /// Closures that are no longer needed. Their captures' `Drop` may call the API.
    Released(Box<dyn Any>),
}
