//! What has failed so far, and what the user is told in the end.

use std::net::SocketAddr;

use crate::connection::ConnectionParameters;
use crate::error::{ConnectError, ConnectFailure, Error, HandshakeError};

/// So many different failures are kept, the latest: who tries for ever, at hosts that always have
/// something new to say, must not run out of memory. The log has all.
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
        log::info!("not connected: {failure}");
        let known = self
            .list
            .iter_mut()
            .find(|known| (known.address, of_host(known)) == (failure.address, of_host(&failure)));
        if let Some(known) = known {
            known.times = known.times.saturating_add(1);
            return;
        }
        if self.list.len() == KEPT {
            self.list.remove(0);
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
        if failures.iter().all(|failure| of_host(failure) == of_host(first)) {
            return failures.swap_remove(0).cause;
        }
        ConnectError::Failed { failures }.into()
    }

    pub(super) fn into_list(self) -> Vec<ConnectFailure> {
        self.list
    }
}

/// What is the matter with a host, at whichever address.
fn of_host(failure: &ConnectFailure) -> (&str, u16, &Error) {
    (&failure.host, failure.port, &failure.cause)
}

fn are_credentials_refused(cause: &Error) -> bool {
    use HandshakeError::{BadCredentials, NoCommonMechanism};
    matches!(cause, Error::Handshake(BadCredentials { .. } | NoCommonMechanism { .. }))
}
