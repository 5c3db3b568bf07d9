//! What cannot be decoded, and what cannot be encoded.

/// Why received bytes are not AMQP 0-9-1. Its [`reply_code`](Self::reply_code) is what the
/// connection is closed with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A frame does not end with the octet 206.
    #[error("a frame ends with octet {0:#04x} instead of 0xce")]
    FrameEnd(u8),
    /// A frame says that it is longer than the limit agreed on.
    #[error("a frame of {size} bytes where at most {frame_max} are allowed")]
    FrameTooLarge {
        /// The size of the whole frame, as its header has it.
        size: u64,
        /// The limit.
        frame_max: u32,
    },
    /// A value reaches past the end of what holds it.
    #[error("truncated: {needed} bytes are needed where {available} are left")]
    Truncated {
        /// What the value needs.
        needed: usize,
        /// What is left.
        available: usize,
    },
    /// A field of a table or an array has a type tag that RabbitMQ does not know.
    #[error("unknown field type {0:#04x}")]
    UnknownFieldType(u8),
    /// A frame has a type that does not exist, which is how a peer that speaks something else
    /// shows as well.
    #[error("unknown frame type {0}")]
    UnknownFrameKind(u8),
    /// There is no method of these ids.
    #[error("unknown method {method_id} of class {class_id}")]
    UnknownMethod {
        /// The class.
        class_id: u16,
        /// The method within the class.
        method_id: u16,
    },
    /// The property flags announce a property that the class basic does not have.
    #[error("unknown property in flags {0:#06x}")]
    UnknownProperty(u16),
}

/// Why a value cannot go on the wire. Nothing of it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A method or a content header does not fit one frame, and AMQP cannot split it.
    #[error("a frame of {size} bytes where at most {frame_max} are allowed")]
    FrameTooLarge {
        /// The size of the whole frame.
        size: usize,
        /// The limit.
        frame_max: u32,
    },
    /// A long string is longer than its 32-bit length can say.
    #[error("a long string of {length} bytes; at most 4294967295 are possible")]
    LongStringTooLong {
        /// Its length.
        length: usize,
    },
    /// A short string is longer than 255 bytes.
    #[error("a short string of {length} bytes; at most 255 are possible")]
    ShortStringTooLong {
        /// Its length.
        length: usize,
    },
    /// The entries of a table or an array are longer than their 32-bit length can say.
    #[error("a table or array of {length} bytes; at most 4294967295 are possible")]
    TableTooLong {
        /// The length of the entries.
        length: usize,
    },
}
