//! The properties of a message.

use std::fmt;

use super::wire::{IntoOwned, WireType};
use super::{DecodeError, EncodeError, FieldTable, Reader, ShortStr, Writer};

/// Flag words go on while this bit is set.
const MORE_FLAGS: u16 = 1;
/// The bit of the first word that no property of the class basic has.
const UNASSIGNED: u16 = 1 << 1;

/// Makes the struct from a list of properties: the bit of the flag word, the name, the type.
/// Values follow the flags in the order of the list.
macro_rules! properties {
    ($($(#[$meta:meta])* $bit:literal $property:ident: $Type:ty,)*) => {
        /// The properties of a message: what its sender says about it. Each may be absent, which is
        /// not the same as empty.
        ///
        /// ```
        /// use haypile::protocol::BasicProperties;
        ///
        /// let properties = BasicProperties {
        ///     content_type: Some("application/json".into()),
        ///     delivery_mode: Some(BasicProperties::PERSISTENT),
        ///     ..Default::default()
        /// };
        /// let mut encoded = Vec::new();
        /// properties.encode(&mut encoded)?;
        /// assert_eq!(BasicProperties::decode(&encoded)?, properties);
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        #[derive(Clone, Default, PartialEq, Eq)]
        pub struct BasicProperties<'a> {
            $($(#[$meta])* pub $property: Option<$Type>,)*
        }

        impl<'a> BasicProperties<'a> {
            /// The same properties, free of what they borrow from.
            pub fn into_owned(self) -> BasicProperties<'static> {
                BasicProperties { $($property: self.$property.map(IntoOwned::into_owned),)* }
            }

            /// Whether none is there.
            #[inline]
            fn is_empty(&self) -> bool {
                !(false $(| self.$property.is_some())*)
            }

            // What follows is apart: whoever has no property does not look at each for it.

            /// Which are there, as the wire says it.
            #[inline(never)]
            fn flags(&self) -> u16 {
                // Not of u16: then the compiler reads past what has just been written, and waits.
                let mut flags = 0_u32;
                $(flags |= u32::from(self.$property.is_some()) << $bit;)*
                flags as u16
            }

            /// The size of the values, after checking each.
            #[inline(never)]
            fn values_len(&self) -> Result<usize, EncodeError> {
                let mut length = 0;
                $(if let Some(value) = &self.$property {
                    length += value.encoded_len()?;
                })*
                Ok(length)
            }

            /// Writes the values, which take all of `place`.
            #[inline(never)]
            fn write_values(&self, place: &mut [u8]) {
                let to = &mut Writer::new(place);
                $(if let Some(value) = &self.$property {
                    value.write(to);
                })*
            }

            fn decode_values(flags: u16, from: &mut Reader<'a>) -> Result<Self, DecodeError> {
                Ok(Self {
                    $($property: if flags & (1 << $bit) != 0 {
                        Some(WireType::read(from)?)
                    } else {
                        None
                    },)*
                })
            }
        }

        /// Prints the properties that are present.
        impl fmt::Debug for BasicProperties<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut properties = f.debug_struct("BasicProperties");
                $(if let Some(value) = &self.$property {
                    properties.field(stringify!($property), value);
                })*
                properties.finish()
            }
        }

        #[cfg(test)]
        impl proptest::arbitrary::Arbitrary for BasicProperties<'static> {
            type Parameters = ();
            type Strategy = proptest::strategy::BoxedStrategy<Self>;

            fn arbitrary_with((): ()) -> Self::Strategy {
                let all = super::arbitrary::just_default::<Self>();
                $(let all = super::arbitrary::with_field(all, |properties, value| {
                    properties.$property = value;
                });)*
                all
            }
        }
    };
}

properties! {
    /// The MIME type of the body.
    15 content_type: ShortStr<'a>,
    /// The MIME encoding of the body.
    14 content_encoding: ShortStr<'a>,
    /// Whatever a program adds, and what headers exchanges route by.
    13 headers: FieldTable<'a>,
    /// [`TRANSIENT`](Self::TRANSIENT) or [`PERSISTENT`](Self::PERSISTENT).
    12 delivery_mode: u8,
    /// The priority, for queues that have priorities.
    11 priority: u8,
    /// Which request this message answers.
    10 correlation_id: ShortStr<'a>,
    /// The queue that takes answers.
    9 reply_to: ShortStr<'a>,
    /// How long the message may wait in a queue: milliseconds in decimal digits.
    8 expiration: ShortStr<'a>,
    /// What identifies the message.
    7 message_id: ShortStr<'a>,
    /// When it was sent: seconds since 1970.
    6 timestamp: u64,
    /// What kind of message it is (AMQP and pika: `type`).
    5 message_type: ShortStr<'a>,
    /// The user who sends it. RabbitMQ refuses any but the connection's own.
    4 user_id: ShortStr<'a>,
    /// The program that sends it.
    3 app_id: ShortStr<'a>,
    /// Reserved by AMQP 0-9-1; once the cluster's id.
    2 cluster_id: ShortStr<'a>,
}

/// Properties that were checked.
#[derive(Clone, Copy)]
pub(super) struct Measured {
    /// The size of the values: 0 only if there is none.
    values: usize,
    /// That of flags and values.
    pub(super) len: usize,
}

impl<'a> BasicProperties<'a> {
    /// The delivery mode of a message that a restart of the broker may lose.
    pub const TRANSIENT: u8 = 1;
    /// The delivery mode of a message that a durable queue keeps on disk.
    pub const PERSISTENT: u8 = 2;

    /// Checks every value and gives the size of flags and values.
    pub fn encoded_len(&self) -> Result<usize, EncodeError> {
        Ok(self.measure()?.len)
    }

    /// Appends flags and values. On an error `out` is as it was.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let measured = self.measure()?;
        Writer::append(out, measured.len, |to| self.write(measured, to));
        Ok(())
    }

    /// Checks every value.
    #[inline]
    pub(super) fn measure(&self) -> Result<Measured, EncodeError> {
        // Many messages have none.
        let values = if self.is_empty() { 0 } else { self.values_len()? };
        Ok(Measured { values, len: size_of::<u16>() + values })
    }

    /// Writes flags and values.
    #[inline]
    pub(super) fn write(&self, measured: Measured, to: &mut Writer<'_>) {
        if measured.values == 0 {
            to.array([0; 2]);
        } else {
            to.array(self.flags().to_be_bytes());
            self.write_values(to.place(measured.values));
        }
    }

    /// Reads flags and values. Octets behind the last value are let pass, and so are further flag
    /// words, whose values would lie there.
    #[inline]
    pub fn decode(encoded: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(encoded);
        let flags = reader.u16()?;
        let mut last_word = flags;
        while last_word & MORE_FLAGS != 0 {
            last_word = reader.u16()?;
        }
        if flags & UNASSIGNED != 0 {
            return Err(DecodeError::UnknownProperty(flags));
        }
        Self::decode_values(flags, &mut reader)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
           #![proptest_config(ProptestConfig::with_cases(256))]

           #[test]
           fn decodes_what_it_encodes(properties: BasicProperties<'static>) {
               let mut encoded = Vec::new();
               prop_assert_eq!(properties.encode(&mut encoded), Ok(()));
               prop_assert_eq!(Ok(encoded.len()), properties.encoded_len());
               prop_assert_eq!(BasicProperties::decode(&encoded), Ok(properties.clone()));
               for cut in 0..encoded.len() {
                   let decoded = BasicProperties::decode(&encoded[..cut]);
                   let truncated = matches!(decoded, Err(DecodeError::Truncated { .. }));
    prop_assert!(truncated, "cut at {}: {:?}", cut, decoded);
               }
               encoded.extend(b"trailing");
               let decoded = BasicProperties::decode(&encoded).map(BasicProperties::into_owned);
               prop_assert_eq!(decoded, Ok(properties));
           }
       }
}
