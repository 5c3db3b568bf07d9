//! Credentials that are replaced while the connection is open (RabbitMQ's connection.update-secret).

use std::collections::VecDeque;
use std::time::Instant;

use super::event::Event;
use super::handle::Connection;
use super::machine::{Limit, Machine};
use crate::error::{Error, Misuse, Result};
use crate::protocol::{EncodeMethod, connection, encode_method};

/// Completes an update of the secret.
pub(crate) type OnUpdated = Box<dyn FnOnce(&Connection, Result<()>)>;

/// An update that the broker has not confirmed.
struct Update {
    on_updated: OnUpdated,
    limit: Option<Limit>,
}

/// The updates that the broker has not confirmed, one of them on the wire.
#[derive(Default)]
pub(super) struct Secrets {
    on_wire: Option<Update>,
    queue: VecDeque<(Vec<u8>, Update)>,
    /// How many were given up on the wire. The broker may still confirm them.
    given_up: usize,
}

impl Secrets {
    pub(super) fn is_idle(&self) -> bool {
        self.on_wire.is_none() && self.queue.is_empty()
    }

    /// Whether the broker may confirm one.
    pub(super) fn may_be_confirmed(&self) -> bool {
        self.on_wire.is_some() || self.given_up > 0
    }

    /// How many bytes wait for their turn.
    pub(super) fn unsent(&self) -> u64 {
        self.queue.iter().map(|(encoded, _)| encoded.len() as u64).sum()
    }
}

impl Update {
    fn told(self, result: Result<()>) -> Event<'static> {
        Event::SecretUpdated { callback: self.on_updated, result }
    }

    /// The time that it had, if that is over.
    fn overdue(&self, now: Instant) -> Option<Error> {
        let Limit { limit, .. } = self.limit.filter(|limit| limit.at <= now)?;
        Some(Error::RequestTimeout { method: connection::UpdateSecret::NAME, limit })
    }
}

impl Machine {
    /// Tells the broker a new secret, now or in its turn. The closure is taken only on success.
    pub(crate) fn update_secret(
        &mut self,
        now: Instant,
        method: &connection::UpdateSecret<'_>,
        on_updated: &mut Option<OnUpdated>,
    ) -> Result<(), Misuse> {
        if !self.is_open() {
            return Err(Misuse::ConnectionNotOpen);
        }
        let limit = Limit::starting(now, self.request_timeout);
        let mut update = || on_updated.take().map(|on_updated| Update { on_updated, limit });
        if self.secrets.is_idle() {
            self.wire.send(0, method)?;
            self.secrets.on_wire = update();
        } else {
            let mut encoded = Vec::new();
            encode_method(&mut encoded, self.wire.limits.frame_max, 0, method)?;
            self.wire.deferred += encoded.len();
            self.wire.frames += 1;
            self.secrets.queue.extend(update().map(|update| (encoded, update)));
        }
        limit.into_iter().for_each(|limit| self.wire.limit_requests(limit.at));
        Ok(())
    }

    /// The broker has confirmed one: that on the wire, as far as can be told. It does not say which,
    /// and answers those alone that it takes.
    pub(super) fn on_secret_updated(&mut self) {
        match self.secrets.on_wire.take() {
            Some(update) => {
                self.wire.events.push_back(update.told(Ok(())));
                self.send_next_secret();
                self.close_if_idle();
            }
            None => self.secrets.given_up -= 1,
        }
    }

    fn send_next_secret(&mut self) {
        if let Some((encoded, update)) = self.secrets.queue.pop_front() {
            self.wire.deferred -= encoded.len();
            self.wire.output.encoded().extend_from_slice(&encoded);
            self.secrets.on_wire = Some(update);
        }
    }

    /// Tells those whose time is over. The next is sent then: the broker may never answer.
    pub(super) fn expire_secrets(&mut self, now: Instant) {
        if let Some(error) = self.secrets.on_wire.as_ref().and_then(|update| update.overdue(now)) {
            let update = self.secrets.on_wire.take();
            self.wire.events.extend(update.map(|update| update.told(Err(error))));
            self.secrets.given_up += 1;
        }
        for (encoded, update) in std::mem::take(&mut self.secrets.queue) {
            match update.overdue(now) {
                Some(error) => {
                    self.wire.deferred -= encoded.len();
                    self.wire.events.push_back(update.told(Err(error)));
                }
                None => self.secrets.queue.push_back((encoded, update)),
            }
        }
        if self.secrets.on_wire.is_none() {
            self.send_next_secret();
        }
        let queued = self.secrets.queue.iter().map(|(_, update)| update);
        let limits = self.secrets.on_wire.iter().chain(queued).filter_map(|update| update.limit);
        limits.for_each(|limit| self.wire.limit_requests(limit.at));
    }

    /// The connection has ended: none will be confirmed.
    pub(super) fn end_secrets(&mut self, error: &Error) {
        let Secrets { on_wire, queue, .. } = std::mem::take(&mut self.secrets);
        for (encoded, _) in &queue {
            self.wire.deferred -= encoded.len();
            self.wire.undelivered.unsent_bytes += encoded.len() as u64;
        }
        let updates = on_wire.into_iter().chain(queue.into_iter().map(|(_, update)| update));
        self.wire.events.extend(updates.map(|update| update.told(Err(error.clone()))));
    }
}
