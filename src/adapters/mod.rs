//! One file per loop, each small: nothing but the loop's own primitives is left for it.

#[macro_use]
mod base_connection;
mod select_connection;
#[cfg(feature = "tokio")]
mod tokio_connection;

pub use base_connection::BaseConnection;
pub use select_connection::SelectConnection;
#[cfg(feature = "tokio")]
pub use tokio_connection::{TokioConnection, TokioServices};
