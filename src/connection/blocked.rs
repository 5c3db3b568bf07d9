//! The broker tells that it takes no messages for now (RabbitMQ's connection.blocked): it is short
//! of memory or disk.

use std::time::Instant;

use super::event::Event;
use super::machine::{Limit, Machine};
use crate::error::Error;
use crate::protocol::ShortStr;

/// The broker has said so.
pub(super) struct Blocked {
    /// How long it may go on.
    pub(super) limit: Option<Limit>,
}

impl Machine {
    /// Whether the broker takes no messages for now.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// A broker that says it again may have another reason, but gets no more time.
    pub(super) fn on_blocked(&mut self, reason: ShortStr<'_>) {
        if self.blocked.is_none() {
            let timeout = self.parameters.blocked_connection_timeout();
            let limit = self.heard.and_then(|now| Limit::starting(now, timeout));
            self.blocked = Some(Blocked { limit });
        }
        self.wire.events.push_back(Event::Blocked { reason: reason.into_owned() });
    }

    pub(super) fn on_unblocked(&mut self) {
        if self.blocked.take().is_some() {
            self.wire.events.push_back(Event::Unblocked);
        }
    }

    /// Ends the connection if it has been blocked for too long.
    pub(super) fn end_if_blocked_too_long(&mut self, now: Instant) {
        let limit = self.blocked.as_ref().and_then(|blocked| blocked.limit);
        if let Some(Limit { limit: timeout, .. }) = limit.filter(|limit| limit.at <= now) {
            self.finish_silent(Error::BlockedTimeout { timeout });
        }
    }
}
