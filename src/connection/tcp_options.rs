//! The options of a connection's TCP socket.

use std::io;
use std::time::Duration;

use socket2::Socket;
#[cfg(not(target_os = "openbsd"))]
use socket2::TcpKeepalive;

use super::parameters::invalid;
use crate::error::ParametersError;

/// The longest keepalive time and interval, and the most probes, that Linux takes.
const KEEPALIVE_SECONDS_MAX: u64 = 32_767;
const KEEPALIVE_RETRIES_MAX: u32 = 127;

/// The options of a connection's TCP socket (pika's `tcp_options`). What is not set is left to the
/// operating system. A setter refuses what the operating system does not have: OpenBSD knows no
/// keepalive times of one connection, and only Linux the user timeout.
///
/// Heartbeats find a dead peer too, whatever the operating system; these find it where heartbeats
/// are off, and sooner.
///
/// ```
/// use haypile::{ConnectionParameters, TcpOptions};
/// use std::time::Duration;
///
/// let mut options = TcpOptions::default();
/// options.set_keepalive_time(Duration::from_secs(30))?.set_keepalive_retries(3)?;
/// let mut parameters = ConnectionParameters::default();
/// parameters.set_tcp_options(options);
/// # Ok::<(), haypile::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    nodelay: bool,
    keepalive_time: Option<Duration>,
    keepalive_interval: Option<Duration>,
    keepalive_retries: Option<u32>,
    user_timeout: Option<Duration>,
}

impl Default for TcpOptions {
    /// No delay; all the rest as the operating system has it.
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive_time: None,
            keepalive_interval: None,
            keepalive_retries: None,
            user_timeout: None,
        }
    }
}

impl TcpOptions {
    /// Whether small writes leave at once (`TCP_NODELAY`). Default true.
    pub fn nodelay(&self) -> bool {
        self.nodelay
    }

    /// How long the connection is idle before the first keepalive probe.
    pub fn keepalive_time(&self) -> Option<Duration> {
        self.keepalive_time
    }

    /// How long after a keepalive probe the next is sent.
    pub fn keepalive_interval(&self) -> Option<Duration> {
        self.keepalive_interval
    }

    /// After how many unanswered keepalive probes the connection is given up.
    pub fn keepalive_retries(&self) -> Option<u32> {
        self.keepalive_retries
    }

    /// How long sent data may stay unacknowledged.
    pub fn user_timeout(&self) -> Option<Duration> {
        self.user_timeout
    }

    /// Sets whether small writes leave at once (`TCP_NODELAY`). A connection writes once in a turn
    /// of its loop: nothing is saved by having the kernel wait for more.
    pub fn set_nodelay(&mut self, nodelay: bool) -> &mut Self {
        self.nodelay = nodelay;
        self
    }

    /// Turns keepalive probes on (`SO_KEEPALIVE`), the first after this time without traffic
    /// (`TCP_KEEPIDLE`).
    ///
    /// # Errors
    /// If it is not a whole number of seconds within 1 and 32,767.
    pub fn set_keepalive_time(&mut self, time: Duration) -> Result<&mut Self, ParametersError> {
        available("keepalive_time", cfg!(not(target_os = "openbsd")))?;
        self.keepalive_time = Some(whole_seconds("keepalive_time", time)?);
        Ok(self)
    }

    /// Turns keepalive probes on (`SO_KEEPALIVE`), this long after one another (`TCP_KEEPINTVL`).
    ///
    /// # Errors
    /// If it is not a whole number of seconds within 1 and 32,767.
    pub fn set_keepalive_interval(
        &mut self,
        interval: Duration,
    ) -> Result<&mut Self, ParametersError> {
        available("keepalive_interval", cfg!(not(target_os = "openbsd")))?;
        self.keepalive_interval = Some(whole_seconds("keepalive_interval", interval)?);
        Ok(self)
    }

    /// Turns keepalive probes on (`SO_KEEPALIVE`). After so many without an answer the connection
    /// is lost (`TCP_KEEPCNT`).
    ///
    /// # Errors
    /// If it is not within 1 and 127.
    pub fn set_keepalive_retries(&mut self, retries: u32) -> Result<&mut Self, ParametersError> {
        available("keepalive_retries", cfg!(not(target_os = "openbsd")))?;
        if !(1..=KEEPALIVE_RETRIES_MAX).contains(&retries) {
            let range = format!("must be within 1 and {KEEPALIVE_RETRIES_MAX}");
            return Err(invalid("keepalive_retries", range));
        }
        self.keepalive_retries = Some(retries);
        Ok(self)
    }

    /// Sets how long sent data may stay unacknowledged, or unsent because the peer takes none,
    /// before the connection is lost (`TCP_USER_TIMEOUT`). Linux has it, to the millisecond.
    ///
    /// # Errors
    /// If it is below 1 ms or above 2,147,483,647 ms; and where the system does not have it.
    pub fn set_user_timeout(&mut self, timeout: Duration) -> Result<&mut Self, ParametersError> {
        available("user_timeout", cfg!(any(target_os = "linux", target_os = "android")))?;
        if !(1..=i32::MAX as u128).contains(&timeout.as_millis()) {
            return Err(invalid("user_timeout", "must be within 1 ms and 2,147,483,647 ms"));
        }
        self.user_timeout = Some(timeout);
        Ok(self)
    }

    /// Sets the options on a socket that is not connected yet.
    pub(crate) fn apply(&self, socket: &Socket) -> io::Result<()> {
        socket.set_tcp_nodelay(self.nodelay)?;
        self.apply_keepalive(socket)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.user_timeout.is_some() {
            socket.set_tcp_user_timeout(self.user_timeout)?;
        }
        Ok(())
    }

    #[cfg(not(target_os = "openbsd"))]
    fn apply_keepalive(&self, socket: &Socket) -> io::Result<()> {
        let (time, interval, retries) =
            (self.keepalive_time, self.keepalive_interval, self.keepalive_retries);
        if (time, interval, retries) == (None, None, None) {
            return Ok(());
        }
        let mut keepalive = TcpKeepalive::new();
        if let Some(time) = time {
            keepalive = keepalive.with_time(time);
        }
        if let Some(interval) = interval {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(retries) = retries {
            keepalive = keepalive.with_retries(retries);
        }
        socket.set_tcp_keepalive(&keepalive)
    }

    /// No setter has taken anything.
    #[cfg(target_os = "openbsd")]
    fn apply_keepalive(&self, _: &Socket) -> io::Result<()> {
        Ok(())
    }
}

/// Refuses what this operating system has no option for.
fn available(name: &'static str, available: bool) -> Result<(), ParametersError> {
    match available {
        true => Ok(()),
        false => Err(invalid(name, "this operating system does not let a connection set it")),
    }
}

fn whole_seconds(name: &'static str, time: Duration) -> Result<Duration, ParametersError> {
    if time.subsec_nanos() != 0 || !(1..=KEEPALIVE_SECONDS_MAX).contains(&time.as_secs()) {
        let range =
            format!("must be a whole number of seconds within 1 and {KEEPALIVE_SECONDS_MAX}");
        return Err(invalid(name, range));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Type};

    use super::*;

    fn applied(options: &TcpOptions) -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        options.apply(&socket).unwrap();
        socket
    }

    #[test]
    fn by_default_nothing_is_delayed_and_nothing_probed() {
        let socket = applied(&TcpOptions::default());
        assert!(socket.tcp_nodelay().unwrap());
        assert!(!socket.keepalive().unwrap());
    }

    #[test]
    fn what_is_set_reaches_the_socket() {
        let mut options = TcpOptions::default();
        options.set_nodelay(false);
        options.set_keepalive_time(Duration::from_secs(7)).unwrap();
        options.set_keepalive_interval(Duration::from_secs(3)).unwrap();
        options.set_keepalive_retries(5).unwrap();
        let socket = applied(&options);
        assert!(!socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(7));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(3));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 5);
    }

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn the_user_timeout_reaches_the_socket() {
        let mut options = TcpOptions::default();
        options.set_user_timeout(Duration::from_millis(2500)).unwrap();
        let timeout = applied(&options).tcp_user_timeout().unwrap();
        assert_eq!(timeout, Some(Duration::from_millis(2500)));
    }

    #[test]
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn a_user_timeout_that_the_system_does_not_have_is_refused() {
        TcpOptions::default().set_user_timeout(Duration::from_secs(1)).unwrap_err();
    }

    #[test]
    fn what_is_out_of_range_is_refused_by_name_and_changes_nothing() {
        let mut options = TcpOptions::default();
        for time in [0, 500, 1500, 32_768_000].map(Duration::from_millis) {
            let error = options.set_keepalive_time(time).unwrap_err();
            assert!(error.to_string().starts_with("keepalive_time: "), "{error}");
            options.set_keepalive_interval(time).unwrap_err();
        }
        for retries in [0, 128, u32::MAX] {
            options.set_keepalive_retries(retries).unwrap_err();
        }
        for timeout in [Duration::ZERO, Duration::from_micros(999), Duration::MAX] {
            options.set_user_timeout(timeout).unwrap_err();
        }
        assert_eq!(options, TcpOptions::default());
    }
}
