//! Credentials that are replaced while the connection is open (RabbitMQ's connection.update-secret).

use std::collections::VecDeque;

use super::event::Event;
use super::handle::Connection;
use super::machine::Machine;
use crate::error::{Error, Misuse, Result};
use crate::protocol::{connection, encode_method};

/// Completes an update of the secret.
pub(crate) type OnUpdated = Box<dyn FnOnce(&Connection, Result<()>)>;

/// The updates that the broker has not confirmed, one of them on the wire.
#[derive(Default)]
pub(super) struct Secrets {
    on_wire: Option<OnUpdated>,
    queue: VecDeque<(Vec<u8>, OnUpdated)>,
}

impl Secrets {
    pub(super) fn is_idle(&self) -> bool {
        self.on_wire.is_none() && self.queue.is_empty()
    }

    /// How many bytes wait for their turn.
    pub(super) fn unsent(&self) -> u64 {
        self.queue.iter().map(|(encoded, _)| encoded.len() as u64).sum()
    }
}

impl Machine {
    /// Tells the broker a new secret, now or in its turn. The closure is taken only on success.
    pub(crate) fn update_secret(
        &mut self,
        method: &connection::UpdateSecret<'_>,
        on_updated: &mut Option<OnUpdated>,
    ) -> Result<(), Misuse> {
        if !self.is_open() {
            return Err(Misuse::ConnectionNotOpen);
        }
        if self.secrets.is_idle() {
            self.wire.send(0, method)?;
            self.secrets.on_wire = on_updated.take();
        } else {
            let mut encoded = Vec::new();
            encode_method(&mut encoded, self.wire.limits.frame_max, 0, method)?;
            self.wire.deferred += encoded.len();
            self.wire.frames += 1;
            self.secrets.queue.extend(on_updated.take().map(|on_updated| (encoded, on_updated)));
        }
        Ok(())
    }

    /// The broker has confirmed the one on the wire.
    pub(super) fn on_secret_updated(&mut self) {
        let Some(callback) = self.secrets.on_wire.take() else { return };
        self.wire.events.push_back(Event::SecretUpdated { callback, result: Ok(()) });
        if let Some((encoded, on_updated)) = self.secrets.queue.pop_front() {
            self.wire.deferred -= encoded.len();
            self.wire.output.encoded().extend_from_slice(&encoded);
            self.secrets.on_wire = Some(on_updated);
        }
        self.close_if_idle();
    }

    /// The connection has ended: none will be confirmed.
    pub(super) fn end_secrets(&mut self, error: &Error) {
        let Secrets { on_wire, queue } = std::mem::take(&mut self.secrets);
        for (encoded, _) in &queue {
            self.wire.deferred -= encoded.len();
            self.wire.undelivered.unsent_bytes += encoded.len() as u64;
        }
        for callback in on_wire.into_iter().chain(queue.into_iter().map(|(_, callback)| callback)) {
            let result = Err(error.clone());
            self.wire.events.push_back(Event::SecretUpdated { callback, result });
        }
    }
}
