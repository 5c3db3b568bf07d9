//! What all methods have in common.

use std::fmt;

use super::{DecodeError, EncodeError, Method, Writer};

/// Class id and method id, before a method's arguments.
pub(super) const METHOD_IDS_LEN: usize = 4;

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

    /// Writes the arguments. Only after [`encoded_len`](Self::encoded_len) said Ok.
    fn encode(&self, to: &mut Writer<'_>);
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
    Writer::append(out, METHOD_IDS_LEN + method.encoded_len()?, |to| write_payload(method, to));
    Ok(())
}

/// Writes a method frame's payload.
#[inline(always)]
pub(super) fn write_payload<M: EncodeMethod>(method: &M, to: &mut Writer<'_>) {
    let ([c0, c1], [m0, m1]) = (M::CLASS_ID.to_be_bytes(), M::METHOD_ID.to_be_bytes());
    to.array([c0, c1, m0, m1]);
    method.encode(to);
}

/// Stands for a secret in what `Debug` prints.
pub(super) struct Redacted;

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
