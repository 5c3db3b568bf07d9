//! What the loop knows of a connection.

use std::any::Any;

/// A connection, as its loop sees it. The loop owns it from `adopt` to `release`.
pub(crate) trait LoopSession: Any {
    /// Writes the output that waits. Called at the end of the batch in which the session was
    /// marked dirty, with nothing borrowed. It may mark any session again, also itself.
    fn flush(&self);

    /// The loop is going, and nothing of it works any more: let go of every closure, descriptor
    /// and buffer. No callback is called.
    fn abandon(&self);
}
