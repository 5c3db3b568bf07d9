//! What all methods have in common.

use std::fmt;

use super::{DecodeError, EncodeError, Method};

/// A method that can be sent.
pub trait EncodeMethod {
    /// The class of the method.
    const CLASS_ID: u16;
    /// The method within its class.
    const METHOD_ID: u16;
    /// The name of the method in AMQP, such as "queue.declare".
    const NAME: &'static str;

    /// Checks every value and gives the size of the arguments.
    fn encoded_len(&self) -> Result<usize, EncodeError>;

    /// Appends the arguments. Only after [`encoded_len`](Self::encoded_len) said Ok.
    fn encode(&self, out: &mut Vec<u8>);
}

/// A method that can be received.
pub trait DecodeMethod<'a>: Sized {
    /// Reads the arguments: what a payload has behind the ids. Octets behind them are let pass,
    /// since peers do send them.
    fn decode(arguments: &'a [u8]) -> Result<Self, DecodeError>;
}

/// A method that a client sends and that a server answers with one certain method.
pub trait Request: EncodeMethod {
    /// The answer.
    type Reply: ReplyMethod;
}

/// A method that can be kept: an answer, say, by whoever waits for it.
pub trait ReplyMethod: Sized + 'static {
    /// The method, owned, if it is this one.
    fn from_method(method: Method<'_>) -> Option<Self>;
}

/// Appends a method frame's payload.
pub(super) fn encode_payload<M: EncodeMethod>(
    method: &M,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    out.reserve(4 + method.encoded_len()?);
    out.extend_from_slice(&M::CLASS_ID.to_be_bytes());
    out.extend_from_slice(&M::METHOD_ID.to_be_bytes());
    method.encode(out);
    Ok(())
}

/// Stands for a secret in what `Debug` prints.
pub(super) struct Redacted;

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
