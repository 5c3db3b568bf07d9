//! Requests that are not answered in time. Whoever asked is told so; the reply is still awaited, so
//! that what follows keeps its order, and what it brings is undone.

use std::time::{Duration, Instant};

use super::requests::{Overdue, Undo};
use super::state::ChannelState;
use crate::connection::{Limit, Wire};
use crate::error::Error;
use crate::protocol::{basic, reply_code};

impl ChannelState {
    /// Limits the time of the requests that are made from now on.
    pub(crate) fn set_request_timeout(&mut self, limit: Option<Duration>) {
        self.request_timeout = limit;
    }

    /// Starts the time of the request that was made last.
    pub(crate) fn limit_last_request(&mut self, wire: &mut Wire, now: Instant) {
        if let Some(limit) = self.new_limit(wire, now) {
            self.requests.limit_last(limit);
        }
    }

    /// The limit of something that begins now, if there is to be one.
    pub(super) fn new_limit(&self, wire: &mut Wire, now: Instant) -> Option<Limit> {
        let limit = Limit::starting(now, self.request_timeout)?;
        wire.limit_requests(limit.at);
        Some(limit)
    }

    /// When the first of its limits is over.
    pub(crate) fn first_deadline(&self) -> Option<Instant> {
        let confirms = self.confirms.iter().filter_map(|confirms| confirms.first_deadline());
        self.requests.deadlines().chain(confirms).min()
    }

    /// Tells those whose time is over. The error is that of Close, if that is among them.
    pub(crate) fn expire(&mut self, wire: &mut Wire, now: Instant) -> Option<Error> {
        let (mut consumers, mut is_open_late) = (Vec::new(), false);
        for Overdue { method, limit, completion, undo } in self.requests.take_overdue(now) {
            let error = Error::RequestTimeout { method, limit };
            if completion.is_close() {
                return Some(error);
            }
            wire.events.extend(completion.failed(self.id, error));
            match undo {
                Undo::Cancel(tag) => consumers.push(tag),
                Undo::Close => is_open_late = true,
                // When the message comes.
                Undo::Requeue | Undo::Nothing => {}
            }
        }
        self.expire_waiters(wire, now);
        self.requests.forget_unsent_gets(wire);
        // What undoes a request follows it. It is refused if the user has asked for the same since.
        for consumer_tag in consumers {
            let cancel = basic::Cancel { consumer_tag: consumer_tag.into() };
            drop(self.cancel(wire, &cancel, &mut None));
        }
        if is_open_late {
            drop(self.close(wire, reply_code::SUCCESS, "it was opened too late".into()));
        }
        None
    }
}
