//! The reply codes of AMQP: why a channel or a connection is closed, or a message returned.

use super::DecodeError;

/// All went well: the code of an ordinary close.
pub const SUCCESS: u16 = 200;
/// A message is larger than the server takes.
pub const CONTENT_TOO_LARGE: u16 = 311;
/// A mandatory message was routed to no queue.
pub const NO_ROUTE: u16 = 312;
/// An immediate message found no consumer.
pub const NO_CONSUMERS: u16 = 313;
/// An operator closed the connection.
pub const CONNECTION_FORCED: u16 = 320;
/// The virtual host does not exist.
pub const INVALID_PATH: u16 = 402;
/// The user may not do this.
pub const ACCESS_REFUSED: u16 = 403;
/// There is no such queue or exchange.
pub const NOT_FOUND: u16 = 404;
/// Another connection holds the queue exclusively.
pub const RESOURCE_LOCKED: u16 = 405;
/// The entity exists with other settings, or a delivery tag is unknown.
pub const PRECONDITION_FAILED: u16 = 406;
/// A frame that cannot be cut or decoded.
pub const FRAME_ERROR: u16 = 501;
/// A field with an impossible value.
pub const SYNTAX_ERROR: u16 = 502;
/// A method that is not allowed at this point.
pub const COMMAND_INVALID: u16 = 503;
/// A frame for a channel that is not open.
pub const CHANNEL_ERROR: u16 = 504;
/// A frame that is not allowed at this point, such as a body without a header.
pub const UNEXPECTED_FRAME: u16 = 505;
/// The server has run out of something.
pub const RESOURCE_ERROR: u16 = 506;
/// The server's settings forbid this.
pub const NOT_ALLOWED: u16 = 530;
/// The method is not implemented.
pub const NOT_IMPLEMENTED: u16 = 540;
/// The server failed.
pub const INTERNAL_ERROR: u16 = 541;

impl DecodeError {
    /// The code to close the connection with: [`FRAME_ERROR`] where frames can no longer be told
    /// apart, [`SYNTAX_ERROR`] for a payload that cannot be read, [`NOT_IMPLEMENTED`] for a method
    /// that this library does not know.
    pub fn reply_code(&self) -> u16 {
        match self {
            Self::FrameEnd(_) | Self::FrameTooLarge { .. } | Self::UnknownFrameKind(_) => {
                FRAME_ERROR
            }
            Self::Truncated { .. } | Self::UnknownFieldType(_) | Self::UnknownProperty(_) => {
                SYNTAX_ERROR
            }
            Self::UnknownMethod { .. } => NOT_IMPLEMENTED,
        }
    }
}
