//! What a peer did that AMQP 0-9-1 does not allow.

use crate::protocol::{DecodeError, reply_code};

/// What a peer did that AMQP 0-9-1 does not allow. Each has its reply code: see
/// [`reply_code`](Self::reply_code).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A content body is longer than its header said.
    #[error("channel {channel}: a body of {received} bytes where {declared} were declared")]
    BodyTooLong {
        /// The channel.
        channel: u16,
        /// What the content header declared.
        declared: u64,
        /// What has come.
        received: u64,
    },
    /// A frame, method or property that cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A frame of a type that has no place here, such as a body with no method before it.
    #[error("channel {channel}: unexpected {frame}")]
    UnexpectedFrame {
        /// The channel.
        channel: u16,
        /// What came.
        frame: &'static str,
    },
    /// A method that has no place in this state.
    #[error("channel {channel}: unexpected {method}")]
    UnexpectedMethod {
        /// The channel.
        channel: u16,
        /// The method's name.
        method: &'static str,
    },
    /// An acknowledgement of what was never published on the channel.
    #[error("channel {channel}: nothing was published under the delivery tag {delivery_tag}")]
    UnknownDeliveryTag {
        /// The channel.
        channel: u16,
        /// The tag that was acknowledged.
        delivery_tag: u64,
    },
}

impl ProtocolError {
    /// The code that the peer is told when the connection is closed because of this.
    pub fn reply_code(&self) -> u16 {
        match self {
            Self::BodyTooLong { .. } => reply_code::FRAME_ERROR,
            Self::Decode(error) => error.reply_code(),
            Self::UnexpectedFrame { .. } => reply_code::UNEXPECTED_FRAME,
            Self::UnexpectedMethod { .. } => reply_code::COMMAND_INVALID,
            Self::UnknownDeliveryTag { .. } => reply_code::PRECONDITION_FAILED,
        }
    }
}
