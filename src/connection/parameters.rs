//! What a connection is to be: where, as whom, within which limits.

use std::time::Duration;

use super::credentials::PlainCredentials;
use super::heartbeat::Heartbeat;
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
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionParameters {
    host: String,
    port: u16,
    virtual_host: String,
    credentials: PlainCredentials,
    channel_max: u16,
    frame_max: u32,
    heartbeat: Heartbeat,
    locale: String,
    socket_timeout: Option<Duration>,
    stack_timeout: Option<Duration>,
    client_properties: FieldTable<'static>,
}

impl Default for ConnectionParameters {
    /// `guest` on `localhost:5672`, virtual host `/`.
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: 5672,
            virtual_host: "/".into(),
            credentials: PlainCredentials::default(),
            channel_max: u16::MAX,
            frame_max: FRAME_MAX_MAXIMUM,
            heartbeat: Heartbeat::default(),
            locale: "en_US".into(),
            socket_timeout: Some(Duration::from_secs(10)),
            stack_timeout: Some(Duration::from_secs(15)),
            client_properties: FieldTable::default(),
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

    /// The TCP port. Default 5672.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The virtual host. Default `/`.
    pub fn virtual_host(&self) -> &str {
        &self.virtual_host
    }

    /// Who the client says it is. Default `guest`.
    pub fn credentials(&self) -> &PlainCredentials {
        &self.credentials
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

    /// How long each address may take to accept the TCP connection. Default 10 s.
    pub fn socket_timeout(&self) -> Option<Duration> {
        self.socket_timeout
    }

    /// How long the AMQP handshake may take once TCP is connected, and an orderly close. Default
    /// 15 s.
    pub fn stack_timeout(&self) -> Option<Duration> {
        self.stack_timeout
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
        self.port = port;
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
    pub fn set_credentials(&mut self, credentials: PlainCredentials) -> &mut Self {
        self.credentials = credentials;
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

    /// Sets how long the AMQP handshake may take once TCP is connected, and how long an orderly
    /// close may wait for the broker; `None` waits for ever.
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

    /// Sets what is told to the broker beside haypile's own client properties; an entry named like
    /// one of those replaces it.
    pub fn set_client_properties(&mut self, properties: FieldTable<'static>) -> &mut Self {
        self.client_properties = properties;
        self
    }
}

fn invalid(name: &'static str, reason: impl Into<String>) -> ParametersError {
    ParametersError::Invalid { name, reason: reason.into() }
}

fn short(name: &'static str, value: String) -> Result<String, ParametersError> {
    if value.len() > 255 {
        return Err(invalid(name, format!("is {} bytes long, the limit is 255", value.len())));
    }
    Ok(value)
}

fn not_zero(
    name: &'static str,
    timeout: Option<Duration>,
) -> Result<Option<Duration>, ParametersError> {
    if timeout == Some(Duration::ZERO) {
        return Err(invalid(name, "must not be zero"));
    }
    Ok(timeout)
}
