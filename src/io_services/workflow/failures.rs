//! What has failed so far, and what the user is told in the end.

use std::net::SocketAddr;

use crate::connection::ConnectionParameters;
use crate::error::{ConnectError, ConnectFailure, Error, HandshakeError};

/// So many different failures are kept. Who tries for ever, at hosts that always have something new
/// to say, keeps the latest.
const KEPT: usize = 256;

#[derive(Default)]
pub(super) struct Failures {
    list: Vec<ConnectFailure>,
    /// Something in this cycle failed otherwise than by the credentials.
    others: bool,
}

impl Failures {
    pub(super) fn begin_cycle(&mut self) {
        self.others = false;
    }

    pub(super) fn add(
        &mut self,
        parameters: &ConnectionParameters,
        address: Option<SocketAddr>,
        cause: Error,
    ) {
        self.others |= !are_credentials_refused(&cause);
        let (host, port) = (parameters.host().to_owned(), parameters.port());
        let failure = ConnectFailure { host, port, address, cause, times: 1 };
        let same = |known: &&mut ConnectFailure| {
            let times = known.times;
            **known == ConnectFailure { times, ..failure.clone() }
        };
        if let Some(known) = self.list.iter_mut().find(same) {
            known.times = known.times.saturating_add(1);
            return;
        }
        if self.list.len() == KEPT {
            let oldest = self.list.remove(0);
            log::warn!("still not connected: {oldest}");
        }
        self.list.push(failure);
    }

    /// Whether another cycle would end as this one did, and do harm: some brokers lock the account.
    pub(super) fn are_final(&self) -> bool {
        !self.others
    }

    pub(super) fn into_error(self) -> Error {
        let mut failures = self.list;
        let Some(first) = failures.first() else { return ConnectError::NoHost.into() };
        let alike = |failure: &ConnectFailure| {
            (&failure.host, failure.port, &failure.cause) == (&first.host, first.port, &first.cause)
        };
        if failures.iter().all(alike) {
            return failures.swap_remove(0).cause;
        }
        ConnectError::Failed { failures }.into()
    }

    pub(super) fn into_list(self) -> Vec<ConnectFailure> {
        self.list
    }
}

fn are_credentials_refused(cause: &Error) -> bool {
    use HandshakeError::{BadCredentials, NoCommonMechanism};
    matches!(cause, Error::Handshake(BadCredentials { .. } | NoCommonMechanism { .. }))
}
