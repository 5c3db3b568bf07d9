//! The shapes of the closures that a channel keeps for its user.

use std::cell::RefCell;
use std::rc::Rc;

use super::handle::Channel;
use super::message::{Delivery, GetMessage, ReturnedMessage};
use super::state::ChannelId;
use crate::connection::Event;
use crate::error::{Error, Result};
use crate::protocol::{Method, ShortStr};

/// Completes a request that one method answers.
pub(crate) type OnReply = Box<dyn FnOnce(&Channel, Result<Method<'_>>)>;
/// Completes a `basic_get`: a message, or none.
pub(crate) type OnGet = Box<dyn FnOnce(&Channel, Result<Option<GetMessage<'_>>>)>;
/// A consumer. A cell, since it is called again and again while its channel may go; calls never
/// nest.
pub(crate) type OnMessage = Rc<RefCell<dyn FnMut(&Channel, &Delivery<'_>)>>;
/// The channel has closed.
pub(crate) type OnClose = Box<dyn FnOnce(&Channel, Error)>;
/// A message came back unroutable.
pub(crate) type OnReturn = Box<dyn FnMut(&Channel, &ReturnedMessage<'_>)>;
/// The broker cancelled the consumer of this tag.
pub(crate) type OnCancel = Box<dyn FnMut(&Channel, &ShortStr<'_>)>;

/// There is room for publishes again.
pub(crate) type OnWritable = Box<dyn FnMut(&Channel)>;

/// What completes a pending request.
pub(crate) enum Completion {
    /// One method is the reply.
    Reply(OnReply),
    /// GetOk with content, or GetEmpty.
    Get(OnGet),
    /// Channel.Close: the channel's end is the completion.
    Close,
}

impl Completion {
    pub(crate) fn is_close(&self) -> bool {
        matches!(self, Self::Close)
    }

    /// What is told of a request that has failed.
    pub(crate) fn failed(self, channel: ChannelId, error: Error) -> Option<Event<'static>> {
        match self {
            Self::Reply(callback) => Some(Event::Replied { channel, callback, result: Err(error) }),
            Self::Get(callback) => Some(Event::Got { channel, callback, result: Err(error) }),
            Self::Close => None,
        }
    }
}
