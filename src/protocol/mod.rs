//! The wire: bytes in, values out. Nothing here does I/O, reads a clock or keeps state.
//!
//! - [`Frame::parse`] cuts frames from received bytes, [`Method::decode`], [`ContentHeader::decode`]
//!   and [`BasicProperties::decode`] read their payloads. What they give borrows from the input;
//!   `into_owned` frees it from there. Decoding allocates nothing, whatever lengths a peer claims.
//! - [`encode_method`] and its kin append whole frames to an output buffer. They check everything
//!   first: on an error nothing has been appended.
//! - A method is a struct of its class's module, such as [`queue::Declare`]. All of them are declared
//!   in one table, from which structs, ids, encoding, decoding and reply types come.
//!
//! ```
//! use haypile::protocol::{Frame, FrameKind, Method, encode_method, queue};
//!
//! let mut output = Vec::new();
//! let declare = queue::Declare { queue: "tasks".into(), durable: true, ..Default::default() };
//! encode_method(&mut output, 4096, 1, &declare)?;
//!
//! let (frame, length) = Frame::parse(&output, 4096)?.expect("the whole frame is there");
//! assert_eq!((frame.kind, frame.channel, length), (FrameKind::Method, 1, output.len()));
//! let method = Method::decode(frame.payload)?;
//! assert_eq!(method, Method::Queue(queue::Method::Declare(declare)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[macro_use]
mod method_table;

#[cfg(test)]
mod arbitrary;
mod arguments;
mod content_header;
mod encode;
mod error;
mod field_array;
mod field_debug;
mod field_value;
mod frame;
mod method;
mod methods;
mod octets;
mod properties;
pub mod reply_code;
mod strings;
mod table;
mod wire;

pub use content_header::ContentHeader;
pub(crate) use encode::encode_message_head;
pub use encode::{
    begin_body_frame, encode_body_frame, encode_content_header, encode_heartbeat, encode_method,
    end_frame, method_frame_len,
};
pub use error::{DecodeError, EncodeError};
pub use field_array::{ArrayIter, FieldArray};
pub use field_value::FieldValue;
pub(crate) use frame::FRAME_HEADER;
pub use frame::{FRAME_END, FRAME_MIN_SIZE, FRAME_OVERHEAD, Frame, FrameKind, PROTOCOL_HEADER};
pub use method::{DecodeMethod, EncodeMethod, ReplyMethod, Request};
pub use methods::{Method, basic, channel, confirm, connection, exchange, queue, tx};
pub use properties::BasicProperties;
pub use strings::{LongStr, ShortStr};
pub use table::{FieldTable, TableIter};
pub use wire::{Reader, Writer};
