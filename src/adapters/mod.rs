//! One file per loop, each small: nothing but the loop's own primitives is left for it.

#[macro_use]
mod base_connection;
#[cfg(feature = "async-io")]
mod async_io_connection;
#[cfg(any(feature = "glib", feature = "libev", feature = "libevent", feature = "libuv"))]
mod c_loop;
#[cfg(feature = "calloop")]
mod calloop_connection;
mod create_connection;
#[cfg(any(feature = "async-io", feature = "tokio"))]
mod driver;
#[cfg(any(feature = "glib", feature = "libev", feature = "libevent", feature = "libuv"))]
mod ffi;
#[cfg(any(
    feature = "async-io",
    feature = "calloop",
    feature = "glib",
    feature = "libev",
    feature = "libevent",
    feature = "libuv",
    feature = "tokio",
))]
#[allow(dead_code, reason = "each adapter uses a part of it")]
mod foreign;
#[cfg(feature = "glib")]
mod glib_connection;
#[cfg(feature = "libev")]
mod libev_connection;
#[cfg(feature = "libevent")]
mod libevent_connection;
#[cfg(feature = "libuv")]
mod libuv_connection;
mod protocol_connection;
mod select_connection;
#[cfg(feature = "tokio")]
mod tokio_connection;

#[cfg(feature = "async-io")]
pub use async_io_connection::{AsyncIoConnection, AsyncIoDriver, AsyncIoServices};
pub use base_connection::BaseConnection;
#[cfg(feature = "calloop")]
pub use calloop_connection::{CalloopConnection, CalloopServices};
pub use create_connection::{ConnectionKind, ServicesConnection, create_connection};
#[cfg(any(feature = "glib", feature = "libev", feature = "libevent", feature = "libuv"))]
pub use ffi::native;
#[cfg(feature = "glib")]
pub use glib_connection::{GlibConnection, GlibServices};
#[cfg(feature = "libev")]
pub use libev_connection::{LibevConnection, LibevServices};
#[cfg(feature = "libevent")]
pub use libevent_connection::{LibeventConnection, LibeventServices};
#[cfg(feature = "libuv")]
pub use libuv_connection::{LibuvConnection, LibuvServices};
pub use protocol_connection::ProtocolConnection;
pub use select_connection::SelectConnection;
#[cfg(feature = "tokio")]
pub use tokio_connection::{TokioConnection, TokioServices};
