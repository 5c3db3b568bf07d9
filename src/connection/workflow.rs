//! What is tried, how often and for how long, until a connection is open.

use std::time::Duration;

use super::parameters::{ConnectionParameters, at_least_one, invalid, not_zero};
use crate::error::ParametersError;

/// The least delay between two attempts of a race (RFC 8305, section 8).
const CONNECTION_ATTEMPT_DELAY_MIN: Duration = Duration::from_millis(10);

/// How a connection comes to be (pika's `AMQPConnectionWorkflow`): what every connection's
/// constructor takes. [`ConnectionParameters`], and a `Vec` of them, turn into one.
///
/// Hosts are tried in the order of their parameters; a host that does not resolve, does not answer
/// or does not let this client in leads to the next one. Of each host all addresses are tried, in
/// the resolver's order, but with IPv6 and IPv4 taking turns, and raced (RFC 8305, "happy
/// eyeballs"): if one has not answered within the
/// [`connection_attempt_delay`](Self::set_connection_attempt_delay), the next is tried beside it.
/// The first to take the TCP connection goes on to TLS and AMQP; if it fails there, the race is
/// taken up again with the addresses that are left.
///
/// All that is one cycle. There are as many as
/// [`connection_attempts`](Self::set_connection_attempts) says, with pauses between them that
/// double from [`retry_delay`](Self::set_retry_delay) up to
/// [`max_retry_delay`](Self::set_max_retry_delay), each shortened at random by up to a half, so
/// that the many clients of a broker do not come back to it all at once. A cycle in which every
/// failure is that the credentials are refused is the last: it would end so again, and lock the
/// account.
///
/// ```
/// use haypile::{ConnectionCallbacks, ConnectionParameters, ConnectionWorkflow, SelectConnection};
/// use std::time::Duration;
///
/// let hosts = ["amqp://one.example", "amqp://two.example"];
/// let parameters: Vec<ConnectionParameters> =
///     hosts.into_iter().map(str::parse).collect::<haypile::Result<_>>()?;
/// let mut workflow = ConnectionWorkflow::from(parameters);
/// workflow.set_connection_attempts(5)?.set_timeout(Some(Duration::from_secs(60)))?;
/// let connection = SelectConnection::new(workflow, ConnectionCallbacks::new())?;
/// # Ok::<(), haypile::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConnectionWorkflow {
    parameters: Vec<ConnectionParameters>,
    connection_attempts: u32,
    retry_delay: Duration,
    max_retry_delay: Duration,
    connection_attempt_delay: Duration,
    timeout: Option<Duration>,
}

impl ConnectionWorkflow {
    /// What is tried, in this order.
    pub fn parameters(&self) -> &[ConnectionParameters] {
        &self.parameters
    }

    /// How many times everything is tried. Default: that of the last parameters, as in pika.
    pub fn connection_attempts(&self) -> u32 {
        self.connection_attempts
    }

    /// The first pause, at most. Default: that of the last parameters, as in pika.
    pub fn retry_delay(&self) -> Duration {
        self.retry_delay
    }

    /// The longest pause. Default 30 s.
    pub fn max_retry_delay(&self) -> Duration {
        self.max_retry_delay
    }

    /// How long an address has the race to itself. Default 250 ms.
    pub fn connection_attempt_delay(&self) -> Duration {
        self.connection_attempt_delay
    }

    /// How long all of it may take. Default: as long as its parts.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Sets how many times everything is tried.
    ///
    /// # Errors
    /// If it is 0.
    pub fn set_connection_attempts(&mut self, attempts: u32) -> Result<&mut Self, ParametersError> {
        self.connection_attempts = at_least_one("connection_attempts", attempts)?;
        Ok(self)
    }

    /// Sets the first pause, at most; zero for no pauses.
    pub fn set_retry_delay(&mut self, delay: Duration) -> &mut Self {
        self.retry_delay = delay;
        self
    }

    /// Sets the longest pause. One that is shorter than the first keeps all like the first.
    pub fn set_max_retry_delay(&mut self, delay: Duration) -> &mut Self {
        self.max_retry_delay = delay;
        self
    }

    /// Sets how long an address has the race to itself before the next one is tried beside it.
    ///
    /// # Errors
    /// If it is below 10 ms, which RFC 8305 forbids.
    pub fn set_connection_attempt_delay(
        &mut self,
        delay: Duration,
    ) -> Result<&mut Self, ParametersError> {
        if delay < CONNECTION_ATTEMPT_DELAY_MIN {
            return Err(invalid("connection_attempt_delay", "must be at least 10 ms"));
        }
        self.connection_attempt_delay = delay;
        Ok(self)
    }

    /// Sets how long all of it may take, from the first lookup until the connection is open: each
    /// host, each cycle, each pause. With `None` it takes as long as its parts, which end all: a
    /// lookup and an attempt each by the parameters' `stack_timeout`.
    ///
    /// # Errors
    /// If it is zero.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> Result<&mut Self, ParametersError> {
        self.timeout = not_zero("timeout", timeout)?;
        Ok(self)
    }
}

impl From<ConnectionParameters> for ConnectionWorkflow {
    fn from(parameters: ConnectionParameters) -> Self {
        Self::from(vec![parameters])
    }
}

impl From<Vec<ConnectionParameters>> for ConnectionWorkflow {
    /// From none, the connection fails with [`ConnectError::NoHost`](crate::ConnectError::NoHost).
    fn from(parameters: Vec<ConnectionParameters>) -> Self {
        let defaults = ConnectionParameters::default();
        let last = parameters.last().unwrap_or(&defaults);
        let (connection_attempts, retry_delay) = (last.connection_attempts(), last.retry_delay());
        Self {
            parameters,
            connection_attempts,
            retry_delay,
            max_retry_delay: Duration::from_secs(30),
            connection_attempt_delay: Duration::from_millis(250),
            timeout: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_for_any_thread_until_they_are_used() {
        fn crosses<T: Clone + Send + Sync>() {}
        crosses::<ConnectionParameters>();
        crosses::<ConnectionWorkflow>();
    }

    #[test]
    fn attempts_and_delay_are_those_of_the_last_parameters_until_set() {
        let mut last = ConnectionParameters::default();
        last.set_connection_attempts(7).unwrap().set_retry_delay(Duration::from_secs(1));
        let mut workflow = ConnectionWorkflow::from(vec![ConnectionParameters::default(), last]);
        assert_eq!(workflow.connection_attempts(), 7);
        assert_eq!(workflow.retry_delay(), Duration::from_secs(1));
        workflow.set_connection_attempts(2).unwrap().set_retry_delay(Duration::ZERO);
        assert_eq!((workflow.connection_attempts(), workflow.retry_delay()), (2, Duration::ZERO));
    }

    #[test]
    fn what_is_out_of_range_is_refused_by_name() {
        let mut workflow = ConnectionWorkflow::from(ConnectionParameters::default());
        let errors = [
            workflow.set_connection_attempts(0).unwrap_err(),
            workflow.set_connection_attempt_delay(Duration::from_micros(9999)).unwrap_err(),
            workflow.set_timeout(Some(Duration::ZERO)).unwrap_err(),
        ];
        let names = ["connection_attempts: ", "connection_attempt_delay: ", "timeout: "];
        for (error, name) in errors.iter().zip(names) {
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }
}
