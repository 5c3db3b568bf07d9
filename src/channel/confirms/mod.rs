//! Publisher confirms (RabbitMQ's extension): what became of each publish, told exactly once.
//!
//! `tracker` keeps what is not resolved, `fingerprint` finds the publish that a Return is of,
//! `waiters` are those who wait until all is resolved, `state` is the channel's part and `handle`
//! the user's.

mod fingerprint;
mod handle;
mod state;
mod tracker;
mod waiters;

use std::cell::RefCell;
use std::ops::AddAssign;
use std::rc::Rc;

use super::handle::Channel;
use crate::error::{Error, Result};

use tracker::Acknowledged;
pub(crate) use tracker::{Confirms, Unconfirmed};

/// What became of one message that was published on a channel in confirm mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirm<'a> {
    /// The number that [`Channel::basic_publish`] gave.
    pub sequence_number: u64,
    /// What became of it.
    pub outcome: PublishOutcome<'a>,
}

/// What became of a published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishOutcome<'a> {
    /// The broker has taken care of it (basic.ack): every queue that it was routed to has it, on
    /// disk if the message is persistent and the queue durable. One that is not `mandatory` and
    /// that no queue takes is acknowledged too.
    Acked,
    /// The broker could not take care of it (basic.nack): publish it again.
    Nacked,
    /// No queue takes it: it was `mandatory` and came back (basic.return), and the broker has
    /// acknowledged it. What came back and why was told to the channel's return callbacks before.
    Returned,
    /// The channel or its connection ended before the broker told. The message may be in its queue
    /// or not. With what ended it.
    Lost(&'a Error),
}

/// How those messages fared that were waited for. See [`Channel::when_confirmed`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfirmSummary {
    /// How many the broker has taken care of.
    pub acked: u64,
    /// How many it could not take care of.
    pub nacked: u64,
    /// How many came back because no queue takes them.
    pub returned: u64,
}

impl ConfirmSummary {
    /// Whether the broker has taken care of each, and none came back.
    pub fn is_all_acked(&self) -> bool {
        self.nacked == 0 && self.returned == 0
    }
}

impl AddAssign for ConfirmSummary {
    fn add_assign(&mut self, other: Self) {
        self.acked += other.acked;
        self.nacked += other.nacked;
        self.returned += other.returned;
    }
}

/// Is told what became of each publish. A cell, since it is called again and again while the
/// channel it belongs to may go; calls never nest.
pub(crate) type OnConfirm = Rc<RefCell<dyn FnMut(&Channel, Confirm<'_>)>>;
/// Is told when all is resolved.
pub(crate) type OnConfirmed = Box<dyn FnOnce(&Channel, Result<ConfirmSummary>)>;
