//! How every connection begins, on whichever loop.

use std::os::fd::OwnedFd;

use super::callbacks::ConnectionCallbacks;
use super::handle::Connection;
use super::parameters::ConnectionParameters;
use super::session::Session;
use super::workflow::ConnectionWorkflow;
use crate::io_services::{Services, Workflow};

/// Connections.
impl Services {
    /// Starts to connect, in the loop's next turn. Whatever happens then is told to the callbacks.
    ///
    /// The constructors of [`SelectConnection`](crate::SelectConnection) and its like come to this;
    /// it is there for loops that have no such type.
    pub fn connect(
        &self,
        workflow: impl Into<ConnectionWorkflow>,
        callbacks: ConnectionCallbacks,
    ) -> Connection {
        let workflow = workflow.into();
        let connect = |on_progress| Workflow::start(self, workflow, on_progress);
        Session::start(self, callbacks, connect)
    }

    /// Opens a connection over a stream socket that is connected to a broker already, however that
    /// was done: a Unix socket, one through a proxy, one with options of its own. It is made
    /// non-blocking, and closed when the connection has ended. No other is tried if it fails.
    ///
    /// Of the parameters, host and port are names for errors only; `stack_timeout` counts from the
    /// loop's next turn. Whatever happens is told to the callbacks.
    ///
    /// ```no_run
    /// use haypile::{ConnectionCallbacks, ConnectionParameters, IOLoop};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let ioloop = IOLoop::new()?;
    /// let stream = UnixStream::connect("/run/broker.sock")?;
    /// let callbacks = ConnectionCallbacks::new().on_open(|_| println!("open"));
    /// ioloop.services().connect_over(stream, ConnectionParameters::default(), callbacks);
    /// ioloop.start()?;
    /// # Ok::<(), haypile::Error>(())
    /// ```
    pub fn connect_over(
        &self,
        stream: impl Into<OwnedFd>,
        parameters: ConnectionParameters,
        callbacks: ConnectionCallbacks,
    ) -> Connection {
        let stream = stream.into();
        let connect = |on_progress| Workflow::start_over(self, stream, parameters, on_progress);
        Session::start(self, callbacks, connect)
    }
}
