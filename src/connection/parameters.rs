//! What a connection is to be: where, as whom, within which limits.

use std::sync::Arc;
use std::time::Duration;

use super::TlsOptions;
use super::bounds::Bounds;
use super::credentials::{Credentials, PlainCredentials};
use super::heartbeat::Heartbeat;
use super::tcp_options::TcpOptions;
use crate::error::ParametersError;
use crate::protocol::FieldTable;

/// The smallest frame_max that RabbitMQ 4.1 and later take before authentication.
pub(crate) const FRAME_MAX_MINIMUM: u32 = 8192;
/// The largest frame_max, and what is asked for unless told otherwise.
pub(crate) const FRAME_MAX_MAXIMUM: u32 = 131_072;

/// How to connect, and within which limits (pika's `ConnectionParameters`).
///
/// Starts from defaults, or from a URL:
///
/// ```
/// use haypile::{ConnectionParameters, PlainCredentials};
///
/// let mut parameters: ConnectionParameters = "amqp://broker.example:5673/orders".parse()?;
/// assert_eq!((parameters.host(), parameters.port()), ("broker.example", 5673));
/// assert_eq!(parameters.virtual_host(), "orders");
///
/// parameters.set_credentials(PlainCredentials::new("me", "secret"));
/// parameters.set_channel_max(100)?;
/// # Ok::<(), haypile::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConnectionParameters {
    host: String,
    /// `None` is the port of the scheme.
    port: Option<u16>,
    tls: Option<TlsOptions>,
    virtual_host: String,
    credentials: Arc<dyn Credentials>,
    channel_max: u16,
    frame_max: u32,
    heartbeat: Heartbeat,
    locale: String,
    connection_attempts: u32,
    retry_delay: Duration,
    socket_timeout: Option<Duration>,
    stack_timeout: Option<Duration>,
    blocked_connection_timeout: Option<Duration>,
    tcp_options: TcpOptions,
    connection_name: Option<String>,
    client_properties: FieldTable<'static>,
    pub(super) bounds: Bounds,
}

impl Default for ConnectionParameters {
    /// `guest` on `localhost:5672`, virtual host `/`.
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: None,
            tls: None,
            virtual_host: "/".into(),
            credentials: Arc::new(PlainCredentials::default()),
            channel_max: u16::MAX,
            frame_max: FRAME_MAX_MAXIMUM,
            heartbeat: Heartbeat::default(),
            locale: "en_US".into(),
            connection_attempts: 1,
            retry_delay: Duration::from_secs(2),
            socket_timeout: Some(Duration::from_secs(10)),
            stack_timeout: Some(Duration::from_secs(15)),
            blocked_connection_timeout: None,
            tcp_options: TcpOptions::default(),
            connection_name: None,
            client_properties: FieldTable::default(),
            bounds: Bounds::default(),
        }
    }
}

impl ConnectionParameters {
    /// The defaults, for this host: a name or an IP address.
    pub fn new(host: impl Into<String>) -> Self {
        Self { host: host.into(), ..Self::default() }
    }

    /// The host: a name or an IP address. Default `localhost`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port. Default 5672, or 5671 with TLS.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.tls.is_some() { 5671 } else { 5672 })
    }

    /// How TLS is spoken, if it is. Default: it is not; by a URL with the scheme `amqps`
    /// [`TlsOptions::new`].
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<&TlsOptions> {
        self.tls.as_ref()
    }

    /// The virtual host. Default `/`.
    pub fn virtual_host(&self) -> &str {
        &self.virtual_host
    }

    /// Who the client says it is. Default `guest`.
    pub fn credentials(&self) -> &dyn Credentials {
        &*self.credentials
    }

    pub(crate) fn shared_credentials(&self) -> Arc<dyn Credentials> {
        Arc::clone(&self.credentials)
    }

    /// The highest channel number to agree to. Default 65535.
    pub fn channel_max(&self) -> u16 {
        self.channel_max
    }

    /// The largest frame to agree to, in bytes. Default 131,072.
    pub fn frame_max(&self) -> u32 {
        self.frame_max
    }

    /// Which heartbeat interval to have. Default: what the broker suggests.
    pub fn heartbeat(&self) -> Heartbeat {
        self.heartbeat
    }

    /// The locale of the broker's texts. Default `en_US`.
    pub fn locale(&self) -> &str {
        &self.locale
    }

    /// How many times everything is tried before it counts as failed. Default 1.
    pub fn connection_attempts(&self) -> u32 {
        self.connection_attempts
    }

    /// How long to pause, at most, before everything is tried for the second time. Default 2 s.
    pub fn retry_delay(&self) -> Duration {
        self.retry_delay
    }

    /// How long each address may take to accept the TCP connection. Default 10 s.
    pub fn socket_timeout(&self) -> Option<Duration> {
        self.socket_timeout
    }

    /// How long opening may take at each address, from the start of the TCP connect, over TLS if it
    /// is spoken, until the connection is open; how long a lookup may take; and an orderly close.
    /// Default 15 s.
    pub fn stack_timeout(&self) -> Option<Duration> {
        self.stack_timeout
    }

    /// How long the broker may keep the connection blocked. Default: for ever.
    pub fn blocked_connection_timeout(&self) -> Option<Duration> {
        self.blocked_connection_timeout
    }

    /// The options of the TCP socket.
    pub fn tcp_options(&self) -> &TcpOptions {
        &self.tcp_options
    }

    /// The name that the broker's operators see. Default none.
    pub fn connection_name(&self) -> Option<&str> {
        self.connection_name.as_deref()
    }

    /// What is told to the broker beside haypile's own client properties. Default empty.
    pub fn client_properties(&self) -> &FieldTable<'static> {
        &self.client_properties
    }

    /// Sets the host: a name or an IP address.
    pub fn set_host(&mut self, host: impl Into<String>) -> &mut Self {
        self.host = host.into();
        self
    }

    /// Sets the TCP port.
    pub fn set_port(&mut self, port: u16) -> &mut Self {
        self.port = Some(port);
        self
    }

    /// Sets how TLS is spoken (pika's `ssl_options`); `None` is without it. The port, unless it was
    /// set, becomes 5671.
    #[cfg(feature = "tls")]
    pub fn set_tls(&mut self, tls: Option<TlsOptions>) -> &mut Self {
        self.tls = tls;
        self
    }

    /// Sets the virtual host.
    ///
    /// # Errors
    /// If it is longer than the 255 bytes AMQP can carry.
    pub fn set_virtual_host(
        &mut self,
        virtual_host: impl Into<String>,
    ) -> Result<&mut Self, ParametersError> {
        self.virtual_host = short("virtual_host", virtual_host.into())?;
        Ok(self)
    }

    /// Sets who the client says it is.
    pub fn set_credentials(&mut self, credentials: impl Credentials) -> &mut Self {
        self.credentials = Arc::new(credentials);
        self
    }

    /// Sets the highest channel number to agree to. The broker may set a lower one.
    ///
    /// # Errors
    /// If it is 0.
    pub fn set_channel_max(&mut self, channel_max: u16) -> Result<&mut Self, ParametersError> {
        if channel_max == 0 {
            return Err(invalid("channel_max", "must be at least 1"));
        }
        self.channel_max = channel_max;
        Ok(self)
    }

    /// Sets the largest frame to agree to, in bytes. The broker may set a lower one.
    ///
    /// # Errors
    /// If it is not within 8,192 (what RabbitMQ needs) and 131,072.
    pub fn set_frame_max(&mut self, frame_max: u32) -> Result<&mut Self, ParametersError> {
        if !(FRAME_MAX_MINIMUM..=FRAME_MAX_MAXIMUM).contains(&frame_max) {
            let range = format!("must be within {FRAME_MAX_MINIMUM} and {FRAME_MAX_MAXIMUM}");
            return Err(invalid("frame_max", range));
        }
        self.frame_max = frame_max;
        Ok(self)
    }

    /// Sets which heartbeat interval to have. A connection whose peer is silent for two intervals
    /// ends with [`Error::HeartbeatTimeout`](crate::Error::HeartbeatTimeout).
    pub fn set_heartbeat(&mut self, heartbeat: Heartbeat) -> &mut Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Sets the locale of the broker's texts. RabbitMQ knows `en_US` alone.
    ///
    /// # Errors
    /// If it is longer than the 255 bytes AMQP can carry.
    pub fn set_locale(&mut self, locale: impl Into<String>) -> Result<&mut Self, ParametersError> {
        self.locale = short("locale", locale.into())?;
        Ok(self)
    }

    /// Sets how many times everything is tried before it counts as failed: each host, each of its
    /// addresses. See [`ConnectionWorkflow`](crate::ConnectionWorkflow).
    ///
    /// # Errors
    /// If it is 0.
    pub fn set_connection_attempts(&mut self, attempts: u32) -> Result<&mut Self, ParametersError> {
        self.connection_attempts = at_least_one("connection_attempts", attempts)?;
        Ok(self)
    }

    /// Sets how long to pause, at most, before everything is tried for the second time; the pauses
    /// after it grow. Zero is no pause. See [`ConnectionWorkflow`](crate::ConnectionWorkflow).
    pub fn set_retry_delay(&mut self, delay: Duration) -> &mut Self {
        self.retry_delay = delay;
        self
    }

    /// Sets how long each address may take to accept the TCP connection; `None` leaves that to the
    /// operating system.
    ///
    /// # Errors
    /// If it is zero.
    pub fn set_socket_timeout(
        &mut self,
        timeout: Option<Duration>,
    ) -> Result<&mut Self, ParametersError> {
        self.socket_timeout = not_zero("socket_timeout", timeout)?;
        Ok(self)
    }

    /// Sets how long opening may take at each address, from the start of the TCP connect, over TLS
    /// if it is spoken, until the connection is open; how long a lookup of the host may take; and
    /// how long an orderly close may wait for the broker. `None` waits for ever.
    ///
    /// # Errors
    /// If it is zero.
    pub fn set_stack_timeout(
        &mut self,
        timeout: Option<Duration>,
    ) -> Result<&mut Self, ParametersError> {
        self.stack_timeout = not_zero("stack_timeout", timeout)?;
        Ok(self)
    }

    /// Sets how long the broker may keep the connection blocked (AMQP connection.blocked) before it
    /// is given up; `None` waits for ever.
    pub fn set_blocked_connection_timeout(&mut self, timeout: Option<Duration>) -> &mut Self {
        self.blocked_connection_timeout = timeout;
        self
    }

    /// Sets the options of the TCP socket.
    pub fn set_tcp_options(&mut self, options: TcpOptions) -> &mut Self {
        self.tcp_options = options;
        self
    }

    /// Sets the name that the broker's operators see: the client property `connection_name`. It
    /// need not be unique.
    pub fn set_connection_name(&mut self, name: impl Into<String>) -> &mut Self {
        self.connection_name = Some(name.into());
        self
    }

    /// Sets what is told to the broker beside haypile's own client properties; an entry named like
    /// one of those, or `connection_name`, replaces it.
    pub fn set_client_properties(&mut self, properties: FieldTable<'static>) -> &mut Self {
        self.client_properties = properties;
        self
    }
}

pub(super) fn invalid(name: &'static str, reason: impl Into<String>) -> ParametersError {
    ParametersError::Invalid { name, reason: reason.into() }
}

fn short(name: &'static str, value: String) -> Result<String, ParametersError> {
    if value.len() > 255 {
        return Err(invalid(name, format!("is {} bytes long, the limit is 255", value.len())));
    }
    Ok(value)
}

pub(super) fn at_least_one(name: &'static str, value: u32) -> Result<u32, ParametersError> {
    if value == 0 {
        return Err(invalid(name, "must be at least 1"));
    }
    Ok(value)
}

pub(super) fn not_zero(
    name: &'static str,
    timeout: Option<Duration>,
) -> Result<Option<Duration>, ParametersError> {
    if timeout == Some(Duration::ZERO) {
        return Err(invalid(name, "must not be zero"));
    }
    Ok(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "tls")]
    #[test]
    fn the_port_is_that_of_the_scheme_unless_it_is_set() {
        let mut parameters = ConnectionParameters::default();
        assert_eq!(parameters.port(), 5672);
        assert_eq!(parameters.set_tls(Some(TlsOptions::new())).port(), 5671);
        assert_eq!(parameters.set_port(5672).port(), 5672);
        assert_eq!(parameters.set_port(1).set_tls(None).port(), 1);
    }

    #[test]
    fn what_is_out_of_range_is_refused_by_name_and_changes_nothing() {
        fn refused(
            set: impl Fn(&mut ConnectionParameters) -> Option<ParametersError>,
        ) -> &'static str {
            let mut parameters = ConnectionParameters::default();
            let error = set(&mut parameters).expect("it is refused");
            assert_eq!(format!("{parameters:?}"), format!("{:?}", ConnectionParameters::default()));
            match error {
                ParametersError::Invalid { name, .. } => name,
                other => panic!("{other}"),
            }
        }
        let long = "x".repeat(256);
        assert_eq!(refused(|p| p.set_channel_max(0).err()), "channel_max");
        assert_eq!(refused(|p| p.set_frame_max(8191).err()), "frame_max");
        assert_eq!(refused(|p| p.set_frame_max(131_073).err()), "frame_max");
        assert_eq!(refused(|p| p.set_virtual_host(&long).err()), "virtual_host");
        assert_eq!(refused(|p| p.set_locale(&long).err()), "locale");
        assert_eq!(refused(|p| p.set_connection_attempts(0).err()), "connection_attempts");
        assert_eq!(refused(|p| p.set_socket_timeout(Some(Duration::ZERO)).err()), "socket_timeout");
        assert_eq!(refused(|p| p.set_stack_timeout(Some(Duration::ZERO)).err()), "stack_timeout");
    }
}
