//! The wire: bytes in, values out.

/// placeholder
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("x")]
pub enum DecodeError {}
/// placeholder
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("x")]
pub enum EncodeError {}
