//! What every adapter's connection is.

use std::ops::Deref;

use crate::connection::Connection;
use crate::io_services::Services;

/// A connection on some loop, whichever it is (pika's `BaseConnection`).
///
/// By `Deref` it has everything that [`Connection`] has: `channel`, `close`, `is_open`, and so on;
/// a program that is to run on several loops works on `&dyn BaseConnection`:
///
/// ```
/// use haypile::{BaseConnection, ConnectionCallbacks, ConnectionParameters, SelectConnection};
///
/// fn goodbye(connections: &[Box<dyn BaseConnection>]) {
///     for connection in connections.iter().filter(|connection| connection.is_open()) {
///         connection.close(200, "bye").expect("it is open");
///     }
/// }
///
/// let parameters = ConnectionParameters::new("broker.example");
/// let connection = SelectConnection::new(parameters, ConnectionCallbacks::new())?;
/// goodbye(&[Box::new(connection)]);
/// # Ok::<(), haypile::Error>(())
/// ```
///
/// Dropping it closes nothing, unless it owns its loop: the loop owns the connection until that
/// has ended.
pub trait BaseConnection: Deref<Target = Connection> {
    /// The services of the loop that drives it: timers, callbacks, the door for other threads.
    fn services(&self) -> &Services;
}
