//! How every connection begins, on whichever loop.

use super::callbacks::ConnectionCallbacks;
use super::handle::Connection;
use super::session::Session;
use super::workflow::ConnectionWorkflow;
use crate::io_services::Services;

/// For loops of which no adapter is known here.
impl Services {
    /// Starts to connect, in the loop's next turn. Whatever happens then is told to the callbacks.
    ///
    /// The constructors of [`SelectConnection`](crate::SelectConnection) and its like come to this.
    pub fn connect(
        &self,
        workflow: impl Into<ConnectionWorkflow>,
        callbacks: ConnectionCallbacks,
    ) -> Connection {
        Session::start(self, workflow.into(), callbacks)
    }
}
