//! What every adapter's connection is.

use std::ops::Deref;

use crate::connection::Connection;
use crate::io_services::Services;
use crate::ioloop::LoopHandle;

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

    /// The crate's own loop, if that drives it (pika's `ioloop`).
    fn ioloop(&self) -> Option<&LoopHandle> {
        None
    }
}

/// What makes a struct with the fields `connection` and `services` a connection like the others.
macro_rules! adapter_connection {
    ($Connection:ident $(, $ioloop:ident)?) => {
        impl std::ops::Deref for $Connection {
            type Target = crate::Connection;

            fn deref(&self) -> &crate::Connection {
                &self.connection
            }
        }

        impl crate::BaseConnection for $Connection {
            fn services(&self) -> &crate::Services {
                &self.services
            }
            $(
                fn ioloop(&self) -> Option<&crate::LoopHandle> {
                    Some(&self.$ioloop)
                }
            )?
        }

        impl std::fmt::Debug for $Connection {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($Connection)).field(&self.connection).finish()
            }
        }
    };
}

/// Declares the connection type of a loop that is not the crate's own.
macro_rules! foreign_connection {
    ($(#[$doc:meta])* pub struct $Connection:ident;) => {
        $(#[$doc])*
        pub struct $Connection {
            connection: crate::Connection,
            services: crate::Services,
        }

        impl $Connection {
            /// Starts to connect, on services that others may share. Whatever happens is told to
            /// the callbacks.
            pub fn with_services(
                workflow: impl Into<crate::ConnectionWorkflow>,
                callbacks: crate::ConnectionCallbacks,
                services: &crate::Services,
            ) -> Self {
                let connection = services.connect(workflow, callbacks);
                Self { connection, services: services.clone() }
            }
        }

        adapter_connection!($Connection);
    };
}
