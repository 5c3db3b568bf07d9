//! The values of field tables, one variant for each type tag that RabbitMQ knows.

use std::fmt;

use super::field_debug::Nested;
use super::wire::WireType;
use super::{DecodeError, EncodeError, FieldArray, FieldTable, LongStr, Reader, Writer};

/// A value in a [`FieldTable`] or a [`FieldArray`]. The types are RabbitMQ's, which differ from the
/// letters of the AMQP specification.
#[derive(Clone, PartialEq)]
pub enum FieldValue<'a> {
    /// Tag `t`.
    Bool(bool),
    /// Tag `b`.
    I8(i8),
    /// Tag `B`.
    U8(u8),
    /// Tag `s`.
    I16(i16),
    /// Tag `u`.
    U16(u16),
    /// Tag `I`.
    I32(i32),
    /// Tag `i`.
    U32(u32),
    /// Tag `l`.
    I64(i64),
    /// Tag `f`.
    F32(f32),
    /// Tag `d`.
    F64(f64),
    /// Tag `D`: `value` with the decimal point moved `scale` digits to the left.
    Decimal {
        /// How many digits are behind the decimal point.
        scale: u8,
        /// All the digits.
        value: i32,
    },
    /// Tag `S`: text or bytes.
    LongString(LongStr<'a>),
    /// Tag `A`.
    Array(FieldArray<'a>),
    /// Tag `T`: seconds since 1970.
    Timestamp(u64),
    /// Tag `F`.
    Table(FieldTable<'a>),
    /// Tag `V`: no value.
    Void,
    /// Tag `x`: bytes that are not text.
    Bytes(LongStr<'a>),
}

impl FieldValue<'_> {
    /// The value as a whole number, if it is of one of the integer types.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::I8(value) => Some(value.into()),
            Self::U8(value) => Some(value.into()),
            Self::I16(value) => Some(value.into()),
            Self::U16(value) => Some(value.into()),
            Self::I32(value) => Some(value.into()),
            Self::U32(value) => Some(value.into()),
            Self::I64(value) => Some(value),
            _ => None,
        }
    }

    /// The value as text, if it is a long string and UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::LongString(text) => text.to_str().ok(),
            _ => None,
        }
    }

    /// The same value, free of what it borrows from.
    pub fn into_owned(self) -> FieldValue<'static> {
        match self {
            Self::Bool(value) => FieldValue::Bool(value),
            Self::I8(value) => FieldValue::I8(value),
            Self::U8(value) => FieldValue::U8(value),
            Self::I16(value) => FieldValue::I16(value),
            Self::U16(value) => FieldValue::U16(value),
            Self::I32(value) => FieldValue::I32(value),
            Self::U32(value) => FieldValue::U32(value),
            Self::I64(value) => FieldValue::I64(value),
            Self::F32(value) => FieldValue::F32(value),
            Self::F64(value) => FieldValue::F64(value),
            Self::Decimal { scale, value } => FieldValue::Decimal { scale, value },
            Self::LongString(value) => FieldValue::LongString(value.into_owned()),
            Self::Array(value) => FieldValue::Array(value.into_owned()),
            Self::Timestamp(value) => FieldValue::Timestamp(value),
            Self::Table(value) => FieldValue::Table(value.into_owned()),
            Self::Void => FieldValue::Void,
            Self::Bytes(value) => FieldValue::Bytes(value.into_owned()),
        }
    }

    fn tag(&self) -> u8 {
        match self {
            Self::Bool(_) => b't',
            Self::I8(_) => b'b',
            Self::U8(_) => b'B',
            Self::I16(_) => b's',
            Self::U16(_) => b'u',
            Self::I32(_) => b'I',
            Self::U32(_) => b'i',
            Self::I64(_) => b'l',
            Self::F32(_) => b'f',
            Self::F64(_) => b'd',
            Self::Decimal { .. } => b'D',
            Self::LongString(_) => b'S',
            Self::Array(_) => b'A',
            Self::Timestamp(_) => b'T',
            Self::Table(_) => b'F',
            Self::Void => b'V',
            Self::Bytes(_) => b'x',
        }
    }
}

impl fmt::Debug for FieldValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Nested::outermost(self).fmt(f)
    }
}

impl<'a> WireType<'a> for FieldValue<'a> {
    fn encoded_len(&self) -> Result<usize, EncodeError> {
        let value = match self {
            Self::Void => 0,
            Self::Bool(_) | Self::I8(_) | Self::U8(_) => 1,
            Self::I16(_) | Self::U16(_) => 2,
            Self::I32(_) | Self::U32(_) | Self::F32(_) => 4,
            Self::Decimal { .. } => 5,
            Self::I64(_) | Self::F64(_) | Self::Timestamp(_) => 8,
            Self::LongString(value) | Self::Bytes(value) => value.encoded_len()?,
            Self::Array(value) => value.encoded_len()?,
            Self::Table(value) => value.encoded_len()?,
        };
        Ok(1 + value)
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.array([self.tag()]);
        match self {
            Self::Bool(value) => to.array([u8::from(*value)]),
            Self::I8(value) => to.array(value.to_be_bytes()),
            Self::U8(value) => to.array([*value]),
            Self::I16(value) => to.array(value.to_be_bytes()),
            Self::U16(value) => to.array(value.to_be_bytes()),
            Self::I32(value) => to.array(value.to_be_bytes()),
            Self::U32(value) => to.array(value.to_be_bytes()),
            Self::I64(value) => to.array(value.to_be_bytes()),
            Self::F32(value) => to.array(value.to_be_bytes()),
            Self::F64(value) => to.array(value.to_be_bytes()),
            Self::Decimal { scale, value } => {
                to.array([*scale]);
                to.array(value.to_be_bytes());
            }
            Self::LongString(value) | Self::Bytes(value) => value.write(to),
            Self::Array(value) => value.write(to),
            Self::Timestamp(value) => value.write(to),
            Self::Table(value) => value.write(to),
            Self::Void => {}
        }
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            b't' => Self::Bool(from.u8()? != 0),
            b'b' => Self::I8(i8::from_be_bytes(from.array()?)),
            b'B' => Self::U8(from.u8()?),
            b's' => Self::I16(i16::from_be_bytes(from.array()?)),
            b'u' => Self::U16(from.u16()?),
            b'I' => Self::I32(i32::from_be_bytes(from.array()?)),
            b'i' => Self::U32(from.u32()?),
            b'l' => Self::I64(i64::from_be_bytes(from.array()?)),
            b'f' => Self::F32(f32::from_be_bytes(from.array()?)),
            b'd' => Self::F64(f64::from_be_bytes(from.array()?)),
            b'D' => Self::Decimal { scale: from.u8()?, value: i32::from_be_bytes(from.array()?) },
            b'S' => Self::LongString(from.long_str()?),
            b'A' => Self::Array(from.field_array()?),
            b'T' => Self::Timestamp(from.u64()?),
            b'F' => Self::Table(from.table()?),
            b'V' => Self::Void,
            b'x' => Self::Bytes(from.long_str()?),
            unknown => return Err(DecodeError::UnknownFieldType(unknown)),
        })
    }
}

macro_rules! from {
    ($($Type:ty => $variant:ident,)*) => {$(
        impl<'a> From<$Type> for FieldValue<'a> {
            fn from(value: $Type) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

// Not u64: neither a timestamp nor an i64 is what every u64 means.
from! {
    bool => Bool,
    i8 => I8,
    u8 => U8,
    i16 => I16,
    u16 => U16,
    i32 => I32,
    u32 => U32,
    i64 => I64,
    f32 => F32,
    f64 => F64,
    &'a str => LongString,
    &'a String => LongString,
    String => LongString,
    LongStr<'a> => LongString,
    FieldArray<'a> => Array,
    FieldTable<'a> => Table,
}
