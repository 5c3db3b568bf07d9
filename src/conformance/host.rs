//! What the author of an adapter gives.

use std::rc::Rc;

use crate::{Connection, ConnectionCallbacks, ConnectionWorkflow, Result, Services};

/// A loop with an adapter on it, for one scenario: the suite makes a new one for each, in the thread
/// that it runs in.
///
/// Dropping it ends the loop, in the way that the adapter's users are told to.
pub trait Host {
    /// What connections run on: the same services at each call.
    fn services(&self) -> Services;

    /// Runs the loop until it is stopped, also when nothing is watched. It is run again after that.
    ///
    /// # Errors
    /// Of an error that no callback took, from a loop that returns such.
    fn run_until_stopped(&self) -> Result<()>;

    /// What makes [`run_until_stopped`](Self::run_until_stopped) return soon, called in a callback.
    /// Called before, it makes the next run return without calling anything.
    fn stopper(&self) -> Rc<dyn Fn()>;

    /// Starts a connection: on the services, unless the host makes
    /// [`ProtocolConnection`](crate::ProtocolConnection)s, over sockets of its own. See
    /// [`Suite::protocol_host`](super::Suite::protocol_host).
    fn start_connection(
        &self,
        workflow: ConnectionWorkflow,
        callbacks: ConnectionCallbacks,
    ) -> Connection {
        self.services().connect(workflow, callbacks)
    }

    /// Runs the loop until nothing is left that it must wait for, and gives true: for loops whose own
    /// `run` ends then, to show that their adapter's
    /// [`keep_alive`](crate::IoServices::keep_alive) works.
    fn run_while_needed(&self) -> bool {
        false
    }
}
