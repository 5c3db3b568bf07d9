//! Content headers: what comes between a method that carries a message and the message's body.

use super::{BasicProperties, DecodeError, Reader};

/// The payload of a header frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// The class of the method before it: [`CLASS_ID`](Self::CLASS_ID), in AMQP 0-9-1.
    pub class_id: u16,
    /// How many bytes the body frames bring. A claim: reserve nothing by it.
    pub body_size: u64,
    /// The properties as they lie on the wire, and whatever octets came behind them.
    pub properties: &'a [u8],
}

impl<'a> ContentHeader<'a> {
    /// The class basic, the only one with content.
    pub const CLASS_ID: u16 = 60;

    /// Reads the payload of a header frame, the properties excepted.
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let class_id = reader.u16()?;
        let _weight = reader.u16()?;
        let body_size = reader.u64()?;
        Ok(Self { class_id, body_size, properties: reader.rest() })
    }

    /// Reads the properties.
    pub fn decode_properties(&self) -> Result<BasicProperties<'a>, DecodeError> {
        BasicProperties::decode(self.properties)
    }
}
