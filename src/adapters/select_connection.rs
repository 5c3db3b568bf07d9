//! A connection on the crate's own loop.

use crate::connection::{Connection, ConnectionCallbacks, ConnectionWorkflow};
use crate::error::Result;
use crate::io_services::Services;
use crate::ioloop::{IOLoop, LoopHandle};

/// A connection driven by an [`IOLoop`] (pika's `SelectConnection`): its own, or one that it shares
/// with others.
///
/// ```no_run
/// use haypile::{ConnectionCallbacks, ConnectionParameters, SelectConnection};
///
/// let callbacks = ConnectionCallbacks::new().on_open(|connection| {
///     println!("{:?}", connection.server_properties());
///     connection.close(200, "bye").expect("it is open");
/// });
/// let parameters: ConnectionParameters = "amqp://localhost".parse()?;
/// let connection = SelectConnection::new(parameters, callbacks)?;
/// connection.ioloop().start()?;
/// # Ok::<(), haypile::Error>(())
/// ```
///
/// Dropping it closes nothing if the loop is shared; if the loop is its own, that goes with it, and
/// everything on it.
pub struct SelectConnection {
    connection: Connection,
    services: Services,
    ioloop: LoopHandle,
    /// Dropped last.
    _own: Option<IOLoop>,
}

impl SelectConnection {
    /// Makes a loop of its own and starts to connect on it: nothing happens before
    /// [`ioloop().start()`](Self::ioloop). Whatever happens then is told to the callbacks.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the operating system has no loop to give.
    pub fn new(
        workflow: impl Into<ConnectionWorkflow>,
        callbacks: ConnectionCallbacks,
    ) -> Result<Self> {
        let ioloop = IOLoop::new()?;
        let connection = Self::with_ioloop(workflow, callbacks, &ioloop)?;
        Ok(Self { _own: Some(ioloop), ..connection })
    }

    /// Starts to connect on a loop that others may share. Parameters turn into a
    /// [`ConnectionWorkflow`], and so do those of several hosts.
    ///
    /// # Errors
    /// None so far: whatever happens is told to the callbacks, from the loop.
    pub fn with_ioloop(
        workflow: impl Into<ConnectionWorkflow>,
        callbacks: ConnectionCallbacks,
        ioloop: &IOLoop,
    ) -> Result<Self> {
        let services = ioloop.services().clone();
        let connection = services.connect(workflow, callbacks);
        Ok(Self { connection, services, ioloop: ioloop.handle(), _own: None })
    }

    /// The loop that drives it.
    pub fn ioloop(&self) -> &LoopHandle {
        &self.ioloop
    }
}

adapter_connection!(SelectConnection, ioloop);
