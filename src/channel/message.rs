//! A message that has come: a view of the read buffer for as long as the callback runs.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::acker::{Acker, Origin};
use crate::protocol::{BasicProperties, DecodeError, ShortStr, basic};

/// From this length on, [`Message::to_bytes`] shares the read buffer instead of copying: a kept
/// small message must not pin a large buffer.
const SHARE_FROM: usize = 4 * 1024;

/// A message pushed to a consumer (AMQP basic.deliver).
pub type Delivery<'a> = Message<'a, basic::Deliver<'a>>;
/// A message fetched by `basic_get` (AMQP basic.get-ok).
pub type GetMessage<'a> = Message<'a, basic::GetOk<'a>>;
/// A message that the broker could not route and sent back (AMQP basic.return).
pub type ReturnedMessage<'a> = Message<'a, basic::Return<'a>>;

/// A message that has come: the method that brought it, its properties and its body.
///
/// It is a view of the connection's read buffer, valid while the callback runs. Keep the body with
/// [`to_bytes`](Self::to_bytes), or all of it with [`into_owned`](Message::into_owned).
#[derive(Clone)]
pub struct Message<'a, M> {
    method: M,
    properties: Part<'a>,
    body: Part<'a>,
    origin: Origin<'a>,
}

/// Bytes of a message: still in the read buffer, or its own.
#[derive(Clone)]
pub(crate) enum Part<'a> {
    InBuffer { bytes: &'a [u8], buffer: &'a Arc<[u8]> },
    Owned(Bytes),
}

impl Part<'_> {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::InBuffer { bytes, .. } => bytes,
            Self::Owned(bytes) => bytes,
        }
    }

    fn to_bytes(&self) -> Bytes {
        match self {
            Self::InBuffer { bytes, buffer } if bytes.len() >= SHARE_FROM => {
                let start = bytes.as_ptr() as usize - buffer.as_ptr() as usize;
                Bytes::from_owner(Arc::clone(buffer)).slice(start..start + bytes.len())
            }
            Self::InBuffer { bytes, .. } => Bytes::copy_from_slice(bytes),
            Self::Owned(bytes) => bytes.clone(),
        }
    }
}

impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.as_slice().len())
    }
}

impl<'a, M> Message<'a, M> {
    #[inline]
    pub(crate) fn new(method: M, properties: Part<'a>, body: Part<'a>, origin: Origin<'a>) -> Self {
        Self { method, properties, body, origin }
    }

    /// Says where its answer goes.
    pub(crate) fn with_origin(self, origin: Origin<'a>) -> Self {
        Self { origin, ..self }
    }

    /// The method that brought the message, with everything that is not content.
    pub fn method(&self) -> &M {
        &self.method
    }

    /// The content, exactly as published.
    pub fn body(&self) -> &[u8] {
        self.body.as_slice()
    }

    /// The content, to keep: shares the read buffer from 4 KiB on, copies below, so that a small
    /// kept message holds no large buffer in memory.
    pub fn to_bytes(&self) -> Bytes {
        self.body.to_bytes()
    }

    /// Decodes the properties. They are decoded when asked for only.
    ///
    /// # Errors
    /// If the publisher or the broker sent what cannot be decoded. The message is otherwise good,
    /// and so is the connection.
    pub fn properties(&self) -> Result<BasicProperties<'_>, DecodeError> {
        BasicProperties::decode(self.properties.as_slice())
    }

    fn map_owned<N>(self, own: impl FnOnce(M) -> N) -> Message<'static, N> {
        Message {
            properties: Part::Owned(Bytes::copy_from_slice(self.properties.as_slice())),
            body: Part::Owned(self.body.to_bytes()),
            method: own(self.method),
            origin: self.origin.into_owned(),
        }
    }
}

impl Delivery<'_> {
    /// The tag to acknowledge it by, on the channel it came on.
    pub fn delivery_tag(&self) -> u64 {
        self.method.delivery_tag
    }

    /// What answers it from any thread. Each acker is an answer: take one for each delivery, and
    /// none if the consumer takes its messages unacknowledged.
    pub fn acker(&self) -> Acker {
        self.origin.acker(self.method.delivery_tag)
    }

    /// The consumer that it is for.
    pub fn consumer_tag(&self) -> &ShortStr<'_> {
        &self.method.consumer_tag
    }

    /// The exchange it was published to; empty for the default exchange.
    pub fn exchange(&self) -> &ShortStr<'_> {
        &self.method.exchange
    }

    /// The routing key it was published with.
    pub fn routing_key(&self) -> &ShortStr<'_> {
        &self.method.routing_key
    }

    /// Whether it may have been delivered before.
    pub fn redelivered(&self) -> bool {
        self.method.redelivered
    }

    /// All of it, free of the read buffer or sharing it as [`to_bytes`](Self::to_bytes) does.
    pub fn into_owned(self) -> Delivery<'static> {
        self.map_owned(basic::Deliver::into_owned)
    }
}

impl GetMessage<'_> {
    /// What answers it from any thread. Each acker is an answer: take one for each message, and
    /// none if it was fetched with `no_ack`.
    pub fn acker(&self) -> Acker {
        self.origin.acker(self.method.delivery_tag)
    }

    /// All of it, free of the read buffer or sharing it as [`to_bytes`](Self::to_bytes) does.
    pub fn into_owned(self) -> GetMessage<'static> {
        self.map_owned(basic::GetOk::into_owned)
    }
}

impl ReturnedMessage<'_> {
    /// All of it, free of the read buffer or sharing it as [`to_bytes`](Self::to_bytes) does.
    pub fn into_owned(self) -> ReturnedMessage<'static> {
        self.map_owned(basic::Return::into_owned)
    }
}

impl<M: fmt::Debug> fmt::Debug for Message<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("method", &self.method)
            .field("properties", &self.properties)
            .field("body", &self.body)
            .finish()
    }
}

/// The body of a message to publish: borrowed bytes, or bytes handed over.
///
/// Bytes handed over (`Vec`, `String`, `Bytes`) of more than 8 KiB are sent without a copy.
#[derive(Clone, Debug)]
pub struct Body<'a>(pub(crate) BodyBytes<'a>);

#[derive(Clone, Debug)]
pub(crate) enum BodyBytes<'a> {
    Borrowed(&'a [u8]),
    Shared(Bytes),
}

impl Body<'_> {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match &self.0 {
            BodyBytes::Borrowed(bytes) => bytes,
            BodyBytes::Shared(bytes) => bytes,
        }
    }
}

impl<'a> From<&'a [u8]> for Body<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(BodyBytes::Borrowed(bytes))
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Body<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self(BodyBytes::Borrowed(bytes))
    }
}

impl<'a> From<&'a str> for Body<'a> {
    fn from(text: &'a str) -> Self {
        Self(BodyBytes::Borrowed(text.as_bytes()))
    }
}

impl<'a> From<&'a String> for Body<'a> {
    fn from(text: &'a String) -> Self {
        Self(BodyBytes::Borrowed(text.as_bytes()))
    }
}

impl<'a> From<&'a Vec<u8>> for Body<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self(BodyBytes::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for Body<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self(BodyBytes::Shared(bytes.into()))
    }
}

impl From<String> for Body<'_> {
    fn from(text: String) -> Self {
        Self(BodyBytes::Shared(text.into()))
    }
}

impl From<Bytes> for Body<'_> {
    fn from(bytes: Bytes) -> Self {
        Self(BodyBytes::Shared(bytes))
    }
}
